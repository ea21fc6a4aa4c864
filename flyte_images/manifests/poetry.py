"""pyproject.toml and poetry.lock -> the exact versions and hashes that the lock names. Reads the two, and asks nobody.

Locks of Poetry 2 (format 2.1) say of each package in which groups it is and under which markers; older ones do not.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flyte_images_layers import LayerError
from flyte_images_layers.pip import canonical_name, requirement

from . import Listed
from .reading import checked_python, remembered, text_of, toml_of

_VERSION = 1
_MAIN = "main"
_EXTRA = re.compile(r"extra == [\"']([^\"']+)[\"']")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What of a project is wanted: groups more, or fewer, or alone; extras, or all of them."""

    more: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    all_extras: bool = False


def wanted(words: Sequence[str]) -> Wanted:
    """Read `poetry install`'s options; refuse others.

    >>> wanted(["--only", "main", "-E", "fast"])
    Wanted(more=(), without=(), only=('main',), extras=('fast',), all_extras=False)
    """
    names = {"--with": "more", "--without": "without", "--only": "only", "--extras": "extras", "-E": "extras"}
    found: dict[str, list[str]] = {name: [] for name in ("more", "without", "only", "extras")}
    all_extras = False
    left = list(words)
    while left:
        word, _, value = left.pop(0).partition("=")
        if word == "--all-extras":
            all_extras = True
        elif word in names:
            value = value or (left.pop(0) if left else "")
            found[names[word]] += [canonical_name(it) for it in re.split(r"[,\s]+", value) if it]
        elif word not in ("--no-root", "--no-interaction", "-n", "--sync"):
            raise LayerError(
                f"the option `{word}` is not supported",
                hint="--with, --without, --only GROUP, --extras NAME and --all-extras are",
            )
    return Wanted(**{name: tuple(it) for name, it in found.items()}, all_extras=all_extras)


def read(project: str, lock: str, words: Sequence[str], python: str, environ: Mapping[str, str]) -> Listed:
    """Return what `lock` says that `project` needs, not the project itself.

    Raises LayerError for a lock that is of an older format or does not know what the project needs, and for what cannot
    be in an image.
    """
    texts = text_of(project), text_of(lock)
    return remembered(
        "poetry-project",
        (_VERSION, texts, tuple(words), python),
        environ,
        lambda: _read(toml_of(texts[0], project), toml_of(texts[1], lock), words, python, project, lock),
    )


def _read(
    raw: Mapping[str, Any], locked: Mapping[str, Any], words: Sequence[str], python: str, project: str, lock: str
) -> Listed:
    metadata, shown = locked.get("metadata") or {}, os.path.basename(lock)  # noqa: PTH119
    if _version(str(metadata.get("lock-version", "0"))) < (2, 1):
        raise LayerError(
            f"`{shown}` is of format {metadata.get('lock-version', 'unknown')}, which does not tell groups apart",
            hint="`poetry lock` of Poetry 2 writes one that does",
        )
    checked_python(metadata.get("python-versions"), python, project)
    packages = locked.get("package", ())
    _check_known(raw, {canonical_name(it["name"]) for it in packages}, shown)
    chosen = wanted(words)
    groups = _groups(raw, packages, chosen, shown)
    extras = {canonical_name(it) for it in locked.get("extras", {})} if chosen.all_extras else set(chosen.extras)
    unknown = extras - {canonical_name(it) for it in locked.get("extras", {})}
    if unknown:
        raise LayerError(f"the project has no extra `{min(unknown)}`")
    lines, hashes = [], []
    for package in packages:
        for marker in _markers(package, groups):
            lines.append(_line(package, _decided(marker, extras), shown))
            files = [str(it["hash"]).removeprefix("sha256:") for it in package.get("files", ())]
            hashes.append((canonical_name(package["name"]), tuple(sorted(files))))
    index, more = _indexes(raw)
    return Listed(packages=tuple(dict.fromkeys(lines)), hashes=_merged(hashes), index_url=index, extra_index_urls=more)


def _indexes(project: Mapping[str, Any]) -> tuple[str | None, tuple[str, ...]]:
    """Primary sources of a project take the place of the default index; the others are asked too."""
    sources = ((project.get("tool") or {}).get("poetry") or {}).get("source", ())
    with_url = [(str(it["url"]), it.get("priority", "primary")) for it in sources if "url" in it]
    primary = [url for url, priority in with_url if priority in ("primary", "default")]
    more = [url for url, priority in with_url if priority not in ("primary", "default")]
    return (primary[0] if primary else None), (*primary[1:], *more)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:2])


def _check_known(project: Mapping[str, Any], known: set[str], shown: str) -> None:
    """Refuse a lock that lacks something that the project names."""
    poetry = (project.get("tool") or {}).get("poetry") or {}
    tables = [poetry.get("dependencies", {}), *(it.get("dependencies", {}) for it in poetry.get("group", {}).values())]
    # What is only wanted elsewhere, on another system or by another Python, need not be there.
    names = {name for table in tables for name, told in table.items() if isinstance(told, str)} - {"python"}
    listed = [*(project.get("project") or {}).get("dependencies", ())]
    for several in (project.get("dependency-groups") or {}).values():
        listed += [it for it in several if isinstance(it, str)]
    names |= {match[0] for text in listed if ";" not in text and (match := re.match(r"[A-Za-z0-9._-]+", text))}
    missing = {canonical_name(name) for name in names} - known
    if missing:
        raise LayerError(
            f"`{shown}` is not up to date: it has no `{min(missing)}`", hint="`poetry lock` brings it up to date"
        )


def _groups(
    project: Mapping[str, Any], packages: Iterable[Mapping[str, Any]], chosen: Wanted, shown: str
) -> frozenset[str]:
    """The groups that are wanted: by default all that are not optional."""
    known = {canonical_name(it) for package in packages for it in package.get("groups", ())} | {_MAIN}
    told = ((project.get("tool") or {}).get("poetry") or {}).get("group", {})
    known |= {canonical_name(name) for name in told}
    for name in (*chosen.more, *chosen.without, *chosen.only):
        if name not in known:
            raise LayerError(f"`{shown}` has no group `{name}`", hint=f"it has {', '.join(sorted(known))}")
    if chosen.only:
        return frozenset(chosen.only)
    optional = {canonical_name(name) for name, group in told.items() if group.get("optional")}
    return frozenset(known - optional - set(chosen.without) | set(chosen.more))


def _markers(package: Mapping[str, Any], groups: frozenset[str]) -> list[str]:
    """Under which markers the groups want a package; one line each."""
    own = {canonical_name(it) for it in package.get("groups", ())} & groups
    markers = package.get("markers", "")
    if isinstance(markers, str):
        return [markers] if own else []
    by_group = {canonical_name(name): text for name, text in markers.items()}
    found = {by_group.get(name, "") for name in own}
    return [""] if "" in found else sorted(found)


def _decided(marker: str, extras: set[str]) -> str:
    """A marker with its questions for extras answered."""
    return _EXTRA.sub(lambda match: f"python_version {'>=' if canonical_name(match[1]) in extras else '<'} '0'", marker)


def _line(package: Mapping[str, Any], marker: str, shown: str) -> str:
    source = package.get("source") or {}
    name, version = package["name"], package["version"]
    if source.get("type") in ("git", "directory", "file"):
        raise LayerError(
            f"`{shown}`: `{name}` is from {source['type']} `{source.get('url', '')}`, not from an index",
            hint="serve a wheel of it from an index; or with_source_folder brings its code, "
            'and extra_args="--without GROUP" leaves its group out',
        )
    what = f"{name} @ {source['url']}" if source.get("type") == "url" else f"{name}=={version}"
    return requirement(f"{what} ; {marker}" if marker else what)


def _merged(hashes: Iterable[tuple[str, tuple[str, ...]]]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """One entry a package: there may be one version for each of two markers."""
    found: dict[str, set[str]] = {}
    for name, several in hashes:
        found.setdefault(name, set()).update(several)
    return tuple((name, tuple(sorted(it))) for name, it in sorted(found.items()) if it)
