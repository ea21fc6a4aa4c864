"""fsutil packets -> a directory. The engine is not trusted: every path is checked before a file is written."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from ..pb.session_pb2 import Packet, Stat

_GO_DIR, _GO_SYMLINK, _GO_DEVICE, _GO_FIFO = 1 << 31, 1 << 27, 1 << 26, 1 << 25
_GO_SETUID, _GO_SETGID, _GO_STICKY = 1 << 23, 1 << 22, 1 << 20
_GO_SOCKET = 1 << 24


def receive_directory(messages: Iterator[bytes], root: Path) -> Iterator[bytes]:
    """Write the files of the packets below `root` and yield the packets of the answer.

    Files belong to this user and have the modes and times of the image; devices and sockets are left out. Raises
    OSError for a path outside of `root`.
    """
    with contextlib.closing(_Tree(root)) as tree:
        yield from _receive(messages, tree)


def _receive(messages: Iterator[bytes], tree: _Tree) -> Iterator[bytes]:
    index, counted = 0, False
    for message in messages:
        packet = Packet.FromString(message)
        match packet.type:
            case Packet.STAT if packet.HasField("stat"):
                if tree.add(index, packet.stat):
                    yield Packet(type=Packet.REQ, id=index).SerializeToString()
                index += 1
            case Packet.STAT:
                counted = True
            case Packet.DATA:
                tree.write(packet.id, packet.data)
            case Packet.FIN:
                break
            case Packet.ERR:
                raise OSError(None, packet.data.decode("utf-8", "replace"), str(tree.root))
        if counted and not tree.expected:
            counted = False
            tree.finish()
            yield Packet(type=Packet.FIN).SerializeToString()


class _Tree:
    """A directory that is being written: the files whose bytes have not arrived, and the times to set at the end."""

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.root = root
        self.expected: dict[int, tuple[Path, Stat]] = {}
        self._open: dict[int, BinaryIO] = {}
        self._directories: dict[Path, Stat | None] = {root: None}
        self._seen = {root}

    def add(self, index: int, entry: Stat) -> bool:
        """Make the entry; return True if the entry is a file whose bytes are to be requested."""
        path = self._path(entry.path)
        if path in self._seen:  # a link that replaces a checked path could lead out of the result
            raise OSError(None, "the engine sent a path twice", entry.path)
        self._seen.add(path)
        if entry.mode & _GO_DIR:
            if path.is_symlink() or not path.is_dir():
                path.unlink(missing_ok=True)
                path.mkdir()
            path.chmod(0o700)
            self._directories[path] = entry
            return False
        if entry.mode & (_GO_DEVICE | _GO_FIFO | _GO_SOCKET):
            return False
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        if entry.mode & _GO_SYMLINK:
            path.symlink_to(entry.linkname)
            with contextlib.suppress(NotImplementedError):
                os.utime(path, ns=(entry.mod_time, entry.mod_time), follow_symlinks=False)
            return False
        if entry.linkname:
            path.hardlink_to(self._path(entry.linkname))
            return False
        path.touch(0o600)
        self.expected[index] = path, entry
        return True

    def write(self, index: int, data: bytes) -> None:
        """Append to a file; empty `data` marks the end of the file."""
        if index not in self.expected:
            raise OSError(None, "the engine sent bytes that were not requested", str(self.root))
        path, entry = self.expected[index]
        if data:
            if index not in self._open:
                self._open[index] = path.open("wb")
            self._open[index].write(data)
            return
        if index in self._open:
            self._open.pop(index).close()
        del self.expected[index]
        path.chmod(_mode(entry.mode))
        os.utime(path, ns=(entry.mod_time, entry.mod_time))

    def finish(self) -> None:
        """Set the modes and times of directories, children first: earlier, later writes would have changed them."""
        for path, entry in reversed(self._directories.items()):
            if entry is not None:
                path.chmod(_mode(entry.mode))
                os.utime(path, ns=(entry.mod_time, entry.mod_time))

    def close(self) -> None:
        """Close the files that a broken transfer has left open."""
        for file in self._open.values():
            file.close()

    def _path(self, name: str) -> Path:
        """Return the path of an entry: below the root, in a directory that was sent before the entry, never a link."""
        pure = PurePosixPath(name)
        path = self.root / pure
        if pure.is_absolute() or ".." in pure.parts or path.parent not in self._directories:
            raise OSError(None, "the engine sent a path outside of the result", name)
        return path


def _mode(mode: int) -> int:
    """Return the kernel's mode bits for Go's os.FileMode.

    >>> oct(_mode(1 << 23 | 0o755))
    '0o4755'
    """
    bits = mode & 0o777
    for go, bit in ((_GO_SETUID, stat.S_ISUID), (_GO_SETGID, stat.S_ISGID), (_GO_STICKY, stat.S_ISVTX)):
        bits |= bit if mode & go else 0
    return bits
