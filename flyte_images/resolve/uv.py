"""Requirements -> exact wheels, by uv. Runs uv as a program, with the user's own settings of it and of pip."""

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
from .offered import addresses, chosen
from .sdist_metadata import Described, named, unbuilt
from .sdists import Source
from .target import Target

__all__ = ["Answer", "Target", "ask", "needs", "read_needs", "shown"]

_NO_WHEEL = r"no wheels|only-binary|building from source is disabled|no usable wheels|no-build"
_NAMED = 8  # requirements that an error or a note names


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
        with temporary_directory("resolve") as place:
            folder = Path(place)
            requirements, constraints, out = (
                folder / it for it in ("requirements.in", "constraints.txt", "pylock.toml")
            )
            lines = [line for it in self.asked for line in it.requirements]
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
        found = [chosen(package, question.target, question.no_binary, hashes) for package in packages]
    except ResolveError:
        if question.sources:
            raise
        return _ask(replace(question, sources=True))  # a list may have the hash of the source distribution alone
    return Answer(
        offered=addresses(packages),
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
    with temporary_directory("resolve") as place:
        requirements, constraints = Path(place) / "requirements.in", Path(place) / "constraints.txt"
        requirements.write_text("".join(f"{line}\n" for it in asked for line in it.requirements), encoding="utf-8")
        constraints.write_text("".join(f"{name}=={it}\n" for name, it in versions.items()), encoding="utf-8")
        guard, env = (described or Described.none(environ)).guarded(Path(place), _environ(asked, environ))
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


def _prereleases(asked: Sequence[PythonRequirements]) -> list[str]:
    return ["--prerelease", "allow"] if any(it.prereleases for it in asked) else []


def _environ(asked: Sequence[PythonRequirements], environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of uv, with the indexes: those of the layers, else what pip is told where uv is told nothing.

    An address may hold a password, and a command line can be read by every user of the machine.
    """
    own = dict.fromkeys(it.index_url for it in asked if it.index_url)
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
    extra = list(dict.fromkeys(url for it in asked for url in it.extra_index_urls))
    if not extra and not any(environ.get(name) for name in ("UV_INDEX", "UV_EXTRA_INDEX_URL")):
        extra = environ.get("PIP_EXTRA_INDEX_URL", "").split()
    if extra:
        env["UV_INDEX"] = " ".join(extra)
        if all(len(it.hashes) >= len(it.requirements) for it in asked):
            env["UV_INDEX_STRATEGY"] = "unsafe-best-match"  # the hashes say which file it is, whoever offers it
    if "SSL_CERT_FILE" not in env and env.get("PIP_CERT"):
        env["SSL_CERT_FILE"] = env["PIP_CERT"]
    return env


def _hashes(asked: Sequence[PythonRequirements]) -> dict[str, frozenset[str]]:
    """The sha256 that files may have, by package: where two layers name some, those that both name."""
    found: dict[str, frozenset[str]] = {}
    for name, hashes in (pair for it in asked for pair in it.hashes):
        found[name] = found.get(name, frozenset(hashes)) & frozenset(hashes)
    return found


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
