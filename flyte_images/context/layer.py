"""Trees -> one tar layer, the same bytes for the same trees on any machine and any day.

Everything belongs to root and is of `EPOCH`; folders and what may be executed have mode 0755, other files 0644.
Entries stand in the order of their names' bytes. Nothing is held in memory but names.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from flyte_images_layers.record import record

from ..errors import SpecError
from .file_index import Index
from .tree import Entry, Tree, read

EPOCH = 315_532_800  # 1980-01-01: zip files, among others, know no earlier time

_BLOCK = 512
_NAME = 100  # bytes of a name that fit in a header
_KINDS = {"d": b"5", "f": b"0", "l": b"2"}

# In every Debian these are links. A folder of that name in a layer would take the link's place, and the base's programs
# with it.
_LINKED = {name: b"usr/" + name for name in (b"bin", b"sbin", b"lib", b"lib32", b"lib64", b"libx32")}

# Folders that are not 0755 in an image; being the parent of something must not change that.
_MODES = {b"root": 0o700, b"tmp": 0o1777, b"var/tmp": 0o1777}


@record
class Blob:
    """What was written: its digest and size."""

    digest: str
    size: int


@record
class Placed:
    """An entry of a tree and its name in the layer; a folder that only leads to one has no tree."""

    name: bytes
    entry: Entry | None = None
    tree: Tree | None = None
    index: Index | None = None


def place(trees: Sequence[tuple[Tree, bytes, Index]]) -> list[Placed]:
    """Lay trees out in one layer, each at its destination (absolute, normal), with the folders that lead there."""
    layout: dict[bytes, Placed] = {}
    for tree, destination, index in trees:
        for entry in tree.entries:
            name = _name(destination, entry)
            if not name:
                raise SpecError("a file cannot take the place of the image's root", hint="give it a name: /file")
            taken = layout.get(name)
            if taken is not None and not (_is_folder(taken) and entry.kind == "d"):
                raise SpecError(f"two local sources have something at `/{name.decode(errors='backslashreplace')}`")
            layout[name] = Placed(name, entry, tree, index)
        if not tree.entries or tree.entries[0].path:
            layout.setdefault(_name(destination, None), Placed(_name(destination, None)))
    for name in list(layout):
        for parent in _parents(name):
            above = layout.setdefault(parent, Placed(parent))
            if not _is_folder(above):
                raise SpecError(f"`/{parent.decode(errors='backslashreplace')}` would be a file and a folder at once")
    layout.pop(b"", None)  # the root needs no entry
    return [layout[name] for name in sorted(layout)]


def write(layout: Sequence[Placed], file: BinaryIO) -> Blob:
    """Write the layer to an empty, seekable file; note the digest of each file on its entry. Raise NotWritten."""
    out = _Out(file)
    for placed in layout:
        entry = placed.entry
        if entry is None or placed.tree is None or placed.index is None or entry.kind == "d":
            out.write(_header(placed.name + b"/", "d", mode=_MODES.get(placed.name, 0o755)))
        elif entry.kind == "l":
            out.write(_header(placed.name, "l", mode=0o777, link=entry.target))
        else:
            _write_file(out, placed.name, entry, placed.tree, placed.index)
    out.write(bytes(2 * _BLOCK))
    return Blob(f"sha256:{out.state.hexdigest()}", out.size)


class NotWritten(Exception):
    """The layer's file cannot be written, for the reason `error`. Not an OSError: those tell of files that are read."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


class _Out:
    """A file, its digest so far, and the way back to an earlier place."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.state = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> None:
        try:
            self.file.write(data)
        except OSError as error:
            raise NotWritten(error) from None
        self.state.update(data)
        self.size += len(data)

    def go_back(self, state: hashlib._Hash, size: int) -> None:
        if size != self.size:
            self.file.seek(size)
            self.file.truncate()
            self.state, self.size = state, size


def _write_file(out: _Out, name: bytes, entry: Entry, tree: Tree, index: Index) -> None:
    state, start = out.state.copy(), out.size

    def begin(status: os.stat_result) -> None:
        out.go_back(state.copy(), start)
        mode = 0o755 if status.st_mode & stat.S_IXUSR else 0o644
        out.write(_header(name, "f", mode=mode, size=status.st_size))

    read(tree, entry, index, begin=begin, data=out.write)
    out.write(bytes(-entry.status.st_size % _BLOCK))


def _header(name: bytes, kind: str, *, mode: int, size: int = 0, link: bytes = b"") -> bytes:
    """A header in GNU's format, which takes names of any bytes and any length."""
    long = b""
    for mark, text in ((b"L", name), (b"K", link)):
        if len(text) > _NAME:
            long += _block(b"././@LongLink", mark, mode=0o644, size=len(text) + 1, link=b"")
            long += text + bytes(1 + -(len(text) + 1) % _BLOCK)
    return long + _block(name, _KINDS[kind], mode=mode, size=size, link=link)


def _block(name: bytes, kind: bytes, *, mode: int, size: int, link: bytes) -> bytes:
    fields = (
        name[:_NAME].ljust(_NAME, b"\0"),
        b"%07o\0" % mode,
        b"0000000\0" * 2,  # owner and group
        _number(size),
        _number(EPOCH),
        b" " * 8,  # the checksum, of which it is a part itself
        kind,
        link[:_NAME].ljust(_NAME, b"\0"),
        b"ustar  \0",
    )
    block = b"".join(fields).ljust(_BLOCK, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def _number(value: int) -> bytes:
    if value < 8**11:
        return b"%011o\0" % value
    return b"\x80" + value.to_bytes(11)


def _name(destination: bytes, entry: Entry | None) -> bytes:
    name = b"/".join(filter(None, (destination.strip(b"/"), entry.path if entry else b"")))
    first, slash, rest = name.partition(b"/")
    if first in _LINKED and (slash or entry is None or entry.kind == "d"):
        return _LINKED[first] + slash + rest
    return name


def _is_folder(placed: Placed) -> bool:
    return placed.entry is None or placed.entry.kind == "d"


def _parents(name: bytes) -> Iterator[bytes]:
    while b"/" in name:
        name = name.rpartition(b"/")[0]
        yield name
