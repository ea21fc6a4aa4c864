"""Files: the directory beside the JSON for values that are too large for JSON. One side writes, the other side reads.

The reader trusts none of its entries: a name is digits and a suffix, the entry must be a regular file, not a link, and
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
_LARGE = 1 << 20  # bytes from which a file goes to memory
_SLOW = 64 << 20  # bytes from which a file is written while the container starts
_NOFOLLOW = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class Files:
    """The attachments of one set of values, in the directory `path`.

    memory    a second directory, in memory, for large files if `room()` bytes suffice; their names begin with `m`
    arrivals  the directory, or a function that returns it, below which the content of a `File` or `Dir` is put
    in_place  the content of a `File` stays in `path`, for a reader that owns `path` for the rest of its life
    waits     the reader waits for files that the other side is still writing
    budget    bounds what the reader spends on the other side's files; None: the other side is trusted
    later     if it is a list, large files are not written at once: a function that writes the file is added to it
    opened    the names of the other side's files that have been read
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
        """Close the descriptors of the directories."""
        while self._open:
            os.close(self._open.popitem()[1])

    def timed(self, items: Iterable[Any]) -> Iterator[tuple[int, Any]]:
        """Enumerate the items. Raise Problem when the time for making values of them is over."""
        return enumerate(items) if self.budget is None else self.budget.timed(items)

    def in_memory(self, size: int, what: str) -> None:
        """Spend `size` bytes of memory on `what`. Raise Problem if the budget has fewer."""
        if self.budget is not None:
            self.budget.take_memory(size, what)

    def json_text(self, text: str) -> None:
        """Spend the memory for the values in a JSON text. Raise Problem if the budget has less."""
        if self.budget is not None:
            self.budget.take_json(text.encode("utf-8", "surrogatepass"))

    def on_disk(self, size: int, what: str) -> None:
        """Spend `size` bytes of files on `what`. Raise Problem if the budget has fewer."""
        if self.budget is not None:
            self.budget.take_disk(size, what)

    def entry(self) -> None:
        """Spend one file, directory or link. Raise Problem if the budget has none."""
        if self.budget is not None:
            self.budget.take_entry()

    def _directory(self, path: str) -> int:
        if path not in self._open:
            self._open[path] = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
        return self._open[path]

    def put(self, suffix: str, size: int, write: Callable[[BinaryIO], object]) -> str:
        """Make a file that `write` fills, now or later; return its name for the other side."""
        deferred = self.later is not None and size >= _SLOW
        name, file = self.new(suffix, size, prefix="." if deferred else "")
        job = _WriteJob(file, write, self.path_of(name) if deferred else "")
        if deferred and self.later is not None:
            self.later.append(job)
        else:
            job()
        return name

    def new(self, suffix: str, size: int = 0, *, prefix: str = "") -> tuple[str, BinaryIO]:
        """Make a file for about `size` bytes; return its name for the other side, without `prefix`, and the file."""
        self._next += 1
        name, path = f"{self._next}.{suffix}", self.path
        if self.memory is not None and self._room is not None and size > _LARGE and self._room() > size:
            name, path = "m" + name, self.memory
        if path not in self._open and not os.path.isdir(path):
            os.mkdir(path)
            os.chmod(path, 0o755)
        if size > _LARGE:  # fail at once: half of the content could take all of the host's memory
            expect_room(os.path.join(path, name), size)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(prefix + name, flags, 0o644, dir_fd=self._directory(path))
        os.fchmod(fd, 0o644)  # whatever the umask, since the container has another user
        return name, os.fdopen(fd, "w+b")

    def arrival(self) -> str:
        """Return a new directory for the content of a `File` or `Dir`."""
        parent = self.arrivals() if callable(self.arrivals) else self.arrivals
        if parent is not None:
            os.makedirs(parent, exist_ok=True)
        import tempfile

        return tempfile.mkdtemp(prefix="" if parent else "flyte-images-file-", dir=parent)

    def open(self, name: Any) -> BinaryIO:
        """Open the other side's file `name`. Raise Problem if it is not a regular file with such a name."""
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

    def path_of(self, name: str) -> str:
        """Return the path of a file, for a reader that owns the directories."""
        return os.path.join(self.path if name[0] != "m" or self.memory is None else self.memory, name)


def expect_room(path: str, size: int) -> None:
    """Raise the OSError of a full disk if the file system has no room for `size` bytes at `path`."""
    status = os.statvfs(os.path.dirname(path))
    if status.f_bavail * status.f_frsize < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)


class _WriteJob:
    """Fills a file. A deferred file is hidden until then, and gets the path `final` at the end."""

    def __init__(self, file: BinaryIO, write: Callable[[BinaryIO], object], final: str) -> None:
        self._file = file
        self._write = write
        self._final = final

    def __call__(self) -> None:
        with self._file:
            self._write(self._file)
        if self._final:
            directory, name = os.path.split(self._final)
            os.rename(os.path.join(directory, "." + name), self._final)


def _wait_for(name: str, directory: int) -> None:
    """Wait while a file is being written. The writer ends this process if it cannot write the file."""
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
    """Return whether `name` is one that `new` gives: a number, perhaps an `m` before it, and a suffix.

    >>> is_name("1.npy"), is_name("m12.bin"), is_name("../1.npy"), is_name("1."), is_name(chr(0x664) + ".npy")
    (True, True, False, False, False)
    """
    number, _, suffix = name[name[:1] == "m" :].partition(".")
    fits = 1 <= len(number) <= 9 and 1 <= len(suffix) <= 12
    return fits and _DIGITS.issuperset(number) and _LETTERS.issuperset(suffix)


def open_regular(name: str, directory: int) -> BinaryIO:
    """Open the regular file `name` in the directory behind a descriptor. Raise Problem for any other entry."""
    try:
        fd = os.open(name, _NOFOLLOW, dir_fd=directory)
    except OSError as error:
        raise Problem(f"attachment {name} cannot be read: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise Problem(f"attachment {name} is not a regular file")
    return os.fdopen(fd, "rb")
