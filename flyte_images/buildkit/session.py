"""A session: the services of this process for one build, and the connection on which the engine calls them.

BuildKit speaks HTTP/2 as the client over the byte stream of Control.Session, and a grpcio server in this process
answers. The server listens on a socket whose directory is removed as soon as its only connection is made.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import grpc

from ..errors import EngineError
from ..store.leftovers import temporary_path
from .pb.control_pb2 import BytesMessage
from .registry_auth import DockerLogins, Login, docker_config_file
from .rpc import OPTIONS, SESSION
from .services import Handlers
from .services.auth import auth
from .services.content import Readings, content
from .services.filesend import Target, filesend
from .services.filesync import Files, filesync
from .services.health import health
from .services.secrets import Secret
from .services.secrets import secrets as secrets_service

_CHUNK = 1 << 17
_WORKERS = 32  # each running call occupies one; the health check must never wait for transfers


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What one solve may read on this machine. Nothing is read before the engine asks.

    `stores` are directories with blobs/sha256, by the `oci.store` names of the graph's oci-layout sources; `files` are
    the files of the graph's local sources, by the sources' names; `secrets` are values, or functions that return them,
    by id; `logins` returns the login of a registry.
    """

    stores: Mapping[str, Path] = field(default_factory=dict)
    files: Mapping[str, Files] = field(default_factory=dict)
    secrets: Mapping[str, Secret] = field(default_factory=dict, repr=False)
    logins: Callable[[str], Login | None] = field(default_factory=lambda: DockerLogins(docker_config_file()))


class OpenSession:
    """A session that the engine knows by `id`; a context manager.

    `stores` and `targets` are for the caches and exporters of a solve, by the names and numbers that the engine uses.
    """

    def __init__(
        self, channel: grpc.Channel, session: Session, *, stores: Mapping[str, Path], targets: Mapping[int, Target]
    ) -> None:
        self.id = secrets.token_hex(13)[:25]
        self.readings = Readings()
        self._channel = channel
        all_stores = {**{f"oci:{name}": path for name, path in session.stores.items()}, **stores}
        self._handlers: Handlers = {
            **health(),
            **auth(session.logins),
            **secrets_service(session.secrets),
            **(content(all_stores, self.readings) if all_stores else {}),
            **(filesync(session.files) if session.files else {}),
            **(filesend(targets) if targets else {}),
        }

    def __enter__(self) -> OpenSession:
        self._pool = ThreadPoolExecutor(_WORKERS, "flyte-images-session")
        self._server = grpc.server(self._pool, handlers=[_Router(self._handlers)], options=OPTIONS)
        self._socket = self._connect()
        metadata = (
            ("x-docker-expose-session-uuid", self.id),
            ("x-docker-expose-session-sharedkey", ""),
            *(("x-docker-expose-session-grpc-method", path) for path in self._handlers),
        )
        try:
            self._call = SESSION.duplex(self._channel, self._outgoing(), metadata=metadata)
        except ValueError:  # grpc's error for a closed channel
            self._end()
            raise EngineError("the connection to the engine was closed") from None
        self._reader = threading.Thread(target=self._incoming, name="flyte-images-session", daemon=True)
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._call.cancel()
        _shut(self._socket)
        self._reader.join()
        self._end()

    def _end(self) -> None:
        self._server.stop(0).wait()
        self._pool.shutdown(wait=True)
        self._socket.close()

    def _connect(self) -> socket.socket:
        directory = temporary_path("session")
        directory.mkdir(mode=0o700)  # no other user can connect
        opened = os.open(directory, os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # A socket's path has at most 108 bytes, however long TMPDIR is. Its last part is unique to this session:
            # grpc removes the path again when the server ends, and by then the number may belong to another session.
            path = f"/proc/self/fd/{opened}/{self.id}"
            self._server.add_insecure_port(f"unix:{path}")
            self._server.start()
            connected = socket.socket(socket.AF_UNIX)
            try:
                connected.connect(path)
            except OSError:
                connected.close()
                raise
            return connected
        finally:
            os.close(opened)
            shutil.rmtree(directory, ignore_errors=True)

    def _outgoing(self) -> Iterator[BytesMessage]:
        with contextlib.suppress(OSError):
            while data := self._socket.recv(_CHUNK):
                yield BytesMessage(data=data)

    def _incoming(self) -> None:
        with contextlib.suppress(OSError, grpc.RpcError):
            for message in self._call:
                self._socket.sendall(message.data)
        _shut(self._socket)


class _Router(grpc.GenericRpcHandler):
    """Finds the handler of a method by the method's path."""

    def __init__(self, handlers: Handlers) -> None:
        self._handlers = handlers

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        return self._handlers.get(handler_call_details.method)


def _shut(connected: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connected.shutdown(socket.SHUT_RDWR)
