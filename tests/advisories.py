"""Known vulnerabilities of this project's dependencies: the list in `advisories.json`, the check, and its update.

    python -m tests.advisories [--index ADDRESS] [NAME==VERSION ...]

asks the package index for the vulnerabilities of every declared floor and every installed version (and of those named)
and adds them to the list. The index is pip's own unless it is named: it must answer /pypi/NAME/VERSION/json.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

LIST = Path(__file__).with_name("advisories.json")
_PROJECT = Path(__file__).parents[1] / "pyproject.toml"
_LONGEST = 1 << 26  # bytes of an index's answer
_PATIENCE = 30.0


@dataclass(frozen=True)
class Advisory:
    """One vulnerability: `ranges` are pairs of the first version with it and the first one without."""

    id: str
    package: str
    summary: str
    aliases: tuple[str, ...]
    ranges: tuple[tuple[Version, Version], ...]

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Advisory:
        ranges = tuple((Version(one["introduced"]), Version(one["fixed"])) for one in row["ranges"])
        return cls(row["id"], row["package"], row["summary"], tuple(row["aliases"]), ranges)

    def affects(self, installed: Version) -> bool:
        """Has that version the vulnerability?"""
        return any(introduced <= installed < fixed for introduced, fixed in self.ranges)

    @property
    def fixed(self) -> Version:
        """The first version of which neither it nor a newer one has the vulnerability."""
        return max(fixed for _, fixed in self.ranges)


def known() -> list[Advisory]:
    """The list as it is in the repository."""
    return [Advisory.of(row) for row in json.loads(LIST.read_text(encoding="utf-8"))]


def declared(project: Mapping[str, Any]) -> list[Requirement]:
    """All that pyproject.toml asks for: of the package, its extras and its build."""
    extras = project["project"]["optional-dependencies"].values()
    texts = [*project["build-system"]["requires"], *project["project"]["dependencies"]]
    return [Requirement(text) for text in (*texts, *itertools.chain.from_iterable(extras))]


def floor_of(requirement: Requirement) -> Version | None:
    """The lowest version that the requirement admits, if it says one."""
    floors = [Version(one.version) for one in requirement.specifier if one.operator in (">=", "~=", "==")]
    return max(floors, default=None)


def violations(
    advisories: Iterable[Advisory], requirements: Iterable[Requirement], installed: Mapping[str, Version]
) -> list[str]:
    """Every floor that admits a version with a known vulnerability, and every installed version that has one."""
    asked, found = list(requirements), []
    for each in advisories:
        for one in asked:
            floor = floor_of(one)
            if canonicalize_name(one.name) == each.package and (floor is None or floor < each.fixed):
                found.append(f"{one} admits a version with {each.id}: write >={each.fixed} ({each.summary})")
        here = installed.get(each.package)
        if here is not None and each.affects(here):
            found.append(f"{each.package} {here} is installed and has {each.id}: fixed in {each.fixed}")
    return found


def installed_versions(requirements: Iterable[Requirement]) -> dict[str, Version]:
    """The versions of this environment."""
    found = {}
    for one in requirements:
        try:
            found[canonicalize_name(one.name)] = Version(version(one.name))
        except PackageNotFoundError:
            continue
    return found


def row_of(package: str, said: Mapping[str, Any]) -> dict[str, Any] | None:
    """An index's vulnerability -> a row of the list; None for one that is withdrawn or has no fixed version."""
    fixed = sorted(filter(None, map(_version, said.get("fixed_in") or ())))
    if said.get("withdrawn") or not fixed:
        return None
    newest = {one.major: one for one in fixed}  # of each major version the last one counts
    ranges, since = [], "0"
    for major, one in newest.items():
        ranges.append({"introduced": "0" if since == "0" else str(major), "fixed": str(one)})
        since = str(one)
    return {
        "id": str(said["id"]),
        "aliases": sorted(map(str, said.get("aliases") or ())),
        "package": package,
        "summary": " ".join(str(said.get("summary") or said.get("details") or "").split())[:120],
        "ranges": ranges,
    }


def _version(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:
        return None


def merged(rows: Sequence[dict[str, Any]], more: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The list with new rows; a vulnerability that is in the list, under whichever of its names, stays as it is."""
    names = {name for row in rows for name in (row["id"], *row["aliases"])}
    found = list(rows)
    for row in more:
        if names.isdisjoint((row["id"], *row["aliases"])):
            found.append(row)
            names.update((row["id"], *row["aliases"]))
    return sorted(found, key=lambda row: (row["package"], row["aliases"], row["id"]))


def ask(index: str, package: str, wanted: str) -> list[dict[str, Any]]:
    """The rows for one version of a package. OSError where the index does not say."""
    try:
        said = _get(f"{index}/pypi/{package}/{wanted}/json")
    except urllib.error.HTTPError as error:  # some mirrors have the newest version's page alone
        said = _get(f"{index}/pypi/{package}/json") if error.code == 404 else {}
        if (said.get("info") or {}).get("version") != wanted:
            raise
    rows = (row_of(package, one) for one in said.get("vulnerabilities") or ())
    return [row for row in rows if row is not None]


def _get(address: str) -> Any:
    with urllib.request.urlopen(address, timeout=_PATIENCE) as answer:
        return json.loads(answer.read(_LONGEST))


def pip_index() -> str:
    """The index of pip's own settings, without the path of its simple pages."""
    from pip._internal.configuration import Configuration
    from pip._internal.models.index import PyPI

    settings = Configuration(isolated=False)
    settings.load()
    named = dict(settings.items()).get("global.index-url") or dict(settings.items()).get(":env:.index-url")
    return str(named).rstrip("/").removesuffix("/simple") if named else str(PyPI.url).rstrip("/")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.advisories", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--index", help="an index that answers /pypi/NAME/VERSION/json; default: pip's own")
    parser.add_argument("named", nargs="*", metavar="NAME==VERSION", help="versions to ask for as well")
    given = parser.parse_args(arguments)
    requirements = declared(tomllib.loads(_PROJECT.read_text(encoding="utf-8")))
    wanted = {(canonicalize_name(one.name), str(floor)) for one in requirements if (floor := floor_of(one))}
    wanted |= {(name, str(found)) for name, found in installed_versions(requirements).items()}
    wanted |= {(canonicalize_name(one.partition("==")[0]), one.partition("==")[2]) for one in given.named}
    index, rows, silent = (given.index or pip_index()).rstrip("/"), [], []
    for package, one in sorted(wanted):
        try:
            rows += ask(index, package, one)
        except (OSError, ValueError) as error:
            silent.append(f"{package} {one}: {error}")
    before = json.loads(LIST.read_text(encoding="utf-8"))
    after = merged(before, rows)
    LIST.write_text(json.dumps(after, indent=2) + "\n", encoding="utf-8")
    print(f"{len(after) - len(before)} advisories are new, {len(after)} in all; {len(wanted)} versions were asked for")
    for line in silent:
        print(f"the index does not say: {line}", file=sys.stderr)
    return 1 if silent else 0


if __name__ == "__main__":
    sys.exit(main())
