"""pyproject.toml and poetry.lock -> the exact versions and hashes of the lock. No index is asked.

A lock of Poetry 2 (format 2.1) names the groups and markers of each package; locks of older formats do not.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flyte_images_layers import LayerError
from flyte_images_layers.pip import canonical_name, requirement

from . import PackageList
from .reading import cached, check_python, parse_toml, read_text

_VERSION = 1
_MAIN = "main"
_EXTRA = re.compile(r"extra == [\"']([^\"']+)[\"']")


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The selected parts of a project: groups to add, to leave out, or to use alone; extras, or all of them."""

    more: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    all_extras: bool = False


def parse_selection(options: Sequence[str]) -> Selection:
    """Parse options of `poetry install`. Raise LayerError for any other option.

    >>> parse_selection(["--only", "main", "-E", "fast"])
    Selection(more=(), without=(), only=('main',), extras=('fast',), all_extras=False)
    """
    names = {"--with": "more", "--without": "without", "--only": "only", "--extras": "extras", "-E": "extras"}
    selected: dict[str, list[str]] = {name: [] for name in ("more", "without", "only", "extras")}
    all_extras = False
    remaining = list(options)
    while remaining:
        word, _, value = remaining.pop(0).partition("=")
        if word == "--all-extras":
            all_extras = True
        elif word in names:
            value = value or (remaining.pop(0) if remaining else "")
            selected[names[word]] += [canonical_name(name) for name in re.split(r"[,\s]+", value) if name]
        elif word not in ("--no-root", "--no-interaction", "-n", "--sync"):
            raise LayerError(
                f"the option `{word}` is not supported",
                hint="supported: --with, --without, --only GROUP, --extras NAME, --all-extras",
            )
    return Selection(**{name: tuple(several) for name, several in selected.items()}, all_extras=all_extras)


def read(project: str, lock: str, options: Sequence[str], python: str, environ: Mapping[str, str]) -> PackageList:
    """Return the locked packages that `project` needs, without the project itself.

    Raise LayerError for a lock of an older format, a lock that lacks a dependency of the project, and a package that
    does not come from an index.
    """
    texts = read_text(project), read_text(lock)
    return cached(
        "poetry-project",
        (_VERSION, texts, tuple(options), python),
        environ,
        lambda: _read(parse_toml(texts[0], project), parse_toml(texts[1], lock), options, python, project, lock),
    )


def _read(
    pyproject: Mapping[str, Any],
    locked: Mapping[str, Any],
    options: Sequence[str],
    python: str,
    project: str,
    lock: str,
) -> PackageList:
    metadata, lock_name = locked.get("metadata") or {}, os.path.basename(lock)  # noqa: PTH119
    if _version(str(metadata.get("lock-version", "0"))) < (2, 1):
        raise LayerError(
            f"`{lock_name}` is of format {metadata.get('lock-version', 'unknown')}, which does not name groups",
            hint="make the lock again with Poetry 2: `poetry lock`",
        )
    check_python(metadata.get("python-versions"), python, project)
    packages = locked.get("package", ())
    _check_complete(pyproject, {canonical_name(table["name"]) for table in packages}, lock_name)
    selection = parse_selection(options)
    groups = _groups(pyproject, packages, selection, lock_name)
    extras = (
        {canonical_name(extra) for extra in locked.get("extras", {})} if selection.all_extras else set(selection.extras)
    )
    unknown = extras - {canonical_name(extra) for extra in locked.get("extras", {})}
    if unknown:
        raise LayerError(f"the project has no extra `{min(unknown)}`")
    lines, hashes = [], []
    for package in packages:
        for marker in _markers(package, groups):
            lines.append(_line(package, _without_extras(marker, extras), lock_name))
            files = [str(entry["hash"]).removeprefix("sha256:") for entry in package.get("files", ())]
            hashes.append((canonical_name(package["name"]), tuple(sorted(files))))
    index, more = _indexes(pyproject)
    return PackageList(
        packages=tuple(dict.fromkeys(lines)), hashes=_merged(hashes), index_url=index, extra_index_urls=more
    )


def _indexes(project: Mapping[str, Any]) -> tuple[str | None, tuple[str, ...]]:
    """Return the index that replaces the default one (a primary source), or None, and the other sources."""
    sources = ((project.get("tool") or {}).get("poetry") or {}).get("source", ())
    with_url = [(str(source["url"]), source.get("priority", "primary")) for source in sources if "url" in source]
    primary = [url for url, priority in with_url if priority in ("primary", "default")]
    more = [url for url, priority in with_url if priority not in ("primary", "default")]
    return (primary[0] if primary else None), (*primary[1:], *more)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:2])


def _check_complete(project: Mapping[str, Any], locked: set[str], lock_name: str) -> None:
    """Raise LayerError if the lock lacks a package that the project names."""
    poetry = (project.get("tool") or {}).get("poetry") or {}
    tables = [
        poetry.get("dependencies", {}),
        *(group.get("dependencies", {}) for group in poetry.get("group", {}).values()),
    ]
    # A table or a marker may limit a package to other systems or Pythons; the lock need not have such a package.
    names = {name for table in tables for name, version in table.items() if isinstance(version, str)} - {"python"}
    listed = [*(project.get("project") or {}).get("dependencies", ())]
    for several in (project.get("dependency-groups") or {}).values():
        listed += [text for text in several if isinstance(text, str)]
    names |= {match[0] for text in listed if ";" not in text and (match := re.match(r"[A-Za-z0-9._-]+", text))}
    missing = {canonical_name(name) for name in names} - locked
    if missing:
        raise LayerError(
            f"`{lock_name}` is not up to date: it has no `{min(missing)}`", hint="update it: `poetry lock`"
        )


def _groups(
    project: Mapping[str, Any], packages: Iterable[Mapping[str, Any]], selection: Selection, lock_name: str
) -> frozenset[str]:
    """Return the selected groups: by default all that are not optional."""
    known = {canonical_name(group) for package in packages for group in package.get("groups", ())} | {_MAIN}
    tables = ((project.get("tool") or {}).get("poetry") or {}).get("group", {})
    known |= {canonical_name(name) for name in tables}
    for name in (*selection.more, *selection.without, *selection.only):
        if name not in known:
            raise LayerError(f"`{lock_name}` has no group `{name}`", hint=f"its groups: {', '.join(sorted(known))}")
    if selection.only:
        return frozenset(selection.only)
    optional = {canonical_name(name) for name, group in tables.items() if group.get("optional")}
    return frozenset(known - optional - set(selection.without) | set(selection.more))


def _markers(package: Mapping[str, Any], groups: frozenset[str]) -> list[str]:
    """Return the markers under which the groups need a package; each becomes one requirement."""
    own = {canonical_name(group) for group in package.get("groups", ())} & groups
    markers = package.get("markers", "")
    if isinstance(markers, str):
        return [markers] if own else []
    by_group = {canonical_name(name): text for name, text in markers.items()}
    needed = {by_group.get(name, "") for name in own}
    return [""] if "" in needed else sorted(needed)


def _without_extras(marker: str, extras: set[str]) -> str:
    """Return a marker in which each test for an extra is replaced by one that is always true or always false."""
    return _EXTRA.sub(lambda match: f"python_version {'>=' if canonical_name(match[1]) in extras else '<'} '0'", marker)


def _line(package: Mapping[str, Any], marker: str, lock_name: str) -> str:
    source = package.get("source") or {}
    name, version = package["name"], package["version"]
    if source.get("type") in ("git", "directory", "file"):
        raise LayerError(
            f"`{lock_name}`: `{name}` is from {source['type']} `{source.get('url', '')}`, not from an index",
            hint="serve a wheel of it from an index; or add its code with with_source_folder, "
            'and leave its group out with extra_args="--without GROUP"',
        )
    package_line = f"{name} @ {source['url']}" if source.get("type") == "url" else f"{name}=={version}"
    return requirement(f"{package_line} ; {marker}" if marker else package_line)


def _merged(hashes: Iterable[tuple[str, tuple[str, ...]]]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return one entry for each package: two markers may have different versions."""
    by_name: dict[str, set[str]] = {}
    for name, several in hashes:
        by_name.setdefault(name, set()).update(several)
    return tuple((name, tuple(sorted(values))) for name, values in sorted(by_name.items()) if values)
