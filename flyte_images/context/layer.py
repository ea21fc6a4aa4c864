"""Trees -> one tar layer: the same bytes for the same trees, on any machine and any day.

All entries belong to root and have the time `EPOCH`; folders and executable files have mode 0755, other files 0644.
Entries are sorted by the bytes of their names. Only names are held in memory, never contents.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from flyte_images_layers.record import record
from flyte_images_layers.steps import EPOCH

from ..errors import SpecError
from .file_index import Index
from .tree import Entry, Tree, read

_BLOCK = 512
_NAME = 100  # bytes of a name that fit in a header
_KINDS = {"d": b"5", "f": b"0", "l": b"2"}

# In Debian these are links. A folder of such a name in a layer would replace the link, and hide the base's programs.
_LINKED = {name: b"usr/" + name for name in (b"bin", b"sbin", b"lib", b"lib32", b"lib64", b"libx32")}

# Folders whose mode in an image is not 0755. A layer with an entry below them must not change their mode.
_MODES = {b"root": 0o700, b"tmp": 0o1777, b"var/tmp": 0o1777}


@record
class Blob:
    """A written layer: its digest and size in bytes."""

    digest: str
    size: int


@record
class LayerEntry:
    """One entry of the layer: its name, and the entry of a tree. A parent folder of destinations has no tree."""

    name: bytes
    entry: Entry | None = None
    tree: Tree | None = None
    index: Index | None = None


def arrange(trees: Sequence[tuple[Tree, bytes, Index]]) -> list[LayerEntry]:
    """Arrange trees in one layer, each at its absolute, normalized destination, and add the parent folders."""
    layout: dict[bytes, LayerEntry] = {}
    for tree, destination, index in trees:
        for entry in tree.entries:
            name = _name(destination, entry)
            if not name:
                raise SpecError("a file cannot replace the root of the image", hint="give the file a name: /file")
            earlier = layout.get(name)
            if earlier is not None and not (_is_folder(earlier) and entry.kind == "d"):
                raise SpecError(f"two local sources have an entry at `/{name.decode(errors='backslashreplace')}`")
            layout[name] = LayerEntry(name, entry, tree, index)
        if not tree.entries or tree.entries[0].path:
            layout.setdefault(_name(destination, None), LayerEntry(_name(destination, None)))
    for name in list(layout):
        for parent in _parents(name):
            above = layout.setdefault(parent, LayerEntry(parent))
            if not _is_folder(above):
                raise SpecError(f"`/{parent.decode(errors='backslashreplace')}` would be both a file and a folder")
    layout.pop(b"", None)  # the root needs no entry
    return [layout[name] for name in sorted(layout)]


def write(layout: Sequence[LayerEntry], file: BinaryIO) -> Blob:
    """Write the layer to an empty, seekable file, and set the digest of each file entry. Raise NotWritten."""
    out = _Out(file)
    for item in layout:
        entry = item.entry
        if entry is None or item.tree is None or item.index is None or entry.kind == "d":
            out.write(_header(item.name + b"/", "d", mode=_MODES.get(item.name, 0o755)))
        elif entry.kind == "l":
            out.write(_header(item.name, "l", mode=0o777, link=entry.target))
        else:
            _write_file(out, item.name, entry, item.tree, item.index)
    out.write(bytes(2 * _BLOCK))
    return Blob(f"sha256:{out.state.hexdigest()}", out.size)


class NotWritten(Exception):
    """The layer cannot be written, because of `error`. Not an OSError, as that would mean a file that is read."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


class _Out:
    """An output file with the digest of its content, which can be truncated to an earlier state."""

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

    def truncate_to(self, state: hashlib._Hash, size: int) -> None:
        if size != self.size:
            self.file.seek(size)
            self.file.truncate()
            self.state, self.size = state, size


def _write_file(out: _Out, name: bytes, entry: Entry, tree: Tree, index: Index) -> None:
    state, start = out.state.copy(), out.size

    def begin(status: os.stat_result) -> None:
        out.truncate_to(state.copy(), start)
        mode = 0o755 if status.st_mode & stat.S_IXUSR else 0o644
        out.write(_header(name, "f", mode=mode, size=status.st_size))

    read(tree, entry, index, begin=begin, data=out.write)
    out.write(bytes(-entry.status.st_size % _BLOCK))


def _header(name: bytes, kind: str, *, mode: int, size: int = 0, link: bytes = b"") -> bytes:
    """Return a header in GNU's format, which supports names of any bytes and length."""
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
        b" " * 8,  # the checksum, counted as spaces
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


def _is_folder(item: LayerEntry) -> bool:
    return item.entry is None or item.entry.kind == "d"


def _parents(name: bytes) -> Iterator[bytes]:
    while b"/" in name:
        name = name.rpartition(b"/")[0]
        yield name
