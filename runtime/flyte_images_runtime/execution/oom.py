"""The kernel's report of an out-of-memory kill: the processes at that moment and their memory.

The supervisor in the container measures five times a second, too seldom for a task that fills its memory at once. The
kernel writes a table of all processes to its log, which only root may read.
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
_MOST = 5  # processes in a report


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """The state at a kill: the largest processes first, and the bytes of files in memory."""

    processes: tuple[Process, ...]
    files: int = 0

    @property
    def total(self) -> int:
        return self.files + sum(process.memory for process in self.processes)


def kill_in(group: str) -> Kill | None:
    """Return the report of the kill in the cgroup whose path ends with `group`. None without one that can be read."""
    try:
        log = os.open(_LOG, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return find(_messages(log), group, page=os.sysconf("SC_PAGE_SIZE"))
    finally:
        os.close(log)


def was_killed(group: str) -> bool:
    """Return whether the kernel killed a process in the cgroup whose path ends with `group`, at any limit."""
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
        except BrokenPipeError:  # the record was overwritten before it was read
            continue
        except OSError:  # BlockingIOError after the last record
            return
        yield record.decode(errors="replace").partition(";")[2].partition("\n")[0]


def find(messages: Iterable[str], group: str, *, page: int = 4096) -> Kill | None:
    """Return the report for the group that shows most memory: later reports show only what the first kill left.

    A report has, in this order, the group's account, a table of the processes, and a line with the name of the group.
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
