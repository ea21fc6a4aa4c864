"""Files: a directory that holds what is too large for JSON, beside it. One side writes, the other reads.

The reading side trusts nothing in it: a name is digits and a suffix, the entry must be a regular file and no link, and
it is opened through the directory's descriptor.
"""

from __future__ import annotations

import errno
import os
import stat

from .errors import Problem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO, Callable, Iterable, Iterator

    from .budget import Budget

_DIGITS = frozenset("0123456789")
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_LARGE = 1 << 20  # bytes from which memory is worth it
_SLOW = 64 << 20  # bytes from which it is worth it to write beside the container's start
_NOFOLLOW = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class Files:
    """The attachments of one set of values. `path` is the directory as this process sees it.

    `memory` is a second one, in memory, for what is large and fits there: `room` says how many bytes do. Its files'
    names begin with `m`. Files that arrive as such (`File`, `Dir`) are given a place below what `arrivals` says; with
    `in_place` they stay where they are, for a reader that owns `path` for as long as it lives.

    What takes long to write is left to `later`, if that is a list; a reader that `waits` then waits for it.

    `opened` are the names of the other side's files that have been read. `budget` bounds what the reader spends on
    what the other side wrote; None: the other side is trusted.
    """

    def __init__(
        self,
        path: str,
        memory: str | None = None,
        *,
        room: Callable[[], int] | None = None,
        arrivals: str | Callable[[], str] | None = None,
        in_place: bool = False,
        waits: bool = False,
        budget: Budget | None = None,
    ) -> None:
        self.path = path
        self.memory = memory
        self.arrivals: str | Callable[[], str] | None = arrivals
        self.in_place = in_place
        self.budget = budget
        self.opened: set[str] = set()
        self.later: list[Callable[[], object]] | None = None
        self._waits = waits
        self._room = room
        self._next = 0
        self._open: dict[str, int] = {}

    def __enter__(self) -> Files:
        return self

    def __exit__(self, *ignored: object) -> None:
        self.close()

    def close(self) -> None:
        while self._open:
            os.close(self._open.popitem()[1])

    def timed(self, items: Iterable[Any]) -> Iterator[tuple[int, Any]]:
        """Number the items, as `enumerate` does, while there is time left to make values of them."""
        return enumerate(items) if self.budget is None else self.budget.timed(items)

    def in_memory(self, size: int, what: str) -> None:
        """Spend `size` bytes of memory on `what`; Problem if the result has no more."""
        if self.budget is not None:
            self.budget.take_memory(size, what)

    def json_text(self, text: str) -> None:
        """Spend what the values in a JSON text take; Problem if the result has no more."""
        if self.budget is not None:
            self.budget.take_json(text.encode("utf-8", "surrogatepass"))

    def on_disk(self, size: int, what: str) -> None:
        """Spend `size` bytes of files on `what`; Problem if the result has no more."""
        if self.budget is not None:
            self.budget.take_disk(size, what)

    def entry(self) -> None:
        """Spend one file, directory or link."""
        if self.budget is not None:
            self.budget.take_entry()

    def _directory(self, path: str) -> int:
        if path not in self._open:
            self._open[path] = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
        return self._open[path]

    def put(self, suffix: str, size: int, write: Callable[[BinaryIO], object]) -> str:
        """A new file that `write` fills, now or later; the name under which the other side finds it."""
        late = self.later is not None and size >= _SLOW
        name, file = self.new(suffix, size, prefix="." if late else "")
        job = _Job(file, write, self.place(name) if late else "")
        if late and self.later is not None:
            self.later.append(job)
        else:
            job()
        return name

    def new(self, suffix: str, size: int = 0, *, prefix: str = "") -> tuple[str, BinaryIO]:
        """A new file for about `size` bytes, and the name under which the other side finds it, after its `prefix`."""
        self._next += 1
        name, path = f"{self._next}.{suffix}", self.path
        if self.memory is not None and self._room is not None and size > _LARGE and self._room() > size:
            name, path = "m" + name, self.memory
        if path not in self._open and not os.path.isdir(path):
            os.mkdir(path)
            os.chmod(path, 0o755)
        if size > _LARGE:  # said at once: half of it may be all of the host's memory
            expect_room(os.path.join(path, name), size)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(prefix + name, flags, 0o644, dir_fd=self._directory(path))
        os.fchmod(fd, 0o644)  # whatever the umask: the container's user is another one
        return name, os.fdopen(fd, "w+b")

    def arrival(self) -> str:
        """A new directory for something that arrives."""
        place = self.arrivals() if callable(self.arrivals) else self.arrivals
        if place is not None:
            os.makedirs(place, exist_ok=True)
        import tempfile

        return tempfile.mkdtemp(prefix="" if place else "flyte-images-file-", dir=place)

    def open(self, name: Any) -> BinaryIO:
        """The other side's file `name`."""
        if not isinstance(name, str) or not is_name(name):
            raise Problem(f"{name!r} is not the name of an attachment")
        try:
            directory = self._directory(self.path if name[0] != "m" or self.memory is None else self.memory)
        except OSError as error:
            raise Problem(f"attachments cannot be read: {error.strerror}") from None
        if self._waits:
            _wait_for(name, directory)
        file = open_regular(name, directory)
        self.opened.add(name)
        return file

    def place(self, name: str) -> str:
        """Where the file is, for a reader to whom the directories belong."""
        return os.path.join(self.path if name[0] != "m" or self.memory is None else self.memory, name)


def expect_room(path: str, size: int) -> None:
    """Raise the OSError that writing `size` bytes to `path` would end with."""
    there = os.statvfs(os.path.dirname(path))
    if there.f_bavail * there.f_frsize < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)


class _Job:
    """A file that is to be filled; then it gets the name `place`, if it has had another one until then."""

    def __init__(self, file: BinaryIO, write: Callable[[BinaryIO], object], place: str) -> None:
        self._file = file
        self._write = write
        self._place = place

    def __call__(self) -> None:
        with self._file:
            self._write(self._file)
        if self._place:
            directory, name = os.path.split(self._place)
            os.rename(os.path.join(directory, "." + name), self._place)


def _wait_for(name: str, directory: int) -> None:
    """Until it is there, if it is being written: who writes it ends this process if it cannot be."""
    import time

    while not _exists(name, directory) and _exists("." + name, directory):
        time.sleep(0.001)


def _exists(name: str, directory: int) -> bool:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except OSError:
        return False
    return True


def is_name(name: str) -> bool:
    """Is it a name that `new` gives: a number, perhaps an `m` before it, and a suffix?

    >>> is_name("1.npy"), is_name("m12.bin"), is_name("../1.npy"), is_name("1."), is_name(chr(0x664) + ".npy")
    (True, True, False, False, False)
    """
    number, _, suffix = name[name[:1] == "m" :].partition(".")
    fits = 1 <= len(number) <= 9 and 1 <= len(suffix) <= 12
    return fits and _DIGITS.issuperset(number) and _LETTERS.issuperset(suffix)


def open_regular(name: str, directory: int) -> BinaryIO:
    """Open `name` in the directory behind a descriptor for reading, if it is a regular file."""
    try:
        fd = os.open(name, _NOFOLLOW, dir_fd=directory)
    except OSError as error:
        raise Problem(f"attachment {name} cannot be read: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise Problem(f"attachment {name} is not a regular file")
    return os.fdopen(fd, "rb")
