"""Where cgroups are mounted, in both versions. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Hierarchies:
    """Where cgroups are mounted: version 2's one, and version 1's by controller."""

    unified: Path | None
    legacy: dict[str, Path]

    @property
    def version(self) -> int:
        return 1 if "memory" in self.legacy else 2

    def roots(self) -> Iterator[Path]:
        """Each hierarchy once: `cpu` and `cpuacct` are often one."""
        seen = set()
        for root in (*self.legacy.values(), *((self.unified,) if self.unified else ())):
            real = root.resolve()
            if real not in seen:
                seen.add(real)
                yield real


def parse_mounts(text: str) -> Hierarchies:
    """Read the content of /proc/self/mounts.

    >>> found = parse_mounts("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0")
    >>> found.version, str(found.unified)
    (2, '/sys/fs/cgroup')
    >>> found = parse_mounts("cgroup /sys/fs/cgroup/memory cgroup rw,relatime,memory 0 0")
    >>> found.version, str(found.legacy["memory"])
    (1, '/sys/fs/cgroup/memory')
    """
    unified: Path | None = None
    legacy: dict[str, Path] = {}
    for line in text.splitlines():
        _, place, kind, options = (line.split() + [""] * 4)[:4]
        if kind == "cgroup2":
            unified = Path(place)
        elif kind == "cgroup":
            for option in options.split(","):
                if option not in ("rw", "ro", "relatime", "nosuid", "nodev", "noexec", "xattr"):
                    legacy[option] = Path(place)
    return Hierarchies(unified, legacy)
