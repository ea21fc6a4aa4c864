"""The kernel's own report of an out-of-memory kill: which processes there were and what they had, at that moment.

The supervisor in the container looks five times a second, which is too seldom for a task that fills its memory at
once. The kernel writes the whole table to its log; root may read that, others do without.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from ..errors import Process

_LOG = "/dev/kmsg"
_SHMEM = re.compile(r"(?:total_)?shmem (\d+)")
_ROW = re.compile(r"\[ *(\d+)\] +\d+ +\d+ +\d+ +(\d+)(?: +-?\d+)+ +(\S.*)")
_MOST = 5  # processes that are told


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """What there was when the kernel had to kill: the largest processes first, and the files in memory in bytes."""

    processes: tuple[Process, ...]
    files: int = 0

    @property
    def total(self) -> int:
        return self.files + sum(process.memory for process in self.processes)


def kill_in(group: str) -> Kill | None:
    """The report of the kill in the cgroup that ends so; None if there is none, or it may not be read."""
    try:
        log = os.open(_LOG, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return find(_messages(log), group, page=os.sysconf("SC_PAGE_SIZE"))
    finally:
        os.close(log)


def was_killed(group: str) -> bool:
    """Has the kernel killed something in the cgroup that ends so, at a limit of this one or of one above it?"""
    try:
        log = os.open(_LOG, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return any(message.startswith("oom-kill:") and f"{group}/" in message for message in _messages(log))
    finally:
        os.close(log)


def _messages(log: int) -> Iterator[str]:
    while True:
        try:
            record = os.read(log, 1 << 13)
        except BrokenPipeError:  # this one was overwritten before it was read
            continue
        except OSError:  # BlockingIOError: that was the last
            return
        yield record.decode(errors="replace").partition(";")[2].partition("\n")[0]


def find(messages: Iterable[str], group: str, *, page: int = 4096) -> Kill | None:
    """Of the reports for the group the one that has most in it: later ones are of what was left.

    A report has, in this order, the group's account, a table of the processes, and a line that names the group.
    """
    found: Kill | None = None
    rows: list[Process] = []
    files = 0
    for message in messages:
        if " invoked oom-killer: " in message:
            rows, files = [], 0
        elif shmem := _SHMEM.fullmatch(message.strip()):
            files = max(files, int(shmem[1]))
        elif row := _ROW.match(message):
            with suppress(ValueError):
                rows.append(Process(pid=int(row[1]), memory=int(row[2]) * page, command=row[3]))
        elif message.startswith("oom-kill:") and re.search(rf"oom_memcg=\S*{re.escape(group)}[,/]", message):
            largest = sorted(rows, key=lambda process: -process.memory)
            kill = Kill(processes=tuple(largest[:_MOST]), files=files)
            found = kill if found is None or kill.total > found.total else found
    return found
