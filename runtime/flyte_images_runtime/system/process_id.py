"""ProcessId: one process of one boot, as a text for the names of labels, directories and cgroups.

A pid alone is not enough: the kernel gives it to another process later.
"""

from __future__ import annotations

import functools
import itertools
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

_FORM = re.compile(r"(?P<boot>[0-9a-f]{8})-(?P<space>[0-9]+)-(?P<pid>[0-9]+)-(?P<start>[0-9]+)")
_counter = itertools.count(1)
_CLOCK_ERROR = 60.0  # seconds by which the clock may have been set since the boot
MACHINE = "4026531836"
"""The pid namespace of the machine itself: the kernel gives it this number."""


@dataclass(frozen=True, slots=True)
class ProcessId:
    """`boot` and `space` are the machine's boot and the pid namespace; `pid` and `start` (in ticks) are the process's.

    `str` gives the text for names, and `parse` reads it.
    """

    boot: str
    space: str
    pid: int
    start: str

    def __str__(self) -> str:
        return f"{self.boot}-{self.space}-{self.pid}-{self.start}"

    def is_here(self) -> bool:
        """Return whether this process can see it: both are of one boot and one pid namespace."""
        own = current()
        return self.boot == own.boot and self.space == own.space

    def is_gone(self, made: float | None = None) -> bool:
        """Return whether the process has certainly ended.

        `made` is when the thing with the process's name was made, if that is known. A process of another boot is gone
        if the thing is older than this boot, since that boot was this machine's. A process of another pid namespace is
        gone if the namespace has no process, which only root of the machine can see.
        """
        own = current()
        if self.boot != own.boot:
            return made is not None and made < booted() - _CLOCK_ERROR
        if self.space != own.space:
            spaces = _spaces()
            return spaces is not None and self.space not in spaces
        return _start_of(self.pid) != self.start


def parse(text: str) -> ProcessId | None:
    """Return the process id at the beginning of a name; None if the name has none.

    >>> str(parse("0a1b2c3d-4026531836-17-999-3"))
    '0a1b2c3d-4026531836-17-999'
    >>> parse("something else") is None
    True
    """
    match = _FORM.match(text)
    return ProcessId(match["boot"], match["space"], int(match["pid"]), match["start"]) if match else None


def short(name: str) -> str:
    """Return the short name of a task, for people: the caller's pid and a number.

    >>> short("0a1b2c3d-4026531836-17-999-3")
    '17-3'
    """
    _, _, pid, _, number = name.split("-")
    return f"{pid}-{number}"


def current() -> ProcessId:
    """Return the id of this process."""
    return _process(os.getpid())


@functools.lru_cache(maxsize=1)  # keyed by the pid, since a fork is another process
def _process(pid: int) -> ProcessId:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8")[:8]
    space = re.sub(r"\D", "", str(Path("/proc/self/ns/pid").readlink()))
    return ProcessId(boot, space, pid, _start_of(pid) or "0")


def booted() -> float:
    """Return when this machine started, in seconds since the epoch by its present clock."""
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)


def _spaces() -> set[str] | None:
    """Return the pid namespaces that have processes; None where this process cannot see all of them."""
    if current().space != MACHINE:
        return None
    spaces: set[str] = set()
    for name in os.listdir("/proc"):  # noqa: PTH208
        if name.isdigit():
            try:
                spaces.add(re.sub(r"\D", "", str(Path(f"/proc/{name}/ns/pid").readlink())))
            except (FileNotFoundError, ProcessLookupError):  # the process has just ended
                continue
            except OSError:  # the process is another user's
                return None
    return spaces


def new_name() -> str:
    """Return a new name for the things of one task: this process's id and a number."""
    return f"{current()}-{next(_counter)}"


def _start_of(pid: int) -> str | None:
    """Return when the process started, in the kernel's ticks; None if it has ended. A zombie has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else fields[19]
