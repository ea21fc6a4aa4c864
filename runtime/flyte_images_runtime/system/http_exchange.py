"""One HTTP/1.1 request and its answer over a connected socket, for the API of a Docker Engine.

Not http.client: importing http.client (and `email`) takes 10 ms and more, longer than a request to the engine, in every
build that changes nothing and at the start of every task.
"""

from __future__ import annotations

import io
import socket
from collections.abc import Iterable, Iterator, Mapping
from typing import IO, Any

_CHUNK = 1 << 16
_LINE_LIMIT = 1 << 16  # bytes of one line of the answer's head


class BrokenExchangeError(ConnectionError):
    """The connection broke, no answer came in time, or the answer is not HTTP or ended early."""


class Exchange:
    """One request on a socket that the caller has connected; the server closes the connection after the answer.

    Methods raise BrokenExchangeError, and no other error of the connection; an exception of a body that is being sent
    passes through. Use an exchange as a context manager, or call `close`, which closes the socket too.
    """

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._answer = link.makefile("rb")
        self._is_chunked = False
        self._length: int | None = None
        self.status = 0

    def __enter__(self) -> Exchange:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket."""
        self._answer.close()
        self._link.close()

    def request(
        self,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | Iterable[bytes] | None = None,
    ) -> None:
        """Send the request and read the answer's head: `status` is set, and the content can be read.

        `target` is quoted by the caller. A body of several pieces is sent chunked while it is made.
        """
        fields = {"Host": "docker", "Connection": "close", **(headers or {})}
        if isinstance(body, bytes):
            fields["Content-Length"] = str(len(body))
        elif body is not None:
            fields["Transfer-Encoding"] = "chunked"
        elif method == "POST":
            fields["Content-Length"] = "0"
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self._send(f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode("latin-1"), body)
        self._read_head()

    def _send(self, head: bytes, body: bytes | Iterable[bytes] | None) -> None:
        """Send until all is sent or the server stops reading: a server that refuses early has answered already."""
        if isinstance(body, bytes) or body is None:
            self._write(head + (body or b""))
        elif self._write(head):
            for piece in filter(None, body):
                if not self._write(b"%x\r\n%b\r\n" % (len(piece), piece)):
                    return
            self._write(b"0\r\n\r\n")

    def _write(self, data: bytes) -> bool:
        try:
            self._link.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return False
        except OSError as error:
            raise BrokenExchangeError(error.strerror or str(error)) from error
        return True

    def _read_head(self) -> None:
        words = self._line().split(None, 2)
        if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
            raise BrokenExchangeError("the connection was closed")
        self.status = int(words[1])
        headers = {}
        while line := self._line().strip():
            name, _, value = line.partition(b":")
            headers[name.strip().lower()] = value.strip().lower()
        self._is_chunked = headers.get(b"transfer-encoding") == b"chunked"
        length = headers.get(b"content-length", b"")
        self._length = int(length) if length.isdigit() else None
        if self.status in (204, 304):
            self._is_chunked, self._length = False, 0

    def _line(self) -> bytes:
        try:
            line = self._answer.readline(_LINE_LIMIT)
        except OSError as error:
            raise BrokenExchangeError(error.strerror or str(error)) from error
        if not line.endswith(b"\n"):
            raise BrokenExchangeError("the connection was closed")
        return line

    def content(self) -> Iterator[bytes]:
        """Yield the content in pieces as they arrive."""
        if self._is_chunked:
            while size := int(self._line().partition(b";")[0], 16):
                yield from self._exactly(size)
                self._line()
        elif self._length is not None:
            yield from self._exactly(self._length)
        else:  # up to the end of the connection
            while data := self._some(_CHUNK):
                yield data

    def _exactly(self, size: int) -> Iterator[bytes]:
        while size:
            data = self._some(min(size, _CHUNK))
            if not data:
                raise BrokenExchangeError("the connection was closed in the middle of the answer")
            size -= len(data)
            yield data

    def _some(self, limit: int) -> bytes:
        try:
            return self._answer.read1(limit)
        except OSError as error:
            raise BrokenExchangeError(error.strerror or str(error)) from error

    def read(self) -> bytes:
        """Return the whole content."""
        return b"".join(self.content())

    def file(self) -> IO[bytes]:
        """Return the content as a file, which reads from the connection and closes it when the file is closed."""
        return io.BufferedReader(_Pieces(self.content(), self))


class _Pieces(io.RawIOBase):
    """The content of an exchange as a raw file."""

    def __init__(self, pieces: Iterator[bytes], exchange: Exchange) -> None:
        self._pieces, self._left, self._exchange = pieces, b"", exchange

    def close(self) -> None:
        self._exchange.close()
        super().close()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # a writable buffer, which has no type before Python 3.12
        self._left = self._left or next(self._pieces, b"")
        size = min(len(buffer), len(self._left))
        buffer[:size], self._left = self._left[:size], self._left[size:]
        return size
