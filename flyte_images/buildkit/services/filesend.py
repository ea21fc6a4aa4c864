"""moby.filesync.v1.FileSend: receive results as one file (a tarball), as a directory, or for an image store."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import grpc

from flyte_images_runtime.system.atomic import partial_path, sweep

from ...errors import FlyteImagesError
from ..pb.session_pb2 import BytesMessage
from . import Handlers
from .receive import receive_directory


@dataclass(frozen=True, slots=True)
class ToFile:
    """The result replaces this file when the result is whole."""

    path: Path


@dataclass(frozen=True, slots=True)
class ToDirectory:
    """The result is merged into this directory."""

    path: Path


@dataclass(frozen=True, slots=True)
class ToStore:
    """`take` reads the pieces of the result while they arrive."""

    take: Callable[[Iterable[bytes]], object]


Target = ToFile | ToDirectory | ToStore


def filesend(targets: Mapping[int, Target]) -> Handlers:
    """Receive results for `targets`, by the index of their exporter in the solve request."""

    def copy(messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        metadata = dict(context.invocation_metadata())
        target = targets.get(int(metadata.get("buildkit-attachable-exporter-id", 0)))
        try:
            match target:
                case ToFile(path):
                    _receive_file(messages, path)
                case ToDirectory(path):
                    yield from receive_directory(messages, path)
                case ToStore(take):
                    take(BytesMessage.FromString(message).data for message in messages)
                case None:
                    context.abort(grpc.StatusCode.NOT_FOUND, "this client expects no such result")
        except FlyteImagesError as error:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
        except OSError as error:
            context.abort(
                grpc.StatusCode.FAILED_PRECONDITION, f"cannot write `{error.filename}` here: {error.strerror}"
            )

    # Raw bytes: a file comes as BytesMessage, a directory as Packet, on the same method.
    return {"/moby.filesync.v1.FileSend/DiffCopy": grpc.stream_stream_rpc_method_handler(copy)}


def _receive_file(messages: Iterator[bytes], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path.parent)
    with partial_path(path.parent) as temporary:
        with temporary.open("xb") as file:
            for message in messages:
                file.write(BytesMessage.FromString(message).data)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
