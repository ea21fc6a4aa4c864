"""Owner: which process of which boot made something, in a form that a label, a directory and a cgroup can bear."""

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
_CLOCK = 60.0  # seconds by which the clock may have been set since the boot
MACHINE = "4026531836"
"""The pid namespace of the machine itself: the kernel gives it this number."""


@dataclass(frozen=True, slots=True)
class Owner:
    """boot: of the machine; space: the pid namespace; pid and start: the process."""

    boot: str
    space: str
    pid: int
    start: str

    def __str__(self) -> str:
        return f"{self.boot}-{self.space}-{self.pid}-{self.start}"

    def is_here(self) -> bool:
        """Is it a process that can be seen from here: of this boot and this namespace?"""
        here = current()
        return self.boot == here.boot and self.space == here.space

    def is_gone(self, made: float | None = None) -> bool:
        """Is it certain that the process has ended?

        `made`: when the thing that bears the mark was made, if that is known. A process of another boot is gone if the
        thing is older than this boot: that boot was this machine's. A process of another pid namespace is gone if no
        process is in that namespace, which only root of the machine can see.
        """
        here = current()
        if self.boot != here.boot:
            return made is not None and made < booted() - _CLOCK
        if self.space != here.space:
            spaces = _spaces()
            return spaces is not None and self.space not in spaces
        return _start_of(self.pid) != self.start


def parse(text: str) -> Owner | None:
    """The owner at the beginning of a name.

    >>> str(parse("0a1b2c3d-4026531836-17-999-3"))
    '0a1b2c3d-4026531836-17-999'
    >>> parse("something else") is None
    True
    """
    found = _FORM.match(text)
    return Owner(found["boot"], found["space"], int(found["pid"]), found["start"]) if found else None


def short(name: str) -> str:
    """What a person types for the task of that name: the caller's pid and a number.

    >>> short("0a1b2c3d-4026531836-17-999-3")
    '17-3'
    """
    _, _, pid, _, number = name.split("-")
    return f"{pid}-{number}"


def current() -> Owner:
    """This process."""
    return _process(os.getpid())


@functools.lru_cache(maxsize=1)  # a fork is another process
def _process(pid: int) -> Owner:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8")[:8]
    space = re.sub(r"\D", "", str(Path("/proc/self/ns/pid").readlink()))
    return Owner(boot, space, pid, _start_of(pid) or "0")


def booted() -> float:
    """When this machine started, by its clock."""
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)


def _spaces() -> set[str] | None:
    """The pid namespaces in which there are processes; None where not all can be seen."""
    if current().space != MACHINE:
        return None
    found: set[str] = set()
    for name in os.listdir("/proc"):  # noqa: PTH208
        if name.isdigit():
            try:
                found.add(re.sub(r"\D", "", str(Path(f"/proc/{name}/ns/pid").readlink())))
            except (FileNotFoundError, ProcessLookupError):  # it has just ended
                continue
            except OSError:  # another user's
                return None
    return found


def new_name() -> str:
    """A name for one task's things: the owner's, and a number."""
    return f"{current()}-{next(_counter)}"


def _start_of(pid: int) -> str | None:
    """When the process started, in the kernel's ticks; None if there is none. A zombie has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else fields[19]
