"""A check of Arrow IPC files before Arrow reads them: compressed buffers can be a thousand times as large in memory.

Footer and messages are flatbuffers, as in the specification of Arrow's columnar format. This package writes files
without compression.
"""

from __future__ import annotations

import os
import struct

from .errors import Problem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

_MAGIC = b"ARROW1"
_CONTINUED = b"\xff\xff\xff\xff"  # before the length of a message
_LARGEST = 1 << 24  # bytes of a footer or of a message's header
_DICTIONARY_BATCH, _RECORD_BATCH = 2, 3


def check_uncompressed(file: BinaryIO) -> None:
    """Raise Problem if the file is not an Arrow IPC file, or if one of its buffers is compressed."""
    size = os.fstat(file.fileno()).st_size
    try:
        for offset, length in _blocks(file, size):
            message = _part(file, offset, length, size)
            if message[:4] != _CONTINUED:
                raise ValueError("no message")
            header = _Table.root(message[8:])
            kind, batch = header.number("B", 1), header.table(2)
            if kind == _DICTIONARY_BATCH and batch is not None:
                batch = batch.table(1)
            if kind not in (_DICTIONARY_BATCH, _RECORD_BATCH) or batch is None:
                raise Problem("the Arrow file has a message that is not a batch")
            if batch.table(3) is not None:
                raise Problem("the Arrow file is compressed", hint="write it as a File")
    except (struct.error, IndexError, ValueError):
        raise Problem("this is not an Arrow file") from None


def _blocks(file: BinaryIO, size: int) -> list[tuple[int, int]]:
    """Return offset and length of the headers of all batches."""
    tail = _part(file, size - 10, 10, size)
    (length,) = struct.unpack("<i", tail[:4])
    if tail[4:] != _MAGIC:
        raise ValueError("no magic")
    footer = _Table.root(_part(file, size - 10 - length, length, size))
    return [*footer.blocks(2), *footer.blocks(3)]


def _part(file: BinaryIO, offset: int, length: int, size: int) -> bytes:
    if not (0 <= offset and 0 < length <= _LARGEST and offset + length <= size):
        raise ValueError("out of the file")
    return os.pread(file.fileno(), length, offset)


class _Table:
    """A table of a flatbuffer."""

    def __init__(self, data: bytes, at: int) -> None:
        if at < 0:
            raise ValueError("out of the buffer")
        self._data = data
        self._at = at

    @classmethod
    def root(cls, data: bytes) -> _Table:
        return cls(data, struct.unpack_from("<I", data)[0])

    def _field(self, number: int) -> int | None:
        """Return the offset of the field `number`; None if the field is absent."""
        vtable = self._at - struct.unpack_from("<i", self._data, self._at)[0]
        if vtable < 0:
            raise ValueError("out of the buffer")
        (length,) = struct.unpack_from("<H", self._data, vtable)
        if 4 + 2 * number + 2 > length:
            return None
        (offset,) = struct.unpack_from("<H", self._data, vtable + 4 + 2 * number)
        return self._at + offset if offset else None

    def number(self, form: str, number: int) -> int:
        at = self._field(number)
        return 0 if at is None else int(struct.unpack_from("<" + form, self._data, at)[0])

    def table(self, number: int) -> _Table | None:
        at = self._field(number)
        return None if at is None else _Table(self._data, at + struct.unpack_from("<I", self._data, at)[0])

    def blocks(self, number: int) -> list[tuple[int, int]]:
        """Return the vector of `Block` in the field `number`: the offset and the length of each header."""
        at = self._field(number)
        if at is None:
            return []
        at += struct.unpack_from("<I", self._data, at)[0]
        (count,) = struct.unpack_from("<I", self._data, at)
        if count * 24 > len(self._data):
            raise ValueError("out of the buffer")
        rows = struct.iter_unpack("<qi4xq", self._data[at + 4 : at + 4 + count * 24])
        return [(offset, length) for offset, length, _ in rows]
