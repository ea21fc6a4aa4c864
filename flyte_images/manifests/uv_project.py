"""pyproject.toml and uv.lock -> the exact versions and hashes of the lock. uv reads the lock, and asks no index."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from flyte_images_layers import LayerError
from flyte_images_layers.pip import canonical_name

from ..store.leftovers import temporary_directory
from . import PackageList
from .reading import cached, check_python, parse_toml, read_text
from .requirements import parse
from .uv_binary import run_uv

_VERSION = 1
_ALONE = {"--all-extras", "--all-groups", "--dev", "--no-dev", "--only-dev", "--no-default-groups"}
_WITH_VALUE = {"--extra", "--no-extra", "--group", "--no-group", "--only-group", "--no-emit-package"}


def read(project: str, lock: str, options: Sequence[str], python: str, environ: Mapping[str, str]) -> PackageList:
    """Return the locked packages that `project` needs, with the extras and groups of `options`, without the project.

    Raise LayerError if the lock is not that of the project, if the project excludes this Python, or for a package that
    is a folder of this machine.
    """
    project_text, lock_text = read_text(project), read_text(lock)

    def make() -> PackageList:
        pyproject = parse_toml(project_text, project)
        check_python((pyproject.get("project") or {}).get("requires-python"), python, project)
        _check_fresh(pyproject, parse_toml(lock_text, lock), project, lock)
        packages = parse(_export(Path(project), Path(lock), options, environ), Path(lock).name)
        index, more = _indexes((pyproject.get("tool") or {}).get("uv") or {})
        return replace(packages, index_url=index, extra_index_urls=more)

    return cached("uv-project", (_VERSION, (project_text, lock_text), tuple(options), python), environ, make)


def _indexes(settings: Mapping[str, Any]) -> tuple[str | None, tuple[str, ...]]:
    """Return the index that replaces the default one, or None, and the extra indexes of a project."""
    tables = [table for table in settings.get("index", ()) if "url" in table]
    default = next((str(table["url"]) for table in tables if table.get("default")), settings.get("index-url"))
    more = [str(table["url"]) for table in tables if not table.get("default")]
    return default, (*more, *settings.get("extra-index-url", ()))


def split_options(options: Sequence[str]) -> tuple[list[str], str]:
    """Split options into those that select parts of a project, and the others, quoted.

    >>> split_options(["--no-dev", "--pre", "--extra", "a b"])
    (['--no-dev', '--extra', 'a b'], '--pre')
    """
    ours: list[str] = []
    others: list[str] = []
    left = list(options)
    while left:
        word = left.pop(0)
        name, has_value, _ = word.partition("=")
        if name in _ALONE or name in _WITH_VALUE:
            ours.append(word)
            if name in _WITH_VALUE and not has_value:
                ours += [left.pop(0)] if left else []
        else:
            others.append(word)
    return ours, shlex.join(others)


def _export(project: Path, lock: Path, options: Sequence[str], environ: Mapping[str, str]) -> str:
    """Return the lock as requirements.txt, by `uv export`, which needs no Python and writes no file."""
    with temporary_directory("uv") as place:
        folder = project.parent
        if lock.parent not in folder.parents and lock.parent != folder:
            folder = Path(place)
            (folder / "pyproject.toml").write_bytes(project.read_bytes())
            (folder / "uv.lock").write_bytes(lock.read_bytes())
        argv = (
            *("export", "--project", str(folder), "--frozen", "--offline", "--no-python-downloads"),
            *("--format", "requirements.txt", "--no-emit-project", "--no-header", "--no-annotate", "--quiet"),
            *("--color", "never", *options),
        )
        clean_environ = {
            name: value for name, value in environ.items() if not name.startswith("UV_") and name != "VIRTUAL_ENV"
        }
        done = run_uv(argv, directory=place, environ=clean_environ)
    if done.status:
        reason = "; ".join(
            re.sub(r"^\s*(error|cause|hint):\s*", "", line) for line in done.stderr.splitlines() if line.strip()
        )
        raise LayerError(f"uv cannot read `{lock.name}`: {reason}", hint="make the lock again: `uv lock`")
    return done.stdout


def _check_fresh(project: Mapping[str, Any], lock: Mapping[str, Any], project_path: str, lock_path: str) -> None:
    """Raise LayerError if the lock was made for other dependencies than the project has now."""
    name = canonical_name(str((project.get("project") or {}).get("name", "")))
    packages = lock.get("package", ())
    own = [table for table in packages if table.get("name") == name and "registry" not in table.get("source", {})]
    if not own:
        raise LayerError(
            f"`{lock_path}` does not contain the project `{name}`", hint="check that it is the lock of this project"
        )
    metadata = own[0].get("metadata") or {}
    declared = _declared(project)
    groups = {part for part, *_ in declared}
    locked = {_requirement(_extra_of(entry), entry) for entry in metadata.get("requires-dist", ())}
    for group, several in (metadata.get("requires-dev") or {}).items():
        if f"group {group}" in groups:
            locked |= {_requirement(f"group {group}", entry) for entry in several}
    if declared != locked:
        (_, name, _, _) = sorted(declared ^ locked)[0]
        raise LayerError(
            f"`{os.path.basename(lock_path)}` is not up to date with `{os.path.basename(project_path)}`: "  # noqa: PTH119
            f"they differ in `{name}`",
            hint="update it: `uv lock`",
        )


def _declared(project: Mapping[str, Any]) -> set[tuple[str, str, str, str]]:
    """Return each requirement: extra or group, name, extras, versions. Groups that include others are left out."""
    from packaging.requirements import InvalidRequirement, Requirement

    table = project.get("project") or {}
    lists: dict[str, Sequence[Any]] = {"": table.get("dependencies", ())}
    lists |= {f"extra {canonical_name(name)}": texts for name, texts in table.get("optional-dependencies", {}).items()}
    for name, several in project.get("dependency-groups", {}).items():
        if all(isinstance(text, str) for text in several):
            lists[f"group {canonical_name(name)}"] = several
    requirements = set()
    for part, several in lists.items():
        for text in several:
            try:
                parsed = Requirement(str(text))
            except InvalidRequirement as error:
                raise LayerError(f"`{text}` is not a requirement: {error}") from None
            requirements.add(
                (part, canonical_name(parsed.name), _extras(parsed.extras), _specifier(str(parsed.specifier)))
            )
    return requirements


def _requirement(part: str, entry: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """Return an entry of the lock in the form of `_declared`."""
    extras, specifier = _extras(entry.get("extras", ())), _specifier(entry.get("specifier", ""))
    return part, canonical_name(entry["name"]), extras, specifier


def _extra_of(entry: Mapping[str, Any]) -> str:
    match = re.search(r"extra == '([^']+)'", entry.get("marker", ""))
    return f"extra {canonical_name(match[1])}" if match else ""


def _extras(names: object) -> str:
    assert isinstance(names, (list, tuple, set))
    return ",".join(sorted(map(canonical_name, names)))


def _specifier(text: str) -> str:
    from packaging.specifiers import SpecifierSet

    return str(SpecifierSet(text))
