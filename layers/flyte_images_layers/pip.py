"""`pip_packages`: Python packages from an index, as wheels; each large package is one image layer. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar
from urllib.parse import urlsplit

from .base import Layer, PythonRequirements, Resolved, check_names
from .errors import LayerError
from .record import record
from .steps import InstallWheels, Step

# The common shapes of PEP 508 (a name, extras, one to many version clauses). Anything else goes to the `packaging`
# library, which is not loaded for these: importing it costs as much as everything else that defining an image does.
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_RELEASE = r"[0-9]+(?:\.[0-9]+)*"
_VERSION = rf"{_RELEASE}(?:(?:a|b|rc)[0-9]+)?(?:\.post[0-9]+)?"
_CLAUSE = rf"\s*(?:(?:==|!=|<=|>=|<|>)\s*{_VERSION}|(?:==|!=)\s*{_RELEASE}\.\*)\s*"
_NAMED = 8  # packages that a title names
_SIMPLE = re.compile(rf"({_NAME})\s*(\[\s*{_NAME}(?:\s*,\s*{_NAME})*\s*\])?((?:{_CLAUSE})(?:,{_CLAUSE})*)?")


@record(kw_only=True)
class PipPackages(Layer):
    """Packages by requirement (PEP 508), resolved together with those of the image's other `pip_packages` layers.

    The order of the packages decides nothing, nor do spaces, case and `-`/`_`/`.` in their names. `index_url` replaces
    the user's default index; `extra_index_urls` are asked first; neither holds credentials, which are in netrc, a
    keyring or uv's own variables. `no_binary` names packages to build from source although wheels exist, or `:all:`;
    `constraints` and `hashes` come from the lock or the requirements of a project.

    >>> PipPackages(packages=("Pandas", "a_b >= 1")).packages
    ('a-b>=1', 'pandas')
    """

    kind: ClassVar[str] = "pip_packages"
    examples: ClassVar[Sequence[Layer]] = ()

    packages: tuple[str, ...]
    index_url: str | None = None
    extra_index_urls: tuple[str, ...] = ()
    pre: bool = False
    no_binary: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    hashes: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @classmethod
    def of(
        cls,
        packages: tuple[str, ...],
        *,
        index_url: str | None = None,
        extra_index_urls: str | Sequence[str] | None = None,
        pre: bool = False,
        extra_args: str | None = None,
        no_binary: tuple[str, ...] = (),
        constraints: tuple[str, ...] = (),
        hashes: tuple[tuple[str, tuple[str, ...]], ...] = (),
        location: object = None,
    ) -> PipPackages:
        """Return the layer for the user's arguments. `extra_args` are options as pip and uv spell them.

        Raise LayerError for an option that is not supported, and for two different indexes.
        """
        more = parse_options(extra_args)
        urls = (extra_index_urls,) if isinstance(extra_index_urls, str) else tuple(extra_index_urls or ())
        if index_url and more.index_url and index_url != more.index_url:
            raise LayerError(f"two indexes: index_url is `{index_url}`, and `{more.index_url}` is in extra_args")
        return cls(
            packages=packages,
            index_url=index_url or more.index_url,
            extra_index_urls=(*urls, *more.extra_index_urls),
            pre=pre or more.pre,
            no_binary=(*no_binary, *more.no_binary),
            constraints=constraints,
            hashes=hashes,
            location=location,
        )

    def __post_init__(self) -> None:
        packages = check_names(self.packages, what="package", call="with_pip_packages")
        object.__setattr__(self, "packages", tuple(sorted({requirement(item) for item in packages})))
        object.__setattr__(self, "constraints", tuple(sorted({requirement(item) for item in self.constraints})))
        urls = (self.extra_index_urls,) if isinstance(self.extra_index_urls, str) else tuple(self.extra_index_urls)
        object.__setattr__(self, "extra_index_urls", urls)
        object.__setattr__(self, "no_binary", tuple(sorted({_normal_name(item) for item in self.no_binary})))
        for url in (*((self.index_url,) if self.index_url else ()), *urls):
            _check_index(url)

    @property
    def title(self) -> str:
        more = f" and {len(self.packages) - _NAMED} more" if len(self.packages) > _NAMED + 1 else ""
        return "pip packages " + ", ".join(self.packages[: _NAMED if more else None]) + more

    def python_requirements(self) -> PythonRequirements:
        return PythonRequirements(
            requirements=self.packages,
            index_url=self.index_url,
            extra_index_urls=self.extra_index_urls,
            prereleases=self.pre,
            no_binary=self.no_binary,
            constraints=self.constraints,
            hashes=self.hashes,
        )

    def lower(self, resolved: Resolved) -> tuple[Step, ...]:
        return (InstallWheels(wheels=resolved.wheels, sdists=resolved.sdists),)


@record
class PipOptions:
    """The options of pip and uv that decide which files are resolved."""

    index_url: str | None = None
    extra_index_urls: tuple[str, ...] = ()
    pre: bool = False
    no_binary: tuple[str, ...] = ()


_OPTIONS = {
    **dict.fromkeys(("--index-url", "-i", "--default-index"), "index_url"),
    **dict.fromkeys(("--extra-index-url", "--index"), "extra_index_urls"),
    "--no-binary": "no_binary",
}


def parse_options(text: object) -> PipOptions:
    """Return the options in `text`, as pip and uv spell them. Raise LayerError for an option that is not supported.

    >>> parse_options("--pre --no-binary=lxml,numpy --index-url https://index.test/simple").no_binary
    ('lxml', 'numpy')
    """
    if text is None:
        return PipOptions()
    if not isinstance(text, str):
        raise LayerError(f"extra_args takes a string, not {type(text).__name__}: {text!r}", hint='extra_args="--pre"')
    import shlex

    values: dict[str, list[str]] = {"index_url": [], "extra_index_urls": [], "no_binary": []}
    pre = False
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise LayerError(f"extra_args=`{text}` cannot be read: {error}") from None
    while words:
        word, _, value = words.pop(0).partition("=")
        if word == "--pre":
            pre = True
        elif word in _OPTIONS:
            value = value or (words.pop(0) if words else "")
            if not value or value.startswith("-"):
                raise LayerError(f"the option `{word}` has no value")
            values[_OPTIONS[word]] += value.split(",") if _OPTIONS[word] == "no_binary" else [value]
        else:
            raise LayerError(
                f"the option `{word}` is not supported",
                hint="--no-binary NAME|:all:, --pre, --index-url URL, --extra-index-url URL are; logins, proxies and "
                "certificates of this machine come from uv's and pip's own settings",
            )
    index = values["index_url"][-1] if values["index_url"] else None
    return PipOptions(index, tuple(values["extra_index_urls"]), pre, tuple(values["no_binary"]))


def _normal_name(text: str) -> str:
    if text == ":all:":
        return text
    if not re.fullmatch(_NAME, text):
        raise LayerError(f"`{text}` is not the name of a package", hint="--no-binary lxml, or --no-binary :all:")
    return canonical_name(text)


def requirement(text: str) -> str:
    """Return the normal spelling of a requirement. Raise LayerError if `text` is not a requirement."""
    if text.startswith("-"):
        raise LayerError(
            f"`{text}` is an option, not a package",
            hint="options have parameters: index_url=, extra_index_urls=, pre=, extra_args=",
        )
    match = _SIMPLE.fullmatch(text)
    if match is None:
        return _normal_uncommon(text)
    name, extras, clauses = match.groups()
    spelled = canonical_name(name)
    if extras:
        spelled += "[" + ",".join(sorted({canonical_name(e.strip()) for e in extras[1:-1].split(",")})) + "]"
    if clauses:
        spelled += ",".join(sorted({re.sub(r"\s+", "", clause) for clause in clauses.split(",")}))
    return spelled


def _normal_uncommon(text: str) -> str:
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        parsed = Requirement(text)
    except InvalidRequirement as error:
        hint = "one requirement for each argument, as in `pandas`, `pandas>=2`, `httpx[http2]==0.28.*`"
        if re.search(r"[;&|`$]", text):
            hint += "; shell commands belong in with_commands"
        raise LayerError(f"`{text}` is not a package requirement", hint=hint) from error
    if parsed.url and not re.match(r"https?://", parsed.url):
        raise LayerError(
            f"`{text}` names a source that is neither http nor https",
            hint="give the address of a wheel (`name @ https://.../name-1.0-py3-none-any.whl`), "
            "or build a wheel and serve it from an index",
        )
    parsed.extras = set(map(canonical_name, parsed.extras))
    return canonical_name(parsed.name) + str(parsed)[len(parsed.name) :]


def canonical_name(name: str) -> str:
    """Return the normalized project name (PEP 503).

    >>> canonical_name("Scikit_Learn")
    'scikit-learn'
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def _check_index(url: object) -> None:
    is_address = isinstance(url, str) and urlsplit(url).scheme in ("http", "https", "file")
    if (
        not isinstance(url, str) or not is_address or re.search(r"\s", url)
    ):  # spaces separate the addresses in a setting
        raise LayerError(f"`{url}` is not the address of a package index", hint="https://HOST/simple, or file:///DIR")
    if "@" in urlsplit(url).netloc:
        host = urlsplit(url).hostname
        raise LayerError(
            f"the index address at `{host}` holds credentials",
            hint="keep them out of the image: put them into ~/.netrc, a keyring, or UV_INDEX_<NAME>_USERNAME/_PASSWORD",
        )


PipPackages.examples = (
    PipPackages(packages=("pandas", "scikit-learn")),
    PipPackages(packages=("torch>=2,<3",), extra_index_urls=("https://wheels.example/cpu",), pre=True),
)
