"""/proc/self/mounts -> Hierarchies: where cgroups are mounted, in both versions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Hierarchies:
    """The mount points of cgroups: `unified` for version 2, `legacy` for version 1 by controller."""

    unified: Path | None
    legacy: dict[str, Path]

    @property
    def version(self) -> int:
        """1 if version 1 has the memory controller, else 2."""
        return 1 if "memory" in self.legacy else 2

    def roots(self) -> Iterator[Path]:
        """Yield each hierarchy once: the controllers `cpu` and `cpuacct` often have one in common."""
        seen = set()
        for root in (*self.legacy.values(), *((self.unified,) if self.unified else ())):
            real = root.resolve()
            if real not in seen:
                seen.add(real)
                yield real


def parse_mounts(text: str) -> Hierarchies:
    """Return the hierarchies in the content of /proc/self/mounts.

    >>> hierarchies = parse_mounts("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0")
    >>> hierarchies.version, str(hierarchies.unified)
    (2, '/sys/fs/cgroup')
    >>> hierarchies = parse_mounts("cgroup /sys/fs/cgroup/memory cgroup rw,relatime,memory 0 0")
    >>> hierarchies.version, str(hierarchies.legacy["memory"])
    (1, '/sys/fs/cgroup/memory')
    """
    unified: Path | None = None
    legacy: dict[str, Path] = {}
    for line in text.splitlines():
        _, mount_point, kind, options = (line.split() + [""] * 4)[:4]
        if kind == "cgroup2":
            unified = Path(mount_point)
        elif kind == "cgroup":
            for option in options.split(","):
                if option not in ("rw", "ro", "relatime", "nosuid", "nodev", "noexec", "xattr"):
                    legacy[option] = Path(mount_point)
    return Hierarchies(unified, legacy)
