"""Owner: which process of which boot made something, in a form that a label, a directory and a cgroup can bear."""

from __future__ import annotations

import functools
import itertools
import os
import re
from dataclasses import dataclass
from pathlib import Path

_FORM = re.compile(r"(?P<boot>[0-9a-f]{8})-(?P<space>[0-9]+)-(?P<pid>[0-9]+)-(?P<start>[0-9]+)")
_counter = itertools.count(1)


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

    def is_gone(self) -> bool:
        """Is it certain that the process has ended? Of another machine's or namespace's processes nothing is known."""
        return self.is_here() and _start_of(self.pid) != self.start


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
