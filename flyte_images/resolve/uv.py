"""Requirements -> exact wheels, by uv. Runs uv as a program, with the user's own settings of it and of pip."""

from __future__ import annotations

import functools
import re
import subprocess
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from flyte_images_layers import PythonRequirements
from flyte_images_layers.steps import Wheel

from ..errors import ResolveError
from ..uv_program import uv_program
from .sdist_metadata import Described, named, unbuilt
from .sdists import Source

_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
_KNOWN_LIBCS = (17, 28, *range(31, 41))  # the glibc 2.x that uv has a name for
_NO_WHEEL = r"no wheels|only-binary|building from source is disabled|no usable wheels|no-build"
_NAMED = 8  # requirements that an error or a note names
_OLD_NAMES = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
_DEFAULT_LIBC = "2.28"  # what nearly every base of the last years has


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What wheels have to fit: Python X.Y, `linux/ARCHITECTURE`, and the glibc of the image (2.36, or empty)."""

    python: str
    platform: str
    libc: str

    @property
    def uv_platform(self) -> str:
        """The name that uv has for it.

        >>> Target(python="3.11", platform="linux/amd64", libc="2.36").uv_platform
        'x86_64-manylinux_2_36'
        """
        architecture = self.platform.split("/")[1]
        if architecture not in _MACHINES:
            raise ResolveError(
                f"no Python packages are resolved for `{self.platform}`", hint="linux/amd64, linux/arm64"
            )
        wanted = int((self.libc or _DEFAULT_LIBC).split(".")[1])
        minor = max((it for it in _KNOWN_LIBCS if it <= wanted), default=_KNOWN_LIBCS[0])
        return f"{_MACHINES[architecture]}-manylinux_2_{minor}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What uv found, by name, and its own text of it, which is what it prefers the next time.

    `sources` are those that have no wheel for the target; `offered` are the addresses of all files that would do, by
    their sha256.
    """

    wheels: tuple[Wheel, ...]
    sources: tuple[Source, ...]
    offered: Mapping[str, str]
    text: str

    @property
    def files(self) -> list[Wheel | Source]:
        """Wheels and sources."""
        return [*self.wheels, *self.sources]

    @property
    def versions(self) -> dict[str, str]:
        """The version of each package."""
        return {file.name: file.version for file in self.files}


def ask(
    asked: Sequence[PythonRequirements],
    target: Target,
    *,
    environ: Mapping[str, str],
    preferred: str = "",
    constraints: Sequence[str] = (),
    upgrade: bool = False,
    deps: bool = True,
    described: Described | None = None,
    sources: bool = True,
) -> Answer:
    """Resolve all of `asked` together.

    Versions of `preferred` (an earlier answer) stay where they can; `constraints` must be met. Packages may be without
    a wheel; `described` finds what they need where they do not state it. Without `sources` wheels are tried first, and
    without `deps` nothing but what is asked for is found. Raises ResolveError with uv's own explanation of a conflict,
    an unknown package, or an index that does not answer.
    """
    no_binary = tuple(sorted({name for it in asked for name in it.no_binary}))
    return _ask(
        _Question(
            asked=tuple(asked),
            target=target,
            environ=environ,
            preferred="" if upgrade else preferred,
            constraints=(*constraints, *(line for it in asked for line in it.constraints)),
            no_binary=no_binary,
            sources=sources or bool(no_binary),
            deps=deps,
            described=described or Described.none(environ),
        )
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    asked: tuple[PythonRequirements, ...]
    target: Target
    environ: Mapping[str, str]
    preferred: str
    constraints: tuple[str, ...]
    no_binary: tuple[str, ...]
    sources: bool
    deps: bool
    described: Described
    unknown: tuple[str, ...] = ()

    def put(self) -> tuple[str, str]:
        """Run uv. Return the lock that it wrote, or else what it said: one of the two is empty."""
        with tempfile.TemporaryDirectory(prefix="flyte-images-resolve-") as place:
            folder = Path(place)
            requirements, constraints, out = (
                folder / it for it in ("requirements.in", "constraints.txt", "pylock.toml")
            )
            lines = [line for it in self.asked for line in it.requirements]
            requirements.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
            constraints.write_text("".join(f"{line}\n" for line in self.constraints), encoding="utf-8")
            if self.preferred:
                out.write_text(self.preferred, encoding="utf-8")
            guard, env = self.described.guarded(folder, _environ(self.environ), self.unknown)
            argv = [
                *(uv_program(), "pip", "compile", str(requirements), "--output-file", str(out)),
                *("--format", "pylock.toml", "--constraints", str(constraints)),
                *("--python-version", self.target.python, "--python-platform", self.target.uv_platform),
                *(() if self.sources else ("--no-build",)),
                *(word for name in self.no_binary for word in ("--no-binary", name)),
                *(() if self.deps else ("--no-deps",)),
                *("--no-header", "--no-annotate", "--quiet", "--color", "never", "--no-progress"),
                *guard,
                *_options(self.asked, self.environ),
            ]
            done = subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, check=False)
            if done.returncode:
                return "", done.stderr or f"uv ended with exit status {done.returncode}"
            return out.read_text(encoding="utf-8"), ""


def _ask(question: _Question) -> Answer:
    text, complaint = question.put()
    while complaint and (wanted := unbuilt(complaint)):
        question = _described(question, wanted)
        text, complaint = question.put()
    if complaint and not question.sources and re.search(_NO_WHEEL, complaint):
        return _ask(replace(question, sources=True))
    if complaint:
        raise _error(complaint, question.asked, question.target)
    hashes, packages = _hashes(question.asked), tomllib.loads(text).get("packages", ())
    try:
        found = [_file(package, question.target, question.no_binary, hashes) for package in packages]
    except ResolveError:
        if question.sources:
            raise
        return _ask(replace(question, sources=True))  # a list may have the hash of the source distribution alone
    return Answer(
        offered={
            it["hashes"]["sha256"]: _url(it) for package in packages for several in _offered(package) for it in several
        },
        wheels=tuple(sorted((it for it in found if isinstance(it, Wheel)), key=lambda it: it.name)),
        sources=tuple(sorted((it for it in found if isinstance(it, Source)), key=lambda it: it.name)),
        text=text,
    )


def _described(question: _Question, wanted: str) -> _Question:
    """The question, with what the source distribution `wanted` needs known."""
    if not question.deps:
        return replace(question, unknown=(*question.unknown, wanted))
    name, _ = named(wanted)
    hashes = tuple(pair for it in question.asked for pair in it.hashes if pair[0] == name)
    indexes = [it.indexes for it in question.asked]
    only = replace(indexes[0], requirements=(wanted,), hashes=hashes)
    where = replace(question, asked=(only, *indexes[1:]), preferred="", constraints=(), sources=True)
    found = _ask(replace(where, no_binary=(name,), deps=False, unknown=(wanted,)))
    question.described.add(found.sources[0])
    return question


def needs(
    asked: Sequence[PythonRequirements],
    target: Target,
    versions: Mapping[str, str],
    *,
    environ: Mapping[str, str],
    described: Described | None = None,
) -> dict[str, set[str]]:
    """Return which packages of an answer to `asked` (its `versions`) each of them needs."""
    with tempfile.TemporaryDirectory(prefix="flyte-images-resolve-") as place:
        requirements, constraints = Path(place) / "requirements.in", Path(place) / "constraints.txt"
        requirements.write_text("".join(f"{line}\n" for it in asked for line in it.requirements), encoding="utf-8")
        constraints.write_text("".join(f"{name}=={it}\n" for name, it in versions.items()), encoding="utf-8")
        guard, env = (described or Described.none(environ)).guarded(Path(place), _environ(environ))
        argv = (
            *(uv_program(), "pip", "compile", str(requirements), "--constraints", str(constraints)),
            *("--python-version", target.python, "--python-platform", target.uv_platform),
            *("--annotation-style", "split", "--no-header", "--quiet", "--color", "never", "--no-progress"),
            *guard,
            *_options(asked, environ),
        )
        done = subprocess.run(argv, cwd=place, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise _error(done.stderr, asked, target)
    return read_needs(done.stdout)


def read_needs(text: str) -> dict[str, set[str]]:
    """Read uv's annotated requirements.

    >>> read_needs("a==1\\n    # via -r requirements.in\\nb==2\\n    # via\\n    #   a\\n    #   -r requirements.in\\n")
    {'a': {'b'}, 'b': set()}
    """
    found: dict[str, set[str]] = {}
    name = ""
    for line in text.splitlines():
        if match := re.match(r"([a-z0-9][a-z0-9-]*)(?:==| @)", line):
            name = match[1]
            found.setdefault(name, set())
        elif (match := re.match(r"    #\s+(?:via\s+)?([a-z0-9][a-z0-9-]*)$", line)) and match[1] != "via":
            found.setdefault(match[1], set()).add(name)
    return found


def _options(asked: Sequence[PythonRequirements], environ: Mapping[str, str]) -> list[str]:
    """The indexes: those of the layers, else what pip is told where uv is told nothing."""
    own = dict.fromkeys(it.index_url for it in asked if it.index_url)
    if len(own) > 1:
        raise ResolveError(
            f"two layers of the image have different indexes: {' and '.join(map(str, own))}",
            hint="packages of an image are resolved together: name one with index_url, more with extra_index_urls",
        )
    options: list[str] = []
    default = next(iter(own), None)
    if default is None and not any(environ.get(name) for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL")):
        default = environ.get("PIP_INDEX_URL")
    if default:
        options += ["--default-index", default]
    extra = list(dict.fromkeys(url for it in asked for url in it.extra_index_urls))
    if not extra and not any(environ.get(name) for name in ("UV_INDEX", "UV_EXTRA_INDEX_URL")):
        extra = environ.get("PIP_EXTRA_INDEX_URL", "").split()
    for url in extra:
        options += ["--index", url]
    if any(it.prereleases for it in asked):
        options += ["--prerelease", "allow"]
    if extra and all(len(it.hashes) >= len(it.requirements) for it in asked):
        options += ["--index-strategy", "unsafe-best-match"]  # the hashes say which file it is, whoever offers it
    return options


def _environ(environ: Mapping[str, str]) -> dict[str, str]:
    env = {name: value for name, value in environ.items() if name not in ("VIRTUAL_ENV", "UV_PYTHON")}
    if "SSL_CERT_FILE" not in env and env.get("PIP_CERT"):
        env["SSL_CERT_FILE"] = env["PIP_CERT"]
    return env


def _hashes(asked: Sequence[PythonRequirements]) -> dict[str, frozenset[str]]:
    """The sha256 that files may have, by package: where two layers name some, those that both name."""
    found: dict[str, frozenset[str]] = {}
    for name, hashes in (pair for it in asked for pair in it.hashes):
        found[name] = found.get(name, frozenset(hashes)) & frozenset(hashes)
    return found


def _offered(package: Mapping[str, Any]) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """The wheels that fit, and the source distribution if there is one."""
    wheels = list(package.get("wheels") or ())
    sdists = [package["sdist"]] if "sdist" in package else []
    for archive in [package["archive"]] if "archive" in package else []:  # named by its address
        (wheels if _filename(archive).endswith(".whl") else sdists).append(archive)
    return wheels, sdists


def _file(
    package: Mapping[str, Any], target: Target, no_binary: Sequence[str], hashes: Mapping[str, frozenset[str]]
) -> Wheel | Source:
    """The file that uv has chosen for a package: its wheel, or its source distribution where none fits or is wanted."""
    name = package["name"]
    wheels, sdists = _offered(package)
    if name in no_binary or ":all:" in no_binary:
        wheels = []
    if name in hashes:
        offered = [*wheels, *sdists]
        wheels = [it for it in wheels if it["hashes"]["sha256"] in hashes[name]]
        sdists = [it for it in sdists if it["hashes"]["sha256"] in hashes[name]]
        if offered and not wheels and not sdists:
            raise ResolveError(
                f"no file of {name} {package.get('version', '')} that fits has one of its listed hashes",
                hint="was the list made for another index, or another platform? Make it anew",
            )
    if not wheels and not sdists:
        raise ResolveError(
            f"`{name}` {package.get('version', '')} has no wheel for {target.python} on {target.uv_platform}",
            hint="name a version that has one, another python_version, or build a wheel and serve it from an index",
        )
    best = sorted(wheels, key=lambda it: _rank(_filename(it), target)) if len(wheels) > 1 else wheels
    file = (*best, *sdists)[0]
    url, filename = _url(file), _filename(file)
    version, sha256 = package.get("version") or filename.split("-")[1], file["hashes"]["sha256"]
    kind: type[Wheel | Source] = Wheel if wheels else Source
    return kind(name=name, version=version, filename=filename, sha256=sha256, size=int(file.get("size") or 0), url=url)


def _url(file: Mapping[str, Any]) -> str:
    return str(file.get("url") or Path(file["path"]).resolve().as_uri())


def _filename(file: Mapping[str, Any]) -> str:
    return unquote(urlsplit(_url(file)).path.rpartition("/")[2])


def _rank(filename: str, target: Target) -> int:
    """Where the best tag of a wheel stands among those that fit, the most special first, as for pip."""
    from packaging.utils import parse_wheel_filename

    ranks = _ranks(target)
    return min((ranks.get(str(tag), len(ranks)) for tag in parse_wheel_filename(filename)[3]), default=len(ranks))


@functools.lru_cache
def _ranks(target: Target) -> Mapping[str, int]:
    from packaging.tags import compatible_tags, cpython_tags

    python = tuple(map(int, target.python.split(".")))
    machine = _MACHINES[target.platform.split("/")[1]]
    platforms: list[str] = []
    for minor in range(int((target.libc or _DEFAULT_LIBC).split(".")[1]), 4, -1):
        old = _OLD_NAMES.get(minor)  # of PEP 513, 571 and 599
        platforms += [f"manylinux_2_{minor}_{machine}", *([f"{old}_{machine}"] if old else [])]
    platforms.append(f"linux_{machine}")
    interpreter = f"cp{python[0]}{python[1]}"
    tags = (*cpython_tags(python, platforms=platforms), *compatible_tags(python, interpreter, platforms))
    return {str(tag): number for number, tag in enumerate(dict.fromkeys(tags))}


def _error(said: str, asked: Sequence[PythonRequirements], target: Target) -> ResolveError:
    """uv's words without its frame, and what can be done."""
    lines = [re.sub(r"^\s*(?:[^\x00-\x7f ]+|error:|hint:|cause:)\s?", "", line).rstrip() for line in said.splitlines()]
    text = "\n".join(line.strip() for line in lines if line.strip()) or "uv failed and says nothing"
    first = f"cannot resolve {shown(asked)} for Python {target.python} on {target.platform}:"
    return ResolveError(f"{first}\n{text}", hint=_hint(said))


def shown(asked: Sequence[PythonRequirements]) -> str:
    """What is asked for, in a line."""
    lines = [line for it in asked for line in it.requirements]
    more = f" and {len(lines) - _NAMED} more" if len(lines) > _NAMED + 1 else ""
    return ", ".join(lines[: _NAMED if more else None]) + more


def _hint(said: str) -> str:
    if re.search(r"authentication credentials|401 Unauthorized|403 Forbidden", said):
        return "give uv the login: ~/.netrc, a keyring, or UV_INDEX_<NAME>_USERNAME and _PASSWORD"
    if re.search(r"not found in the package registry|was not found in|404 Not Found", said):
        return "is the name spelled as on the index, and is it on the index that is asked?"
    if re.search(r"error sending request|Failed to fetch|Connect|dns error|timed out|os error", said):
        return "does the index answer? uv's and pip's own settings say which it is (UV_DEFAULT_INDEX, PIP_INDEX_URL)"
    if re.search(_NO_WHEEL, said):
        return "name a version that has a wheel for it, another python_version, or serve a wheel from an index of yours"
    if "unsatisfiable" in said or "No solution" in said:
        return "loosen one of the requirements that it names"
    return "uv's words above say what it could not do"
