"""A directory as one file, and back: a tar of files, directories, links and hard links, in which holes are holes.

Written and read here, not by `tarfile`: reading has bounds for all that a header says, touches nothing outside the
directory, and knows no kind of entry that is not written. Other kinds are refused on both sides, by name.
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
_LONGEST = 4000  # bytes of a name: what a path can have here
_DEEPEST = 256  # directories inside each other
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OTHERS = {
    stat.S_IFIFO: "named pipe",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}
_OTHER_TYPES = {b"3": "device", b"4": "device", b"6": "named pipe"}


def pack(directory: str, target: int) -> None:
    """Write what is below `directory` into the empty file behind the descriptor `target`. Problem names what cannot."""
    at = 0
    seen: dict[tuple[int, int], str] = {}
    for name, path, found in entries(directory):
        mode, kind = found.st_mode, stat.S_IFMT(found.st_mode)
        inode = (found.st_dev, found.st_ino)
        if kind == stat.S_IFDIR:
            at = _write(target, at, _header(name, _DIRECTORY, mode))
        elif kind == stat.S_IFLNK:
            at = _write(target, at, _header(name, _LINK, mode, link=os.readlink(path)))
        elif kind == stat.S_IFREG and found.st_nlink > 1 and inode in seen:
            at = _write(target, at, _header(name, _HARD, mode, link=seen[inode]))
        elif kind == stat.S_IFREG:
            at = _pack_file(name, path, target, at)
            seen[inode] = name
        else:
            raise Problem(
                f"the directory holds a {_OTHERS.get(kind, 'special file')}: {shown(name)}",
                hint="only files, directories and links can cross: remove it, or give a Dir without it",
            )
    os.ftruncate(target, at + 2 * _BLOCK)


def entries(directory: str, below: str = "") -> Iterator[tuple[str, str, os.stat_result]]:
    """Name below `directory`, path, and what `lstat` says, in the order of names; a directory before what is in it."""
    try:
        for name in sorted(os.listdir(directory)):
            path, inner = os.path.join(directory, name), below + name
            found = os.lstat(path)
            yield inner, path, found
            if stat.S_ISDIR(found.st_mode):
                yield from entries(path, inner + "/")
    except OSError as error:
        raise Problem(f"{directory} cannot be read: {error.strerror}") from None


def _pack_file(name: str, path: str, target: int, at: int) -> int:
    try:
        source = os.open(path, _READ)
    except OSError as error:
        raise Problem(f"{path} cannot be read: {error.strerror}") from None
    try:
        found = os.fstat(source)
        if not stat.S_ISREG(found.st_mode):
            raise Problem(f"{path} has changed while it was read")
        at = _write(target, at, _header(name, _FILE, found.st_mode, size=found.st_size))
        if copy_range(source, target, found.st_size, to=at) != found.st_size:
            raise Problem(f"{path} has changed while it was read")
        return at + -(-found.st_size // _BLOCK) * _BLOCK
    finally:
        os.close(source)


def _write(target: int, at: int, data: bytes) -> int:
    written = 0
    while written < len(data):
        written += os.pwrite(target, data[written:], at + written)
    return at + len(data)


def _header(name: str, kind: bytes, mode: int, *, size: int = 0, link: str = "") -> bytes:
    """The blocks before an entry's content: what does not fit into one goes into a record before it."""
    said = {b"path": os.fsencode(name), b"linkpath": os.fsencode(link)}
    records = b"".join(_record(key, value) for key, value in said.items() if len(value) > 100)
    if size >= 8**11:
        records += _record(b"size", b"%d" % size)
    before = b""
    if records:
        before = _block(b"pax", _PAX, 0o644, len(records)) + records + bytes(-len(records) % _BLOCK)
    plain = {key: value[:100] for key, value in said.items()}
    return before + _block(plain[b"path"], kind, mode, size if size < 8**11 else 0, plain[b"linkpath"])


def _record(key: bytes, value: bytes) -> bytes:
    """`LENGTH key=value`, whose length counts itself."""
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest) + len(str(len(rest)))
    return b"%d" % (len(rest) + len(str(length))) + rest


def _block(name: bytes, kind: bytes, mode: int, size: int, link: bytes = b"") -> bytes:
    numbers = b"%07o\0%07o\0%07o\0%011o\0%011o\0" % (mode & 0o777, 0, 0, size, 0)
    head = name.ljust(100, b"\0") + numbers
    tail = kind + link.ljust(100, b"\0") + b"ustar\x0000" + bytes(247)
    total = sum(head) + sum(tail) + 8 * 32
    return head + b"%06o\0 " % total + tail


class _Entry:
    """What a header says."""

    def __init__(self, name: bytes, kind: bytes, mode: int, size: int, link: bytes, content: int) -> None:
        self.name = os.fsdecode(name)
        self.kind = kind
        self.mode = mode
        self.size = size
        self.link = os.fsdecode(link)
        self.content = content
        self.steps = tuple(step for step in self.name.split("/") if step not in ("", "."))


def unpack(source: int, target: str, files: Files) -> None:
    """Make below the new directory `target` what the archive behind the descriptor `source` says. Problem names what is
    refused; what is there by then is the caller's to remove."""
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
    """The entries of an archive of `size` bytes."""
    at = 0
    said: dict[bytes, bytes] = {}
    while True:
        block = os.pread(source, _BLOCK, at)
        if len(block) < _BLOCK:
            raise Problem("the directory has not come as a whole")
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
            said = _records(os.pread(source, length, at))
        else:
            name = said.get(b"path", _joined(block[345:500], block[:100]))
            link = said.get(b"linkpath", block[157:257].rstrip(b"\0"))
            length = int(said[b"size"]) if said.get(b"size", b"").isdigit() and len(said[b"size"]) < 20 else length
            if kind != _FILE and length:
                raise Problem("the directory's archive cannot be read")
            if at + length > size:
                raise Problem(f"the directory holds a file that has not come as a whole: {shown(os.fsdecode(name))}")
            said = {}
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
    found = {}
    at = 0
    while at < len(data):
        digits, blank, _ = data[at : at + 8].partition(b" ")
        length = int(digits) if digits.isdigit() and blank else 0
        key, equals, value = data[at + len(digits) + 1 : at + length - 1].partition(b"=")
        if not equals or at + length > len(data):
            raise Problem("the directory's archive cannot be read")
        found[key] = value
        at += length
    return found


class _Root:
    """The directory that is made, by descriptors alone: no name is looked up through a link."""

    def __init__(self, target: str) -> None:
        self._fd = os.open(target, _FOLDER)
        self._near: tuple[str, ...] = ()
        self._near_fd = os.dup(self._fd)
        self._links: list[_Entry] = []

    def close(self) -> None:
        os.close(self._near_fd)
        os.close(self._fd)

    def make(self, entry: _Entry, source: int) -> None:
        """Make one entry; links wait for all others."""
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
        """The directory of that name; the last one is kept open, since the next entry is in it as a rule."""
        if steps != self._near:
            fd = self._open(steps)
            os.close(self._near_fd)
            self._near, self._near_fd = steps, fd
        return self._near_fd

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
                raise Problem(f"the directory holds a hard link to what is not a file: {shown(entry.name)}")
            os.link(steps[-1], entry.steps[-1], src_dir_fd=folder, dst_dir_fd=parent, follow_symlinks=False)
        finally:
            os.close(folder)

    def link_all(self) -> None:
        """Make the links, and then see where each leads: what one means depends on the others."""
        for entry in self._links:
            try:
                os.symlink(entry.link, entry.steps[-1], dir_fd=self._folder(entry.steps[:-1]))
            except OSError as error:
                raise _refused(entry, error) from None
        for entry in self._links:
            found = where(self._fd, "/".join(entry.steps))
            stays = found == NOWHERE and stays_by_name(len(entry.steps) - 1, entry.link)
            if found != INSIDE and not stays:
                raise _leads_out(entry)


def _check(entry: _Entry) -> None:
    """Is the name one that stays below the directory, and the kind one that is made?"""
    if not entry.steps or ".." in entry.steps or entry.name.startswith("/"):
        raise _leads_out(entry)
    if entry.kind not in (_FILE, _HARD, _LINK, _DIRECTORY):
        kind = _OTHER_TYPES.get(entry.kind, "special file")
        raise Problem(f"the directory holds a {kind}: {shown(entry.name)}", hint="only files and links can cross")
    if len(entry.steps) > _DEEPEST or max(map(len, (entry.name, entry.link))) > _LONGEST:
        raise Problem(f"the directory holds an entry whose name is too long: {shown(entry.name)}")
    if "\0" in entry.name or "\0" in entry.link or (entry.kind == _LINK and not entry.link):
        raise Problem(f"the directory holds an entry whose name cannot be: {shown(entry.name)}")


def _make_file(entry: _Entry, parent: int, source: int) -> None:
    fd = os.open(entry.steps[-1], _WRITE, 0o700 if entry.mode & 0o100 else 0o600, dir_fd=parent)
    try:
        copy_range(source, fd, entry.size, at=entry.content)
        os.ftruncate(fd, entry.size)
    finally:
        os.close(fd)


def _leads_out(entry: _Entry) -> Problem:
    what = "a link" if entry.kind in (_LINK, _HARD) else "an entry"
    return Problem(f"the directory holds {what} that leads out of it: {shown(entry.name)}")


def _refused(entry: _Entry, error: OSError) -> Exception:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return error
    if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENOENT):  # what it is in is not a directory of this archive
        return _leads_out(entry)
    return Problem(f"the directory holds an entry that cannot be made: {shown(entry.name)}: {error.strerror}")


def size_of(directory: str) -> int:
    """What the files below a directory take together, as far as that can be seen."""
    return sum(allocated(found) + _BLOCK for _, _, found in entries(directory))
