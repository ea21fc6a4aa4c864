"""`pip_packages`: Python packages from an index, as wheels, one image layer for each large one. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar
from urllib.parse import urlsplit

from .base import Found, Layer, PythonRequirements, names
from .errors import LayerError
from .records import dataclass
from .steps import InstallWheels, Step

# The common shapes of PEP 508 (a name, extras, one to many version clauses). Anything else goes to the `packaging`
# library, which is not loaded for these: importing it costs as much as everything else that defining an image does.
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_RELEASE = r"[0-9]+(?:\.[0-9]+)*"
_VERSION = rf"{_RELEASE}(?:(?:a|b|rc)[0-9]+)?(?:\.post[0-9]+)?"
_CLAUSE = rf"\s*(?:(?:==|!=|<=|>=|<|>)\s*{_VERSION}|(?:==|!=)\s*{_RELEASE}\.\*)\s*"
_SIMPLE = re.compile(rf"({_NAME})\s*(\[\s*{_NAME}(?:\s*,\s*{_NAME})*\s*\])?((?:{_CLAUSE})(?:,{_CLAUSE})*)?")


@dataclass(frozen=True, kw_only=True)
class PipPackages(Layer):
    """Packages by requirement (PEP 508), resolved together with those of the image's other `pip_packages` layers.

    The order in which packages are named does not matter, nor do spaces, case and `-`/`_`/`.` in their names.
    `index_url` replaces the user's default index, `extra_index_urls` are asked first; credentials do not belong in
    them (netrc, keyring or uv's own variables hold those).

    >>> PipPackages(packages=("Pandas", "a_b >= 1")).packages
    ('a-b>=1', 'pandas')
    """

    kind: ClassVar[str] = "pip_packages"
    examples: ClassVar[Sequence[Layer]] = ()

    packages: tuple[str, ...]
    index_url: str | None = None
    extra_index_urls: tuple[str, ...] = ()
    pre: bool = False

    def __post_init__(self) -> None:
        given = names(self.packages, what="package", call="with_pip_packages")
        object.__setattr__(self, "packages", tuple(sorted({_normal(item) for item in given})))
        urls = (self.extra_index_urls,) if isinstance(self.extra_index_urls, str) else tuple(self.extra_index_urls)
        object.__setattr__(self, "extra_index_urls", urls)
        for url in (*((self.index_url,) if self.index_url else ()), *urls):
            _check_index(url)

    @property
    def title(self) -> str:
        return "pip packages " + ", ".join(self.packages)

    def python_requirements(self) -> PythonRequirements:
        return PythonRequirements(
            requirements=self.packages,
            index_url=self.index_url,
            extra_index_urls=self.extra_index_urls,
            prereleases=self.pre,
        )

    def lower(self, found: Found) -> tuple[Step, ...]:
        return (InstallWheels(wheels=found.wheels, sdists=found.sdists),)


def _normal(text: str) -> str:
    """Return the one spelling of a requirement; refuse what is none."""
    if text.startswith("-"):
        raise LayerError(
            f"`{text}` is an option, not a package",
            hint="options have parameters of their own: index_url=, extra_index_urls=, pre=",
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
        requirement = Requirement(text)
    except InvalidRequirement as error:
        hint = "one requirement an argument, as in `pandas`, `pandas>=2`, `httpx[http2]==0.28.*`"
        if re.search(r"[;&|`$]", text):
            hint += "; shell commands belong in with_commands"
        raise LayerError(f"`{text}` is not a package requirement", hint=hint) from error
    if requirement.url and not re.match(r"https?://", requirement.url):
        raise LayerError(
            f"`{text}` names a source that is neither http nor https",
            hint="give the address of a wheel (`name @ https://.../name-1.0-py3-none-any.whl`), "
            "or build a wheel and serve it from an index",
        )
    return canonical_name(requirement.name) + str(requirement)[len(requirement.name) :]


def canonical_name(name: str) -> str:
    """Return the normalised project name (PEP 503).

    >>> canonical_name("Scikit_Learn")
    'scikit-learn'
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def _check_index(url: object) -> None:
    if not isinstance(url, str) or urlsplit(url).scheme not in ("http", "https", "file"):
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
