"""The part of protobuf's encoding that is written by hand, so that a part of many graphs is serialized once. Pure.

A message may be assembled from the bytes of its fields. In the order of field numbers and map keys, the result has the
same bytes that the protobuf library writes.
"""

from __future__ import annotations


def field(number: int, data: bytes) -> bytes:
    """Return the bytes of a field of bytes, text or a message; `number` is below 16.

    >>> field(1, b"abc")
    b'\\n\\x03abc'
    """
    return bytes((number << 3 | 2,)) + _varint(len(data)) + data


def entry(number: int, key: str, value: bytes) -> bytes:
    """Return the bytes of an entry of the map `number`, from text to messages."""
    return field(number, field(1, key.encode()) + field(2, value))


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
