"""Budget: the memory, disk, entries and time that one result of a container may cost the caller.

The bounds follow from the task's limits and from `max_result=`. A charge is never less than the cost: JSON is counted
before objects are made of it; a file is charged with its size, holes included, each time that the result names it.
"""

from __future__ import annotations

import os
import re
import time
from typing import TYPE_CHECKING, Any

from ..portable import fast_json
from ..resources.quantity import format_size
from .errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..resources.limits import Limits

SECONDS = 10.0  # CPU time for one result
LONGEST = 1 << 28  # bytes of a result's JSON, which does not contain arrays and files
_FILES = 10 << 30  # bytes on disk that every result may have
_ENTRIES = 1 << 20  # files, directories and links
_COPIED = 1 << 27  # bytes of a file for which a second more is allowed

# The caller's cost of JSON: the parsed form and the value made of it, in CPython 3.11 to 3.14.
_WORST = 100  # bytes of memory for a byte of text, at most
_OBJECT, _ARRAY, _ITEM = 500, 200, 80  # bytes of memory
_OBJECT_TIME, _ITEM_TIME = 2e-6, 1e-7  # seconds
_WINDOW = 1 << 16
_BACKSLASHES = re.compile(rb"\\*")


class Budget:
    """What one result may still cost. Each `take_...` raises Problem if too little is left.

    memory   bytes of memory of the caller
    disk     bytes of files, directories, arrays and tables, holes in them included
    seconds  CPU time of this thread to make values
    """

    def __init__(self, *, memory: int, disk: int, seconds: float = SECONDS) -> None:
        self._limit = memory
        self._disk_limit = disk
        self._seconds = seconds
        self._memory = memory
        self._disk = disk
        self._entries = _ENTRIES
        self._until: float | None = None
        self._steps = 0

    @classmethod
    def of(cls, limits: Limits, max_result: int | None = None) -> Budget:
        """Return the budget of one result of a task with these limits: twice its memory, or half of this machine's."""
        memory = machine_memory() // 2 if limits.memory is None else 2 * limits.memory
        disk = max_result if max_result is not None else max(_FILES, memory, limits.disk or 0)
        return cls(memory=memory, disk=disk)

    @classmethod
    def small(cls) -> Budget:
        """Return the budget of the worker's report on its end, which is one page or so."""
        return cls(memory=16 << 20, disk=0)

    @property
    def longest(self) -> int:
        """The most bytes of JSON that can be taken."""
        return min(LONGEST, self._memory // 3)

    def take_memory(self, size: int, what: str) -> None:
        """Spend memory on `what`."""
        if size > self._memory:
            raise Problem(
                f"{what} would take {format_size(size)} of the caller's memory; {format_size(self._memory)} of"
                f" {format_size(self._limit)} is left",
                hint="a result may take twice the task's memory limit: raise it, or return an array, a File or a Dir",
            )
        self._memory -= size

    def take_disk(self, size: int, what: str) -> None:
        """Spend disk on `what`. The copy may take time in proportion to its size."""
        if not 0 <= size <= self._disk:
            raise Problem(
                f"{what} holds {format_size(size)}; {format_size(self._disk)} of {format_size(self._disk_limit)}"
                " (max_result) is left",
                hint=f'let the task return more: max_result="{format_size(2 * size)}", or write to a mount',
            )
        self._disk -= size
        self._until = self._begun() + size / _COPIED

    def take_entry(self) -> None:
        """Spend one entry of a directory."""
        self._entries -= 1
        if self._entries < 0:
            raise Problem(f"a result has at most {_ENTRIES} files and directories", hint="return an archive as a File")
        self._step()

    def timed(self, items: Iterable[Any]) -> Iterator[tuple[int, Any]]:
        """Enumerate the items. Raise Problem when the time is over."""
        self._step()
        for numbered in enumerate(items):
            self._step()
            yield numbered

    def _begun(self) -> float:
        """Return the deadline by this thread's CPU clock. The time counts from the first call."""
        if self._until is None:
            self._until = time.thread_time() + self._seconds
        return self._until

    def _step(self) -> None:
        self._steps += 1
        if self._steps & 1023 == 1 and time.thread_time() > self._begun():
            raise Problem(
                f"making it takes more than {self._seconds:g} s of the caller's CPU time",
                hint="return a table, an array or a File",
            )

    def take_json(self, text: bytes | bytearray) -> None:
        """Spend the memory and the time for the values in a JSON text."""
        length = len(text)
        if length > self.longest:
            raise Problem(f"its JSON of {format_size(length)} is too long", hint="return a table, an array or a File")
        self._begun()
        self.take_memory(self._cost(text), "its JSON")

    def loads(self, text: bytes | bytearray) -> Any:
        """Return the value of a JSON text in UTF-8. Raise Problem if it is not JSON, or costs too much."""
        self.take_json(text)
        try:
            return fast_json.loads(text)
        except (ValueError, RecursionError) as error:
            deep = isinstance(error, RecursionError)
            raise Problem("it is nested too deep" if deep else f"it is not JSON ({_short(error)})") from None

    def _cost(self, text: bytes | bytearray) -> int:
        """Return the most memory that the values in a JSON text take, in bytes. Raise Problem if they take too long."""
        if len(text) * _WORST <= min(self._memory, 1 << 26):
            return len(text) * _WORST
        texts = 3 if text.isascii() and b"\\u" not in text else 9  # one wide character widens all others of its text
        for count in (_counted_at_most, _counted):  # the first one is fast, and counts within strings too
            objects, arrays, items = count(text)
            seconds = (objects + arrays) * _OBJECT_TIME + items * _ITEM_TIME
            cost = len(text) * texts + objects * _OBJECT + arrays * _ARRAY + items * _ITEM
            if seconds <= self._seconds and cost <= self._memory:
                return cost
        if seconds > self._seconds:
            raise Problem(
                f"its JSON of {objects + arrays} objects and {items} items takes more than {self._seconds:g} s of the"
                " caller's CPU time",
                hint="return a table, an array or a File",
            )
        return cost


def _counted_at_most(text: bytes | bytearray) -> tuple[int, int, int]:
    return text.count(b"{"), text.count(b"["), text.count(b",") + text.count(b":")


def _counted(text: bytes | bytearray) -> tuple[int, int, int]:
    """Return the numbers of objects, arrays and items in a JSON text, not counting within strings.

    >>> _counted(b'{"a,b": [1, "[[", 3]}')
    (1, 1, 3)
    """
    objects = arrays = items = at = 0
    inside = False
    while at < len(text):
        end = min(at + _WINDOW, len(text))
        if text[end - 1] == 0x5C:  # a window never ends within an escape
            match = _BACKSLASHES.match(text, end)
            end = min((end if match is None else match.end()) + 1, len(text))
        window = bytes(text[at:end]).replace(b"\\\\", b"").replace(b'\\"', b"")
        parts = window.split(b'"')
        outside = b"".join(parts[1::2] if inside else parts[::2])
        objects += outside.count(b"{")
        arrays += outside.count(b"[")
        items += outside.count(b",") + outside.count(b":")
        inside ^= len(parts) % 2 == 0
        at = end
    return objects, arrays, items


def machine_memory() -> int:
    """Return this machine's memory in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:100]
