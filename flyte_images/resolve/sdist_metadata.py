"""Source distribution -> its metadata, made by the engine: no code of a package runs on this machine.

uv reads metadata that a source distribution states (PEP 643). For other packages the engine runs the build backend in a
container, without network, settings or secrets of this machine, and uv receives the result.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ..errors import ResolveError
from ..store import json_cache
from .sdists import SourceDist

HERE = "FLYTE_IMAGES_METADATA_HERE"
"""The environment variable that lets uv run the build backends of packages on this machine."""

REFUSED = "flyte-images runs no code of a package on this machine"
_UNBUILT = re.compile(r"Failed to (?:download and )?build `([^`]+)`")
_VERSION = 1

# uv runs its Python to learn the version, and again for a build backend. This script does the former only.
_PYTHON = f"""#!/bin/sh
if [ "$#" = 4 ] && [ "$1 $2 $3" = "-I -B -c" ]; then
    case $4 in *get_interpreter_info*) exec {{python}} -I -B -c {{program}} {{own}} "$4" ;; esac
fi
echo "{REFUSED}" >&2
exit 97
"""
_TELL = """
import contextlib, io, json, sys
own, program = sys.argv[1:]
output = io.StringIO()
try:
    with contextlib.redirect_stdout(output):
        exec(program)
finally:
    answer = json.loads(output.getvalue())
    print(json.dumps({**answer, **{name: own for name in ("sys_executable", "sys_base_executable") if name in answer}}))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """The metadata of a source distribution; `build` lists build requirements besides those of pyproject.toml."""

    name: str
    version: str
    requires: tuple[str, ...]
    python: str
    extras: tuple[str, ...]
    build: tuple[str, ...]

    @classmethod
    def parse(cls, source: SourceDist, text: str, build: tuple[str, ...]) -> Metadata:
        """Parse a METADATA file (core metadata). Raise ResolveError if it is that of another package or version."""
        from packaging.metadata import parse_email
        from packaging.utils import canonicalize_name, canonicalize_version

        raw, _ = parse_email(text)
        name, version = raw.get("name", ""), raw.get("version", "")
        if canonicalize_name(name) != source.name or canonicalize_version(version) != canonicalize_version(
            source.version
        ):
            raise ResolveError(
                f"the metadata of {source.filename} is that of {name} {version}, not {source.name} {source.version}",
                hint="name another version, or one that has a wheel",
            )
        return cls(
            name=source.name,
            version=source.version,
            requires=tuple(raw.get("requires_dist", ())),
            python=raw.get("requires_python", ""),
            extras=tuple(raw.get("provides_extra", ())),
            build=build,
        )

    def table(self) -> str:
        """Return the metadata as a table of uv's settings (JSON strings and lists are valid TOML)."""
        lines = {
            "name": self.name,
            "version": self.version,
            "requires-dist": self.requires,
            "provides-extra": self.extras,
            **({"requires-python": self.python} if self.python else {}),
        }
        body = (f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in lines.items())
        return "[[dependency-metadata]]\n" + "".join(body)


class MetadataProvider:
    """The metadata of source distributions that uv cannot read; `make` makes it on demand."""

    def __init__(self, make: Callable[[SourceDist], Metadata], environ: Mapping[str, str]) -> None:
        self._make, self._environ = make, environ
        self._known: dict[tuple[str, str], Metadata] = {}

    @classmethod
    def none(cls, environ: Mapping[str, str]) -> MetadataProvider:
        """Return a provider for which a source without stated metadata is an error."""

        def refuse(source: SourceDist) -> Metadata:
            raise ResolveError(
                f"{source.filename} does not state its requirements", hint="name a version that has a wheel"
            )

        return cls(refuse, environ)

    def of(self, source: SourceDist) -> Metadata | None:
        """Return the metadata that was added for this source, or None."""
        return self._known.get((source.name, source.version))

    def add(self, source: SourceDist) -> None:
        """Add the metadata of a source: from the cache, by its hash, or made now."""
        if self.of(source) is not None:
            raise ResolveError(f"uv does not accept the metadata of {source.filename}", hint="name another version")
        raw = json_cache.read(self._environ, "metadata", f"{_VERSION}-{source.sha256}")
        try:
            lists = {name: tuple(map(str, raw[name])) for name in ("requires", "extras", "build")}
            found = Metadata(name=source.name, version=source.version, python=str(raw["python"]), **lists)
        except (TypeError, KeyError):
            found = self._make(source)
            json_cache.write(self._environ, "metadata", f"{_VERSION}-{source.sha256}", asdict(found))
        self._known[source.name, source.version] = found

    def guarded(
        self, folder: Path, environ: Mapping[str, str], unknown: Sequence[str] = ()
    ) -> tuple[list[str], dict[str, str]]:
        """Prepare `folder` so that uv runs no code of a package; return options for uv, and its environment.

        The requirements in `unknown` get empty metadata, with which uv only finds their files.
        """
        env = {name: value for name, value in environ.items() if not name.startswith("PYTHON")}
        settings = folder / "uv.toml"  # uv searches the folders above too, and stops at the first uv.toml
        tables = [metadata.table() for metadata in self._known.values()]
        for name, version in map(named, unknown):
            tables.append(Metadata(name=name, version=version, requires=(), python="", extras=(), build=()).table())
        users = env.get("UV_CONFIG_FILE")
        text = Path(users).read_text(encoding="utf-8") + "\n" if users and Path(users).is_file() else ""
        settings.write_text(text + "\n".join(tables), encoding="utf-8")
        if users or env.pop("UV_NO_CONFIG", ""):
            env["UV_CONFIG_FILE"] = str(settings)
        if environ.get(HERE):
            return [], env
        python = folder / "python"
        words = {"python": sys.executable, "program": _TELL, "own": str(python)}
        python.write_text(_PYTHON.format(**{name: shlex.quote(word) for name, word in words.items()}), encoding="utf-8")
        python.chmod(0o700)
        return ["--python", str(python), "--no-build-isolation"], env


def unbuilt(stderr: str) -> str | None:
    """Return the requirement whose metadata uv could not read without running code; None for another error.

    >>> unbuilt("Failed to build `old==1.0`\\n  [stderr]\\n  flyte-images runs no code of a package on this machine")
    'old==1.0'
    """
    found = _UNBUILT.search(stderr) if REFUSED in stderr else None
    return found[1] if found else None


def named(requirement: str) -> tuple[str, str]:
    """Return the name and version of a requirement for one source distribution.

    >>> named("old==1.0"), named("old @ https://files.test/old-1.0.tar.gz")
    (('old', '1.0'), ('old', '1.0'))
    """
    from packaging.utils import InvalidSdistFilename, canonicalize_name, parse_sdist_filename

    name, _, version = requirement.partition("==")
    if version:
        return canonicalize_name(name), version
    name, _, url = requirement.partition(" @ ")
    file = unquote(urlsplit(url).path.rpartition("/")[2])
    try:
        return canonicalize_name(name), str(parse_sdist_filename(file)[1])
    except InvalidSdistFilename:
        raise ResolveError(
            f"the version of `{requirement}` is unknown", hint="name a file of the form `NAME-VERSION.tar.gz`"
        ) from None
