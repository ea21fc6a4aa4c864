"""The little of protobuf's encoding that is written by hand, so that what many graphs share is serialized once. Pure.

A message may be put together of its fields' bytes. In the order of their numbers, and of the keys of maps, these are
the bytes that the library writes itself.
"""

from __future__ import annotations


def field(number: int, data: bytes) -> bytes:
    """A field that holds bytes, text or a message; `number` is below 16.

    >>> field(1, b"abc")
    b'\\n\\x03abc'
    """
    return bytes((number << 3 | 2,)) + _varint(len(data)) + data


def entry(number: int, key: str, value: bytes) -> bytes:
    """An entry of the map `number` from text to messages."""
    return field(number, field(1, key.encode()) + field(2, value))


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
