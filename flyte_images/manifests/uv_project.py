"""pyproject.toml and uv.lock -> the exact versions and hashes that the lock names. uv reads it, and asks nobody."""

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
from . import Listed
from .reading import checked_python, remembered, text_of, toml_of
from .requirements import parse
from .uv_binary import run_uv

_VERSION = 1
_ALONE = {"--all-extras", "--all-groups", "--dev", "--no-dev", "--only-dev", "--no-default-groups"}
_WITH_VALUE = {"--extra", "--no-extra", "--group", "--no-group", "--only-group", "--no-emit-package"}


def read(project: str, lock: str, words: Sequence[str], python: str, environ: Mapping[str, str]) -> Listed:
    """Return what `lock` says that `project` needs, with the extras and groups of `words`; not the project itself.

    Raises LayerError if the lock is not that of the project, if the project does not want this Python, or for what
    cannot be in an image: folders of this machine.
    """
    texts = told, locked = text_of(project), text_of(lock)

    def make() -> Listed:
        raw = toml_of(told, project)
        checked_python((raw.get("project") or {}).get("requires-python"), python, project)
        _check_fresh(raw, toml_of(locked, lock), project, lock)
        found = parse(_exported(Path(project), Path(lock), words, environ), Path(lock).name)
        index, more = _indexes((raw.get("tool") or {}).get("uv") or {})
        return replace(found, index_url=index, extra_index_urls=more)

    return remembered("uv-project", (_VERSION, texts, tuple(words), python), environ, make)


def _indexes(settings: Mapping[str, Any]) -> tuple[str | None, tuple[str, ...]]:
    """The index that a project has in the place of the default one, and those beside it."""
    tables = [it for it in settings.get("index", ()) if "url" in it]
    default = next((str(it["url"]) for it in tables if it.get("default")), settings.get("index-url"))
    more = [str(it["url"]) for it in tables if not it.get("default")]
    return default, (*more, *settings.get("extra-index-url", ()))


def own_words(words: Sequence[str]) -> tuple[list[str], str]:
    """Split options into those that choose what of a project is wanted, and the others as they were.

    >>> own_words(["--no-dev", "--pre", "--extra", "a b"])
    (['--no-dev', '--extra', 'a b'], '--pre')
    """
    ours: list[str] = []
    others: list[str] = []
    left = list(words)
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


def _exported(project: Path, lock: Path, words: Sequence[str], environ: Mapping[str, str]) -> str:
    """The requirements that uv reads out of the lock. It needs no Python for it, and writes nothing."""
    with temporary_directory("uv") as place:
        folder = project.parent
        if lock.parent not in folder.parents and lock.parent != folder:
            folder = Path(place)
            (folder / "pyproject.toml").write_bytes(project.read_bytes())
            (folder / "uv.lock").write_bytes(lock.read_bytes())
        argv = (
            *("export", "--project", str(folder), "--frozen", "--offline", "--no-python-downloads"),
            *("--format", "requirements.txt", "--no-emit-project", "--no-header", "--no-annotate", "--quiet"),
            *("--color", "never", *words),
        )
        kept_apart = {
            name: value for name, value in environ.items() if not name.startswith("UV_") and name != "VIRTUAL_ENV"
        }
        done = run_uv(argv, directory=place, environ=kept_apart)
    if done.code:
        said = "; ".join(
            re.sub(r"^\s*(error|cause|hint):\s*", "", line) for line in done.errors.splitlines() if line.strip()
        )
        raise LayerError(f"uv cannot read `{lock.name}`: {said}", hint="`uv lock` makes it")
    return done.out


def _check_fresh(project: Mapping[str, Any], lock: Mapping[str, Any], project_path: str, lock_path: str) -> None:
    """Refuse a lock that was made for other dependencies than the project has now."""
    name = canonical_name(str((project.get("project") or {}).get("name", "")))
    own = [it for it in lock.get("package", ()) if it.get("name") == name and "registry" not in it.get("source", {})]
    if not own:
        raise LayerError(f"`{lock_path}` does not know of the project `{name}`", hint="is it the lock of another one?")
    metadata = own[0].get("metadata") or {}
    said = _declared(project)
    known = {
        (_extra_of(it), canonical_name(it["name"]), _extras(it.get("extras", ())), _specifier(it.get("specifier", "")))
        for it in metadata.get("requires-dist", ())
    } | {
        (
            f"group {group}",
            canonical_name(it["name"]),
            _extras(it.get("extras", ())),
            _specifier(it.get("specifier", "")),
        )
        for group, several in (metadata.get("requires-dev") or {}).items()
        for it in several
        if f"group {group}" in {entry[0] for entry in said}
    }
    if said != known:
        (_, odd, _, _) = sorted(said ^ known)[0]
        raise LayerError(
            f"`{os.path.basename(lock_path)}` is not up to date with `{os.path.basename(project_path)}`: "  # noqa: PTH119
            f"they differ in `{odd}`",
            hint="`uv lock` brings it up to date",
        )


def _declared(project: Mapping[str, Any]) -> set[tuple[str, str, str, str]]:
    """What a project needs: the extra or group, name, extras, versions. Groups that include others are left out."""
    from packaging.requirements import InvalidRequirement, Requirement

    table = project.get("project") or {}
    lists: dict[str, Sequence[Any]] = {"": table.get("dependencies", ())}
    lists |= {f"extra {canonical_name(name)}": it for name, it in table.get("optional-dependencies", {}).items()}
    for name, several in project.get("dependency-groups", {}).items():
        if all(isinstance(it, str) for it in several):
            lists[f"group {canonical_name(name)}"] = several
    found = set()
    for where, several in lists.items():
        for text in several:
            try:
                it = Requirement(str(text))
            except InvalidRequirement as error:
                raise LayerError(f"`{text}` is no requirement: {error}") from None
            found.add((where, canonical_name(it.name), _extras(it.extras), _specifier(str(it.specifier))))
    return found


def _extra_of(entry: Mapping[str, Any]) -> str:
    match = re.search(r"extra == '([^']+)'", entry.get("marker", ""))
    return f"extra {canonical_name(match[1])}" if match else ""


def _extras(names: object) -> str:
    assert isinstance(names, (list, tuple, set))
    return ",".join(sorted(map(canonical_name, names)))


def _specifier(text: str) -> str:
    from packaging.specifiers import SpecifierSet

    return str(SpecifierSet(text))
