"""moby.filesync.v1.FileSync: single files for `local://` sources, for engines without `oci-layout://` sources.

Directory trees are sent as tarballs, which a copy in the graph unpacks. So each source has one file or a few files, and
neither directories nor patterns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import grpc

from ..pb.session_pb2 import Packet, Stat
from . import Handlers

_CHUNK = 1 << 17

Files = Mapping[str, Path]
"""The files of one source by their names in it."""


def filesync(sources: Mapping[str, Files]) -> Handlers:
    """Serve `sources` by the names in the graph: `local://NAME`."""

    def copy(requests: Iterator[Packet], context: grpc.ServicerContext) -> Iterator[Packet]:
        name = next((str(value) for key, value in context.invocation_metadata() if key == "dir-name"), "")
        if name not in sources:
            context.abort(grpc.StatusCode.NOT_FOUND, f"this client has no files `{name}`")
        try:
            yield from _send(sources[name], requests)
        except OSError as error:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"cannot read `{error.filename}`: {error.strerror}")

    return {
        "/moby.filesync.v1.FileSync/DiffCopy": grpc.stream_stream_rpc_method_handler(
            copy, request_deserializer=Packet.FromString, response_serializer=Packet.SerializeToString
        )
    }


def _send(files: Files, requests: Iterator[Packet]) -> Iterator[Packet]:
    """List the files, send the requested files, and end when the engine has received them all."""
    names = sorted(files, key=str.encode)
    for name in names:
        stat = files[name].stat()
        yield Packet(type=Packet.STAT, stat=Stat(path=name, mode=0o644, size=stat.st_size, mod_time=stat.st_mtime_ns))
    yield Packet(type=Packet.STAT)
    for request in requests:
        match request.type:
            case Packet.REQ:
                with files[names[request.id]].open("rb", buffering=0) as file:
                    while data := file.read(_CHUNK):
                        yield Packet(type=Packet.DATA, id=request.id, data=data)
                yield Packet(type=Packet.DATA, id=request.id)
            case Packet.FIN:
                break
            case Packet.ERR:
                raise OSError(None, request.data.decode("utf-8", "replace"), ", ".join(names))
    yield Packet(type=Packet.FIN)
