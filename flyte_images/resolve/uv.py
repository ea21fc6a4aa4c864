"""Requirements -> exact wheels, by the program uv, with the user's settings of uv and pip."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from flyte_images_layers import PythonRequirements
from flyte_images_layers.steps import Wheel

from ..errors import ResolveError
from ..manifests.uv_binary import run_uv
from ..store.leftovers import temporary_directory
from .offered import addresses, choose_file
from .sdist_metadata import MetadataProvider, named, unbuilt
from .sdists import SourceDist
from .target import Target

__all__ = ["Resolution", "Target", "ask", "needs", "read_needs", "shown"]

_NO_WHEEL = r"no wheels|only-binary|building from source is disabled|no usable wheels|no-build"
_NAMED = 8  # requirements that an error or a note names


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """The result of uv, sorted by name.

    `sources` are the source distributions of packages without a suitable wheel. `offered` has the addresses of all
    suitable files, by sha256. `text` is uv's lock, whose versions the next run prefers.
    """

    wheels: tuple[Wheel, ...]
    sources: tuple[SourceDist, ...]
    offered: Mapping[str, str]
    text: str

    @property
    def files(self) -> list[Wheel | SourceDist]:
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
    described: MetadataProvider | None = None,
    sources: bool = True,
) -> Resolution:
    """Resolve all of `asked` together.

    uv keeps the versions of `preferred` (the text of an earlier result) if possible, and obeys `constraints`.
    `described` provides the requirements of source distributions that do not state them. Without `sources` wheels are
    tried first; without `deps` only the named packages are found. Raise ResolveError with uv's message for a conflict,
    an unknown package, or an index that does not answer.
    """
    no_binary = tuple(sorted({name for part in asked for name in part.no_binary}))
    return _ask(
        _Question(
            asked=tuple(asked),
            target=target,
            environ=environ,
            preferred="" if upgrade else preferred,
            constraints=(*constraints, *(line for part in asked for line in part.constraints)),
            no_binary=no_binary,
            sources=sources or bool(no_binary),
            deps=deps,
            described=described or MetadataProvider.none(environ),
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
    described: MetadataProvider
    unknown: tuple[str, ...] = ()

    def put(self) -> tuple[str, str]:
        """Run uv. Return its lock and its error output; one of the two is empty."""
        with temporary_directory("resolve") as place:
            folder = Path(place)
            requirements, constraints, out = (
                folder / name for name in ("requirements.in", "constraints.txt", "pylock.toml")
            )
            lines = [line for part in self.asked for line in part.requirements]
            requirements.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
            constraints.write_text("".join(f"{line}\n" for line in self.constraints), encoding="utf-8")
            if self.preferred:
                out.write_text(self.preferred, encoding="utf-8")
            guard, env = self.described.guarded(folder, _environ(self.asked, self.environ), self.unknown)
            words = [
                *("pip", "compile", str(requirements), "--output-file", str(out)),
                *("--format", "pylock.toml", "--constraints", str(constraints)),
                *("--python-version", self.target.python, "--python-platform", self.target.uv_platform),
                *(() if self.sources else ("--no-build",)),
                *(word for name in self.no_binary for word in ("--no-binary", name)),
                *(() if self.deps else ("--no-deps",)),
                *("--no-header", "--no-annotate", "--quiet", "--color", "never", "--no-progress"),
                *guard,
                *_prereleases(self.asked),
            ]
            done = run_uv(words, directory=folder, environ=env)
            if done.status:
                return "", done.stderr or f"uv ended with exit status {done.status}"
            return out.read_text(encoding="utf-8"), ""


def _ask(question: _Question) -> Resolution:
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
        found = [choose_file(package, question.target, question.no_binary, hashes) for package in packages]
    except ResolveError:
        if question.sources:
            raise
        return _ask(replace(question, sources=True))  # a list may have only the hash of the source distribution
    return Resolution(
        offered=addresses(packages),
        wheels=tuple(sorted((file for file in found if isinstance(file, Wheel)), key=lambda file: file.name)),
        sources=tuple(sorted((file for file in found if isinstance(file, SourceDist)), key=lambda file: file.name)),
        text=text,
    )


def _described(question: _Question, wanted: str) -> _Question:
    """Return the question with known metadata of the source distribution `wanted`."""
    if not question.deps:
        return replace(question, unknown=(*question.unknown, wanted))
    name, _ = named(wanted)
    hashes = tuple(pair for part in question.asked for pair in part.hashes if pair[0] == name)
    indexes = [part.indexes for part in question.asked]
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
    described: MetadataProvider | None = None,
) -> dict[str, set[str]]:
    """Return the packages that each package of a result needs; `versions` are those of the result for `asked`."""
    with temporary_directory("resolve") as place:
        requirements, constraints = Path(place) / "requirements.in", Path(place) / "constraints.txt"
        requirements.write_text("".join(f"{line}\n" for part in asked for line in part.requirements), encoding="utf-8")
        constraints.write_text("".join(f"{name}=={it}\n" for name, it in versions.items()), encoding="utf-8")
        guard, env = (described or MetadataProvider.none(environ)).guarded(Path(place), _environ(asked, environ))
        words = (
            *("pip", "compile", str(requirements), "--constraints", str(constraints)),
            *("--python-version", target.python, "--python-platform", target.uv_platform),
            *("--annotation-style", "split", "--no-header", "--quiet", "--color", "never", "--no-progress"),
            *guard,
            *_prereleases(asked),
        )
        done = run_uv(words, directory=place, environ=env)
    if done.status:
        raise _error(done.stderr, asked, target)
    return read_needs(done.stdout)


def read_needs(text: str) -> dict[str, set[str]]:
    """Parse the annotated requirements of uv: package -> packages that it needs.

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


def _prereleases(asked: Sequence[PythonRequirements]) -> list[str]:
    return ["--prerelease", "allow"] if any(part.prereleases for part in asked) else []


def _environ(asked: Sequence[PythonRequirements], environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of uv with the indexes of the layers, or else those of pip if uv has no setting.

    The addresses are not options, since they may hold passwords and every user of the machine can read a command line.
    """
    own = dict.fromkeys(part.index_url for part in asked if part.index_url)
    if len(own) > 1:
        raise ResolveError(
            f"two layers of the image have different indexes: {' and '.join(map(str, own))}",
            hint="packages of an image are resolved together: name one with index_url, more with extra_index_urls",
        )
    env = {name: value for name, value in environ.items() if name not in ("VIRTUAL_ENV", "UV_PYTHON")}
    default = next(iter(own), None)
    if default is None and not any(environ.get(name) for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL")):
        default = environ.get("PIP_INDEX_URL")
    if default:
        env["UV_DEFAULT_INDEX"] = default
    extra = list(dict.fromkeys(url for part in asked for url in part.extra_index_urls))
    if not extra and not any(environ.get(name) for name in ("UV_INDEX", "UV_EXTRA_INDEX_URL")):
        extra = environ.get("PIP_EXTRA_INDEX_URL", "").split()
    if extra:
        env["UV_INDEX"] = " ".join(extra)
        if all(len(part.hashes) >= len(part.requirements) for part in asked):
            env["UV_INDEX_STRATEGY"] = "unsafe-best-match"  # the hashes identify the files, whichever index offers them
    if "SSL_CERT_FILE" not in env and env.get("PIP_CERT"):
        env["SSL_CERT_FILE"] = env["PIP_CERT"]
    return env


def _hashes(asked: Sequence[PythonRequirements]) -> dict[str, frozenset[str]]:
    """Return the allowed sha256 of each package: if two layers list some, those that both list."""
    found: dict[str, frozenset[str]] = {}
    for name, hashes in (pair for part in asked for pair in part.hashes):
        found[name] = found.get(name, frozenset(hashes)) & frozenset(hashes)
    return found


def _error(stderr: str, asked: Sequence[PythonRequirements], target: Target) -> ResolveError:
    """Return the error with uv's message, without its decoration, and a remedy."""
    lines = [
        re.sub(r"^\s*(?:[^\x00-\x7f ]+|error:|hint:|cause:)\s?", "", line).rstrip() for line in stderr.splitlines()
    ]
    text = "\n".join(line.strip() for line in lines if line.strip()) or "uv failed without a message"
    first = f"cannot resolve {shown(asked)} for Python {target.python} on {target.platform}:"
    return ResolveError(f"{first}\n{text}", hint=_hint(stderr))


def shown(asked: Sequence[PythonRequirements]) -> str:
    """Return the requirements in one line, for people."""
    lines = [line for part in asked for line in part.requirements]
    more = f" and {len(lines) - _NAMED} more" if len(lines) > _NAMED + 1 else ""
    return ", ".join(lines[: _NAMED if more else None]) + more


def _hint(message: str) -> str:
    if re.search(r"authentication credentials|401 Unauthorized|403 Forbidden", message):
        return "give uv the login: ~/.netrc, a keyring, or UV_INDEX_<NAME>_USERNAME and _PASSWORD"
    if re.search(r"not found in the package registry|was not found in|404 Not Found", message):
        return "check the spelling of the name, and that the index has the package"
    if re.search(r"error sending request|Failed to fetch|Connect|dns error|timed out|os error", message):
        return "does the index answer? UV_DEFAULT_INDEX or PIP_INDEX_URL sets its address"
    if re.search(_NO_WHEEL, message):
        return "name a version that has a wheel, use another python_version, or serve a wheel from your own index"
    if "unsatisfiable" in message or "No solution" in message:
        return "loosen one of the requirements in the message"
    return "the message of uv above has the reason"
