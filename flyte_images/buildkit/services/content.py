"""containerd.services.content.v1.Content over directories of blobs: sources, caches and results by digest.

A store is a directory with `blobs/sha256/<hex>`, the structure of an OCI layout.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NoReturn

import grpc

from flyte_images_runtime.system.atomic import partial_path, sweep
from flyte_images_runtime.system.image_ref import Digest

from ..pb.content_pb2 import (
    COMMIT,
    Info,
    InfoRequest,
    InfoResponse,
    ReadRequest,
    ReadResponse,
    WriteRequest,
    WriteResponse,
)
from . import Handlers

_SERVICE = "/containerd.services.content.v1.Content"
_CHUNK = 1 << 20


def content(stores: Mapping[str, Path], readings: Readings) -> Handlers:
    """Serve the blobs of `stores`, by the store ids of the engine, and accept blobs that the engine writes there."""
    service = _Content(stores, readings)
    return {
        f"{_SERVICE}/Info": grpc.unary_unary_rpc_method_handler(
            service.info,
            request_deserializer=InfoRequest.FromString,
            response_serializer=InfoResponse.SerializeToString,
        ),
        f"{_SERVICE}/Read": grpc.unary_stream_rpc_method_handler(
            service.read,
            request_deserializer=ReadRequest.FromString,
            response_serializer=ReadResponse.SerializeToString,
        ),
        f"{_SERVICE}/Write": grpc.stream_stream_rpc_method_handler(
            service.write,
            request_deserializer=WriteRequest.FromString,
            response_serializer=WriteResponse.SerializeToString,
        ),
    }


class _Content:
    """The methods of the service.

    A blob that turns out to be damaged while the engine reads it is removed: then the next build makes the blob again,
    while a damaged blob would fail every build.
    """

    def __init__(self, stores: Mapping[str, Path], readings: Readings) -> None:
        self._stores, self._readings = stores, readings

    def info(self, request: InfoRequest, context: grpc.ServicerContext) -> InfoResponse:
        try:
            stat = _blob(self._stores, request.digest, context).stat()
        except FileNotFoundError:
            _missing(request.digest, context)
        self._readings.asked(request.digest)
        answer = Info(digest=request.digest, size=stat.st_size)
        answer.created_at.FromNanoseconds(stat.st_mtime_ns)
        answer.updated_at.FromNanoseconds(stat.st_mtime_ns)
        return InfoResponse(info=answer)

    def read(self, request: ReadRequest, context: grpc.ServicerContext) -> Iterator[ReadResponse]:
        try:
            file = _blob(self._stores, request.digest, context).open("rb", buffering=0)
        except FileNotFoundError:
            _missing(request.digest, context)
        with file:
            offset, size = request.offset, os.fstat(file.fileno()).st_size
            if offset > size:
                context.abort(grpc.StatusCode.OUT_OF_RANGE, f"offset {offset} is past the end of {request.digest}")
            end = min(size, offset + request.size) if request.size else size
            file.seek(offset)
            while offset < end:
                data = file.read(min(_CHUNK, end - offset))
                if not data:
                    context.abort(grpc.StatusCode.DATA_LOSS, f"{request.digest} became shorter while it was read")
                if not self._readings.fits(request.digest, offset, data, size):
                    with contextlib.suppress(OSError):
                        Path(file.name).unlink()
                    context.abort(grpc.StatusCode.DATA_LOSS, f"the file `{file.name}` is damaged")
                yield ReadResponse(offset=offset, data=data)
                offset += len(data)

    def write(self, requests: Iterator[WriteRequest], context: grpc.ServicerContext) -> Iterator[WriteResponse]:
        yield from _write(_store(self._stores, context), requests, context)


class Readings:
    """The blobs that the engine has asked about, and the running digests of the blobs that it reads in pieces."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._begun: dict[str, tuple[int, hashlib._Hash]] = {}
        self._unread: dict[str, None] = {}

    @property
    def unread(self) -> frozenset[str]:
        """The digests of the blobs that the engine has asked about and not read to the end."""
        return frozenset(self._unread)

    def asked(self, digest: str) -> None:
        """Record that the engine is about to read the blob."""
        self._unread[digest] = None

    def fits(self, digest: str, offset: int, data: bytes, size: int) -> bool:
        """Add a piece; return False if it is the last piece and the whole content does not match `digest`."""
        if offset + len(data) == size:
            self._unread.pop(digest, None)
        with self._lock:
            at, state = self._begun.pop(digest, (0, hashlib.sha256()))
        if offset == 0 != at:
            at, state = 0, hashlib.sha256()
        if offset != at:  # not read in order: only the engine checks the content
            return True
        state.update(data)
        if offset + len(data) == size:
            return str(Digest(state.hexdigest())) == digest
        with self._lock:
            self._begun[digest] = offset + len(data), state
        return True


def _store(stores: Mapping[str, Path], context: grpc.ServicerContext) -> Path:
    """Return the store that the request names; the first name counts."""
    named = (str(value) for key, value in context.invocation_metadata() if key == "buildkit-attachable-store-id")
    name = next(named, "")
    if name not in stores:
        context.abort(grpc.StatusCode.NOT_FOUND, f"this client has no content store `{name}`")
    return stores[name]


def _blob(stores: Mapping[str, Path], digest: str, context: grpc.ServicerContext) -> Path:
    return _store(stores, context) / "blobs" / "sha256" / _name(digest, context)


def _name(digest: str, context: grpc.ServicerContext) -> str:
    try:
        return Digest.parse(digest).hex
    except ValueError as error:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))


def _missing(digest: str, context: grpc.ServicerContext) -> NoReturn:
    context.abort(grpc.StatusCode.NOT_FOUND, f"content {digest}: not found")


def _write(store: Path, requests: Iterator[WriteRequest], context: grpc.ServicerContext) -> Iterator[WriteResponse]:
    """Receive one blob. The blob appears in the store whole and checked, or not at all."""
    blobs = store / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)
    started, hashed = time.time_ns(), hashlib.sha256()
    offset = total = 0
    expected = ""
    sweep(store)
    with partial_path(store) as path, path.open("xb") as file:
        for request in requests:
            total, expected = request.total or total, request.expected or expected
            if expected and (blobs / _name(expected, context)).exists():
                context.abort(grpc.StatusCode.ALREADY_EXISTS, f"content {expected}: already exists")
            if request.data:
                if request.offset != offset:
                    context.abort(grpc.StatusCode.OUT_OF_RANGE, f"expected offset {offset}, not {request.offset}")
                file.write(request.data)
                file.flush()  # a full disk fails this request; the close of an abandoned stream must write nothing
                hashed.update(request.data)
                offset += len(request.data)
            digest = str(Digest(hashed.hexdigest()))
            if request.action == COMMIT:
                file.close()
                if total and offset != total:
                    context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"expected {total} bytes, have {offset}")
                if expected and digest != expected:
                    context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"expected {expected}, have {digest}")
                path.rename(blobs / hashed.hexdigest())
            answer = WriteResponse(action=request.action, offset=offset, total=total, digest=digest)
            answer.started_at.FromNanoseconds(started)
            answer.updated_at.FromNanoseconds(time.time_ns())
            yield answer
            if request.action == COMMIT:
                return
