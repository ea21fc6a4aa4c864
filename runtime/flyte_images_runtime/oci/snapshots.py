"""containerd's snapshots: the directories of an image's layers, used in place and kept from garbage collection.

Five calls over containerd's socket. Their messages are a few strings, and are encoded by hand here: a compiled .proto
would load google.protobuf, 30 ms, in the start of each task whose image is new.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

SOCKETS = ("/run/docker/containerd/containerd.sock", "/run/containerd/containerd.sock")
_SERVICE = "/containerd.services.snapshots.v1.Snapshots/"
_PATIENCE = 20.0


class NoSnapshot(Exception):
    """No containerd within reach has unpacked the image."""


@dataclass(frozen=True, slots=True)
class Snapshots:
    """A snapshotter of the containerd at `socket`, in one containerd namespace."""

    socket: str
    namespace: str = "moby"
    snapshotter: str = "overlayfs"

    def view(self, key: str, chain: str, labels: Mapping[str, str]) -> tuple[str, ...]:
        """Return the layers' directories, the topmost first, and keep them until `drop`. `labels` name the owner."""
        every = {"containerd.io/gc.root": datetime.now(UTC).isoformat(timespec="seconds"), **labels}
        request = _text(1, self.snapshotter) + _text(2, key) + _text(3, chain)
        request += b"".join(_bytes(4, _pair(*label)) for label in every.items())
        with self._calls() as call:
            answer = call("View", request, taken=lambda: call("Mounts", _text(1, self.snapshotter) + _text(2, key)))
        return _directories(answer)

    def drop(self, key: str) -> None:
        """Let the engine collect the layers, unless something else needs them."""
        with self._calls() as call, contextlib.suppress(NoSnapshot):
            call("Remove", _text(1, self.snapshotter) + _text(2, key))

    def label(self, key: str, name: str, value: str) -> None:
        """Set one label of a view."""
        info = _text(1, key) + _bytes(6, _pair(name, value))
        with self._calls() as call:
            call("Update", _text(1, self.snapshotter) + _bytes(2, info) + _bytes(3, _text(1, f"labels.{name}")))

    def labelled(self, name: str) -> dict[str, dict[str, str]]:
        """Return the labels of all snapshots that have the label `name`, by the snapshots' keys."""
        import grpc

        request = _text(1, self.snapshotter) + _text(2, f'labels."{name}"')
        found: dict[str, dict[str, str]] = {}
        with grpc.insecure_channel(f"unix://{self.socket}") as channel:
            ask: Any = channel.unary_stream(_SERVICE + "List", request_serializer=None, response_deserializer=None)
            try:
                for part in ask(request, metadata=(("containerd-namespace", self.namespace),), timeout=_PATIENCE):
                    for number, info in _fields(bytes(part)):
                        if number == 1:
                            key, labels = _info(info)
                            found[key] = labels
            except grpc.RpcError as error:
                raise NoSnapshot(f"{self.socket}: {error.details()}") from None
        return found

    @contextlib.contextmanager
    def _calls(self) -> Iterator[Any]:
        import grpc

        metadata = (("containerd-namespace", self.namespace),)
        with grpc.insecure_channel(f"unix://{self.socket}") as channel:

            def call(method: str, request: bytes, *, taken: Any = None) -> bytes:
                ask: Any = channel.unary_unary(_SERVICE + method, request_serializer=None, response_deserializer=None)
                try:
                    return bytes(ask(request, metadata=metadata, timeout=_PATIENCE))
                except grpc.RpcError as error:
                    if error.code() == grpc.StatusCode.ALREADY_EXISTS and taken is not None:
                        return bytes(taken())
                    raise NoSnapshot(f"{self.socket}: {error.details()}") from None

            yield call


def reachable() -> list[str]:
    """Return the sockets of the containerds that this process can reach."""
    return [socket for socket in SOCKETS if os.access(socket, os.R_OK | os.W_OK) and Path(socket).is_socket()]


def _directories(mounts: bytes) -> tuple[str, ...]:
    """Return the directories of mounts: a bound directory, or the `lowerdir` of an overlay.

    >>> bound = _text(1, "bind") + _text(2, "/s/1/fs") + _text(4, "ro") + _text(4, "rbind")
    >>> _directories(_bytes(1, bound))
    ('/s/1/fs',)
    >>> _directories(_bytes(1, _text(1, "overlay") + _text(2, "overlay") + _text(4, "lowerdir=/s/2/fs:/s/1/fs")))
    ('/s/2/fs', '/s/1/fs')
    """
    found = [_fields(mount) for number, mount in _fields(mounts) if number == 1]
    if len(found) != 1:
        raise NoSnapshot(f"a snapshot of {len(found)} mounts is not supported")
    kind = next((value.decode() for number, value in found[0] if number == 1), "")
    source = next((value.decode() for number, value in found[0] if number == 2), "")
    options = [value.decode() for number, value in found[0] if number == 4]
    if kind == "bind":
        return (source,)
    for option in options:
        if kind == "overlay" and option.startswith("lowerdir="):
            return tuple(re.split(r"(?<!\\):", option.removeprefix("lowerdir=")))
    raise NoSnapshot(f"a snapshot that is a mount of `{kind}` is not supported")


def _info(message: bytes) -> tuple[str, dict[str, str]]:
    """Return a snapshot's key and labels.

    >>> _info(_text(1, "a") + bytes([3 << 3, 2]) + _bytes(6, _pair("of", "me")))
    ('a', {'of': 'me'})
    """
    fields = _fields(message)
    pairs = [dict(_fields(value)) for number, value in fields if number == 6]
    key = next((value.decode() for number, value in fields if number == 1), "")
    return key, {pair.get(1, b"").decode(): pair.get(2, b"").decode() for pair in pairs}


def _fields(message: bytes) -> list[tuple[int, bytes]]:
    """Return the fields of a message that are strings or messages, with their numbers."""
    found, at = [], 0
    while at < len(message):
        key, at = _varint(message, at)
        if key & 7 == 0:
            _, at = _varint(message, at)
            continue
        if key & 7 != 2:
            raise NoSnapshot("the answer of containerd is not a list of mounts")
        length, at = _varint(message, at)
        found.append((key >> 3, message[at : at + length]))
        at += length
    return found


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (message[at] & 0x7F) << shift
        shift += 7
        at += 1
        if message[at - 1] < 0x80:
            return value, at


def _bytes(number: int, content: bytes) -> bytes:
    length, encoded = len(content), b""
    while length > 0x7F:
        encoded += bytes([length & 0x7F | 0x80])
        length >>= 7
    return bytes([number << 3 | 2]) + encoded + bytes([length]) + content


def _text(number: int, text: str) -> bytes:
    return _bytes(number, text.encode())


def _pair(key: str, value: str) -> bytes:
    return _text(1, key) + _text(2, value)
