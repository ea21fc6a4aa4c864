"""An address -> a connected socket that speaks BuildKit's gRPC. Opens sockets and starts programs, without grpc."""

from __future__ import annotations

import contextlib
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from ..errors import EngineError
from .address import Address, Command, Docker, Tcp, Tls, Unix

if TYPE_CHECKING:  # the most common connection, a Unix socket, does not need subprocess
    import subprocess

PATIENCE = 30.0
"""Seconds for a connection, or for an answer that needs no work. `ssh` has the same limit."""

_HEADER_LIMIT = 1 << 16


@dataclass(slots=True, eq=False)
class Connection:
    """A connected socket; with `program`, the other end is that program and `complaints` its standard error."""

    socket: socket.socket
    program: subprocess.Popen[bytes] | None = None
    complaints: IO[bytes] | None = None

    def close(self) -> None:
        """Close the socket; end the program at the other end, and wait for the program."""
        self.socket.close()
        if self.program is not None:
            import subprocess

            with contextlib.suppress(subprocess.TimeoutExpired):
                self.program.wait(0.2)  # most programs exit when their input ends
            self.program.terminate()
            try:
                self.program.wait(2.0)
            except subprocess.TimeoutExpired:
                self.program.kill()
                self.program.wait()
        if self.complaints is not None:
            self.complaints.close()

    def complaint(self) -> str:
        """Return the last text that the program at the other end wrote to its standard error, or ""."""
        if self.complaints is None or self.complaints.closed:
            return ""
        if self.program is not None:
            import subprocess

            with contextlib.suppress(subprocess.TimeoutExpired):
                self.program.wait(0.5)  # the text may arrive a moment after the program's output has ended
        self.complaints.seek(0)
        return self.complaints.read()[-2000:].decode("utf-8", "replace").strip()


def dial(address: Address, *, patience: float = PATIENCE) -> Connection:
    """Connect to `address`; the next bytes on the socket are HTTP/2.

    Raises EngineError, with a hint, if nothing answers within `patience` seconds.
    """
    match address:
        case Unix():
            return Connection(_unix(address, patience))
        case Tcp():
            return Connection(_tcp(address, patience))
        case Command():
            return _command(address)
        case Docker():
            return _upgrade(address, patience)


def _unix(address: Unix, patience: float) -> socket.socket:
    link = socket.socket(socket.AF_UNIX)
    link.settimeout(patience)
    try:
        link.connect(address.path)
    except OSError as error:
        link.close()
        raise EngineError(f"cannot connect to {address}: {error.strerror or error}", hint=_unix_hint(error)) from None
    link.settimeout(None)
    return link


def _unix_hint(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "this user may not open the socket: run as a member of the socket's group (for Docker: `docker`)"
    if isinstance(error, FileNotFoundError | ConnectionRefusedError):
        return "nothing listens there: start the engine, or name another with BUILDKIT_HOST or DOCKER_HOST"
    return "is it the socket of a running engine?"


def _tcp(address: Tcp, patience: float) -> socket.socket:
    try:
        link = socket.create_connection((address.host, address.port), timeout=patience)
    except OSError as error:
        raise EngineError(
            f"cannot connect to {address}: {error.strerror or error}",
            hint="is the host up, and is the port right?",
        ) from None
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if address.tls is not None:
        link = _secure(link, address, address.tls)
    link.settimeout(None)
    return link


def _secure(plain: socket.socket, address: Tcp, tls: Tls) -> socket.socket:
    import ssl

    hint = "check the files of the authority, the certificate and the key"
    try:
        context = ssl.create_default_context(cafile=tls.ca)
        if not tls.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if tls.cert is not None:
            context.load_cert_chain(tls.cert, tls.key)
        return context.wrap_socket(plain, server_hostname=tls.server_name or address.host)
    except FileNotFoundError:
        missing = [name for name in (tls.ca, tls.cert, tls.key) if name is not None and not Path(name).exists()]
        plain.close()
        raise EngineError(f"cannot read `{'`, `'.join(missing)}` for the TLS of {address}", hint=hint) from None
    except OSError as error:
        plain.close()
        raise EngineError(f"no TLS with {address}: {error}", hint=hint) from None


def _command(address: Command) -> Connection:
    import subprocess
    import tempfile

    ours, theirs = socket.socketpair()
    complaints = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the connection
    try:
        program = subprocess.Popen(
            address.argv, stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=complaints, start_new_session=True
        )
    except OSError as error:
        ours.close()
        complaints.close()
        raise EngineError(
            f"cannot run `{address.argv[0]}` to reach {address}: {error.strerror}",
            hint=f"install `{address.argv[0]}` or add it to PATH",
        ) from None
    finally:
        theirs.close()
    return Connection(ours, program, complaints)


def _upgrade(address: Docker, patience: float) -> Connection:
    """Connect to a Docker Engine, and upgrade the connection to the gRPC of the engine's BuildKit."""
    connection = dial(address.api, patience=patience)
    try:
        connection.socket.settimeout(patience)
        connection.socket.sendall(b"POST /grpc HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
        status = _header(connection.socket).split(b"\r\n", 1)[0].decode("latin-1")
        connection.socket.settimeout(None)
    except OSError as error:
        complaint = connection.complaint()
        connection.close()
        raise EngineError(
            f"{address} did not answer: {complaint or error}", hint="is a Docker Engine running there?"
        ) from None
    if " 101 " not in status + " ":
        connection.close()
        raise EngineError(
            f"{address} does not give access to its BuildKit: it answered `{status}`",
            hint="Docker Engine 26 or newer is needed",
        )
    return connection


def _header(source: socket.socket) -> bytes:
    """Read up to the blank line and not a byte further: the bytes after the blank line are HTTP/2."""
    header = b""
    while not header.endswith(b"\r\n\r\n"):
        byte = source.recv(1)
        if not byte or len(header) > _HEADER_LIMIT:
            raise ConnectionError("the connection was closed")
        header += byte
    return header
