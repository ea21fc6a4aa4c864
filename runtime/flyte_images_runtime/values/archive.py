"""A directory as one file, and back: a tar archive of files, directories, links and hard links. Holes stay holes.

This module is used in place of `tarfile`: it bounds every number in a header, touches nothing outside the directory,
and reads only the kinds of entries that it writes. Both sides refuse other kinds by name.
"""

from __future__ import annotations

import errno
import os
import stat

from .beneath import INSIDE, NOWHERE, stays_by_name, where
from .errors import Problem, shown
from .files import Files
from .sparse import allocated, copy_range

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator

_BLOCK = 512
_FILE, _HARD, _LINK, _DIRECTORY, _PAX = b"0", b"1", b"2", b"5", b"x"
_LONGEST = 4000  # bytes of a name; the kernel's limit for a path is 4096
_DEEPEST = 256  # nested directories
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OTHER_MODES = {
    stat.S_IFIFO: "named pipe",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}
_OTHER_TYPES = {b"3": "device", b"4": "device", b"6": "named pipe"}


def pack(directory: str, target: int) -> None:
    """Write the entries below `directory` into the empty file behind the descriptor `target`.

    Raise Problem with the name of an entry that cannot cross.
    """
    at = 0
    seen: dict[tuple[int, int], str] = {}
    for name, path, status in entries(directory):
        mode, kind = status.st_mode, stat.S_IFMT(status.st_mode)
        inode = (status.st_dev, status.st_ino)
        if kind == stat.S_IFDIR:
            at = _write(target, at, _header(name, _DIRECTORY, mode))
        elif kind == stat.S_IFLNK:
            at = _write(target, at, _header(name, _LINK, mode, link=os.readlink(path)))
        elif kind == stat.S_IFREG and status.st_nlink > 1 and inode in seen:
            at = _write(target, at, _header(name, _HARD, mode, link=seen[inode]))
        elif kind == stat.S_IFREG:
            at = _pack_file(name, path, target, at)
            seen[inode] = name
        else:
            raise Problem(
                f"the directory holds a {_OTHER_MODES.get(kind, 'special file')}: {shown(name)}",
                hint="only files, directories and links can cross: remove the entry, or use a Dir without it",
            )
    os.ftruncate(target, at + 2 * _BLOCK)


def entries(directory: str, below: str = "") -> Iterator[tuple[str, str, os.stat_result]]:
    """Yield name below `directory`, path and status of each entry, sorted; a directory before its entries."""
    try:
        for name in sorted(os.listdir(directory)):
            path, inner = os.path.join(directory, name), below + name
            status = os.lstat(path)
            yield inner, path, status
            if stat.S_ISDIR(status.st_mode):
                yield from entries(path, inner + "/")
    except OSError as error:
        raise Problem(f"{directory} cannot be read: {error.strerror}") from None


def _pack_file(name: str, path: str, target: int, at: int) -> int:
    try:
        source = os.open(path, _READ)
    except OSError as error:
        raise Problem(f"{path} cannot be read: {error.strerror}") from None
    try:
        status = os.fstat(source)
        if not stat.S_ISREG(status.st_mode):
            raise Problem(f"{path} has changed while it was read")
        at = _write(target, at, _header(name, _FILE, status.st_mode, size=status.st_size))
        if copy_range(source, target, status.st_size, to=at) != status.st_size:
            raise Problem(f"{path} has changed while it was read")
        return at + -(-status.st_size // _BLOCK) * _BLOCK
    finally:
        os.close(source)


def _write(target: int, at: int, data: bytes) -> int:
    written = 0
    while written < len(data):
        written += os.pwrite(target, data[written:], at + written)
    return at + len(data)


def _header(name: str, kind: bytes, mode: int, *, size: int = 0, link: str = "") -> bytes:
    """Return the blocks before an entry's content: a header, after a record of the values that are too long for it."""
    names = {b"path": os.fsencode(name), b"linkpath": os.fsencode(link)}
    records = b"".join(_record(key, value) for key, value in names.items() if len(value) > 100)
    if size >= 8**11:
        records += _record(b"size", b"%d" % size)
    before = b""
    if records:
        before = _block(b"pax", _PAX, 0o644, len(records)) + records + bytes(-len(records) % _BLOCK)
    plain = {key: value[:100] for key, value in names.items()}
    return before + _block(plain[b"path"], kind, mode, size if size < 8**11 else 0, plain[b"linkpath"])


def _record(key: bytes, value: bytes) -> bytes:
    """Return the record `LENGTH key=value`, where the length includes its own digits."""
    text = b" " + key + b"=" + value + b"\n"
    length = len(text) + len(str(len(text)))
    return b"%d" % (len(text) + len(str(length))) + text


def _block(name: bytes, kind: bytes, mode: int, size: int, link: bytes = b"") -> bytes:
    numbers = b"%07o\0%07o\0%07o\0%011o\0%011o\0" % (mode & 0o777, 0, 0, size, 0)
    head = name.ljust(100, b"\0") + numbers
    tail = kind + link.ljust(100, b"\0") + b"ustar\x0000" + bytes(247)
    total = sum(head) + sum(tail) + 8 * 32
    return head + b"%06o\0 " % total + tail


class _Entry:
    """An entry of an archive, by its header. `content` is the offset of its content."""

    def __init__(self, name: bytes, kind: bytes, mode: int, size: int, link: bytes, content: int) -> None:
        self.name = os.fsdecode(name)
        self.kind = kind
        self.mode = mode
        self.size = size
        self.link = os.fsdecode(link)
        self.content = content
        self.steps = tuple(step for step in self.name.split("/") if step not in ("", "."))


def unpack(source: int, target: str, files: Files) -> None:
    """Make the entries of the archive behind the descriptor `source` below the new directory `target`.

    Raise Problem with the name of an entry that is refused; the caller then removes the directory.
    """
    size = os.fstat(source).st_size
    root = _Root(target)
    try:
        for entry in _read(source, size):
            files.entry()
            if entry.kind == _FILE:
                files.on_disk(entry.size, f"the file {shown(entry.name)}")
            root.make(entry, source)
        root.link_all()
    finally:
        root.close()


def _read(source: int, size: int) -> Iterator[_Entry]:
    """Yield the entries of an archive of `size` bytes."""
    at = 0
    extended: dict[bytes, bytes] = {}
    while True:
        block = os.pread(source, _BLOCK, at)
        if len(block) < _BLOCK:
            raise Problem("the directory's archive is incomplete")
        if not any(block):
            return
        kind = block[156:157].replace(b"\0", _FILE)
        if block[257:263] != b"ustar\0" or _octal(block[148:156]) != sum(block) - sum(block[148:156]) + 8 * 32:
            raise Problem("the directory's archive cannot be read")
        length = _octal(block[124:136])
        at += _BLOCK
        if kind == _PAX:
            if length > 3 * _LONGEST:
                raise Problem("the directory holds an entry whose name is too long")
            extended = _records(os.pread(source, length, at))
        else:
            name = extended.get(b"path", _joined(block[345:500], block[:100]))
            link = extended.get(b"linkpath", block[157:257].rstrip(b"\0"))
            large = extended.get(b"size", b"")
            length = int(large) if large.isdigit() and len(large) < 20 else length
            if kind != _FILE and length:
                raise Problem("the directory's archive cannot be read")
            if at + length > size:
                raise Problem(f"the directory holds an incomplete file: {shown(os.fsdecode(name))}")
            extended = {}
            yield _Entry(name, kind, _octal(block[100:108]), length, link, at)
        at += -(-length // _BLOCK) * _BLOCK


def _joined(prefix: bytes, name: bytes) -> bytes:
    prefix, name = prefix.partition(b"\0")[0], name.partition(b"\0")[0]
    return prefix + b"/" + name if prefix else name


def _octal(field: bytes) -> int:
    digits = field.strip(b"\0 ")
    if not all(0x30 <= digit <= 0x37 for digit in digits):
        raise Problem("the directory's archive cannot be read")
    return int(digits or b"0", 8)


def _records(data: bytes) -> dict[bytes, bytes]:
    """Return the records of an extended header."""
    records = {}
    at = 0
    while at < len(data):
        digits, blank, _ = data[at : at + 8].partition(b" ")
        length = int(digits) if digits.isdigit() and blank else 0
        key, equals, value = data[at + len(digits) + 1 : at + length - 1].partition(b"=")
        if not equals or at + length > len(data):
            raise Problem("the directory's archive cannot be read")
        records[key] = value
        at += length
    return records


class _Root:
    """The new directory. Entries are made through descriptors, so no name is looked up through a link."""

    def __init__(self, target: str) -> None:
        self._fd = os.open(target, _FOLDER)
        self._last: tuple[str, ...] = ()
        self._last_fd = os.dup(self._fd)
        self._links: list[_Entry] = []

    def close(self) -> None:
        os.close(self._last_fd)
        os.close(self._fd)

    def make(self, entry: _Entry, source: int) -> None:
        """Make one entry. Links are made by `link_all`, after all other entries."""
        if not entry.steps and entry.kind == _DIRECTORY:
            return
        _check(entry)
        if entry.kind == _LINK:
            self._links.append(entry)
            return
        try:
            parent = self._folder(entry.steps[:-1])
            if entry.kind == _DIRECTORY:
                os.mkdir(entry.steps[-1], dir_fd=parent)
            elif entry.kind == _HARD:
                self._make_hard(entry, parent)
            else:
                _make_file(entry, parent, source)
        except OSError as error:
            raise _refused(entry, error) from None

    def _folder(self, steps: tuple[str, ...]) -> int:
        """Return the directory of that name. The last one stays open, since the next entry is usually in it too."""
        if steps != self._last:
            fd = self._open(steps)
            os.close(self._last_fd)
            self._last, self._last_fd = steps, fd
        return self._last_fd

    def _open(self, steps: tuple[str, ...]) -> int:
        fd = os.dup(self._fd)
        for step in steps:
            try:
                inner = os.open(step, _FOLDER, dir_fd=fd)
            finally:
                os.close(fd)
            fd = inner
        return fd

    def _make_hard(self, entry: _Entry, parent: int) -> None:
        steps = tuple(step for step in entry.link.split("/") if step not in ("", "."))
        if not steps or ".." in steps or entry.link.startswith("/"):
            raise _leads_out(entry)
        folder = self._open(steps[:-1])
        try:
            if not stat.S_ISREG(os.stat(steps[-1], dir_fd=folder, follow_symlinks=False).st_mode):
                raise Problem(f"the directory holds a hard link to an entry that is not a file: {shown(entry.name)}")
            os.link(steps[-1], entry.steps[-1], src_dir_fd=folder, dst_dir_fd=parent, follow_symlinks=False)
        finally:
            os.close(folder)

    def link_all(self) -> None:
        """Make all links, and then check where each leads, since that depends on the other links."""
        for entry in self._links:
            try:
                os.symlink(entry.link, entry.steps[-1], dir_fd=self._folder(entry.steps[:-1]))
            except OSError as error:
                raise _refused(entry, error) from None
        for entry in self._links:
            target = where(self._fd, "/".join(entry.steps))
            stays = target == NOWHERE and stays_by_name(len(entry.steps) - 1, entry.link)
            if target != INSIDE and not stays:
                raise _leads_out(entry)


def _check(entry: _Entry) -> None:
    """Raise Problem if the entry's name leads out of the directory, or if its kind cannot cross."""
    if not entry.steps or ".." in entry.steps or entry.name.startswith("/"):
        raise _leads_out(entry)
    if entry.kind not in (_FILE, _HARD, _LINK, _DIRECTORY):
        kind = _OTHER_TYPES.get(entry.kind, "special file")
        raise Problem(f"the directory holds a {kind}: {shown(entry.name)}", hint="only files and links can cross")
    if len(entry.steps) > _DEEPEST or max(map(len, (entry.name, entry.link))) > _LONGEST:
        raise Problem(f"the directory holds an entry whose name is too long: {shown(entry.name)}")
    if "\0" in entry.name or "\0" in entry.link or (entry.kind == _LINK and not entry.link):
        raise Problem(f"the directory holds an entry with an impossible name: {shown(entry.name)}")


def _make_file(entry: _Entry, parent: int, source: int) -> None:
    fd = os.open(entry.steps[-1], _WRITE, 0o700 if entry.mode & 0o100 else 0o600, dir_fd=parent)
    try:
        copy_range(source, fd, entry.size, at=entry.content)
        os.ftruncate(fd, entry.size)
    finally:
        os.close(fd)


def _leads_out(entry: _Entry) -> Problem:
    kind = "a link" if entry.kind in (_LINK, _HARD) else "an entry"
    return Problem(f"the directory holds {kind} that leads out of it: {shown(entry.name)}")


def _refused(entry: _Entry, error: OSError) -> Exception:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return error
    if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENOENT):  # its parent is not a directory of this archive
        return _leads_out(entry)
    return Problem(f"the directory holds an entry that cannot be made: {shown(entry.name)}: {error.strerror}")


def size_of(directory: str) -> int:
    """Return about how many bytes the archive of a directory takes on disk."""
    return sum(allocated(status) + _BLOCK for _, _, status in entries(directory))
