"""The HTTP reader: every response is bounded in bytes and in time, whatever the server does.

A server may announce too many bytes, send without end, send a byte a second, redirect forever, or redirect to a host
that must not see the login. Each of these ends in an OSError within a window of seconds, and memory use stays bounded.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import io
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any
from urllib.parse import unquote, urlsplit, urlunsplit

from flyte_images_runtime.system.interruptible import ending

from .ca_bundle import ca_bundle
from .index_logins import Login, find_login, origin

_CHUNK = 1 << 18
_REDIRECTS = 10
_MAX_HEAD = 1 << 18  # bytes of a response before its content
_FRAMES = 2  # maximum of bytes on the wire for each byte of content: a chunk has its own head


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Time for a server: `window` seconds for each `least` bytes, and for the time before the first byte."""

    window: float
    least: int = 1 << 14


class RefusedAnswer(OSError):
    """A response that is refused: too long, too slow, or not the one that was requested."""


class Reader:
    """Reads addresses of one origin with the CA bundle, the proxies and the login of this machine."""

    def __init__(self, url: str, environ: Mapping[str, str], patience: Patience, indexes: Iterable[str] = ()) -> None:
        self._patience = patience
        context = _ssl_context(ca_bundle(environ))
        opener = urllib.request.OpenerDirector()  # the default one would open files and FTP addresses too
        for handler in (
            urllib.request.ProxyHandler(),
            _Http(patience),
            _Https(patience, context),
            urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.HTTPErrorProcessor(),
            _Redirects(),
            _Logins(url, find_login(url, environ, indexes)),
        ):
            opener.add_handler(handler)
        self._opener = opener

    @contextlib.contextmanager
    def open(self, url: str, max_size: int, byte_range: str = "") -> Iterator[Response]:
        """Request an address, or a `byte_range` of it (an HTTP Range); read `max_size` bytes at most.

        Raise OSError for every kind of failure.
        """
        request = urllib.request.Request(_without_login(url), headers={"Range": byte_range} if byte_range else {})
        try:
            response = self._opener.open(request, timeout=self._patience.window)
        except (http.client.HTTPException, ValueError) as error:
            raise RefusedAnswer(f"the response is not HTTP: {error or type(error).__name__}") from None
        except urllib.error.HTTPError as error:
            error.close()  # the error holds the connection
            raise
        if response is None:
            raise RefusedAnswer("the scheme of the address is not http or https")
        with response:
            yield Response(response, max_size)


class Response:
    """A response: `status`, `headers`, and the content as it arrives."""

    def __init__(self, response: http.client.HTTPResponse, max_size: int) -> None:
        self._response, self._max_size = response, max_size
        self.status: int = response.status
        self.headers = response.headers
        length = response.headers.get("Content-Length", "")
        if length.isdigit() and int(length) > max_size:
            raise RefusedAnswer(f"the server sends {length} bytes, more than {max_size}")
        stream = getattr(response.fp, "raw", None)
        self._stream = stream if isinstance(stream, _BoundedStream) else None
        self._extend_budget(4 * _CHUNK)

    def chunks(self) -> Iterator[bytes]:
        """Yield the content. Raise OSError as soon as it is too long, or if it ends early."""
        left = self._max_size
        try:
            while data := self._response.read(min(_CHUNK, left + 1)):
                left -= len(data)
                self._extend_budget(_FRAMES * len(data))
                if left < 0:
                    raise RefusedAnswer(f"the server sends more than {self._max_size} bytes")
                yield data
        except (http.client.HTTPException, ValueError) as error:
            raise RefusedAnswer(f"the response broke off: {error or type(error).__name__}") from None
        if self._response.length:
            raise RefusedAnswer(f"the response broke off {self._response.length} bytes before its end")

    def read(self) -> bytes:
        """Return the whole content."""
        return b"".join(self.chunks())

    def _extend_budget(self, count: int) -> None:
        """Accept `count` more bytes on the wire: this bounds the bytes around the content."""
        if self._stream is not None:
            self._stream.budget += count


def _without_login(url: str) -> str:
    """Return an address without login and fragment."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, parts.query, ""))


@functools.lru_cache(maxsize=8)  # reading all certificates of a system takes 20 ms
def _ssl_context(bundle: str | None) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=bundle)


class _Logins(urllib.request.BaseHandler):
    """Adds a login to requests to its origin only: an index may redirect to another host."""

    def __init__(self, url: str, known: Login | None) -> None:
        parts = urlsplit(url)
        if parts.username is not None:
            known = unquote(parts.username), unquote(parts.password or "")
        self._origin, self._login = origin(url), known

    def http_request(self, request: urllib.request.Request) -> urllib.request.Request:
        if self._login is not None and origin(request.full_url) == self._origin:
            import base64

            coded = base64.b64encode(":".join(self._login).encode()).decode()
            request.add_unredirected_header("Authorization", f"Basic {coded}")
        return request

    https_request = http_request


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a few redirects, to http and https only."""

    max_redirections = max_repeats = _REDIRECTS

    def http_error_302(self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any) -> Any:
        try:
            return super().http_error_302(req, fp, code, msg, headers)
        except BaseException:
            fp.close()  # an invalid address fails before redirect_request() is called
            raise

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        fp.close()
        where = origin(newurl)
        if where is None or not where[1]:
            raise RefusedAnswer(f"the server redirects to an address that is not http or https: {newurl[:200]!r}")
        return super().redirect_request(req, fp, code, msg, headers, _without_login(newurl))


class _Http(urllib.request.HTTPHandler):
    def __init__(self, patience: Patience) -> None:
        super().__init__()
        self._patience = patience

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(functools.partial(_Connection, patience=self._patience), req)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, patience: Patience, context: ssl.SSLContext) -> None:
        super().__init__(context=context)
        self._patience, self._context = patience, context

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        connect = functools.partial(_SecureConnection, patience=self._patience, context=self._context)
        return self.do_open(connect, req)


class _Connection(http.client.HTTPConnection):
    def __init__(self, *arguments: Any, patience: Patience, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._patience = patience

    def connect(self) -> None:
        super().connect()
        self.sock = _BoundedSocket(self.sock, self._patience)


class _SecureConnection(http.client.HTTPSConnection):
    def __init__(self, *arguments: Any, patience: Patience, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._patience = patience

    def connect(self) -> None:
        super().connect()
        self.sock = _BoundedSocket(self.sock, self._patience)


class _BoundedSocket:
    """A socket that is read within the time limits, and shut down when the work is interrupted."""

    def __init__(self, held: socket.socket, patience: Patience) -> None:
        self._socket, self._patience = held, patience
        held.settimeout(patience.window)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_BoundedStream(self._socket, self._patience), 1 << 16)  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return getattr(self._socket, name)  # type: ignore[no-any-return]


class _BoundedStream(io.RawIOBase):
    """The bytes of a socket: a RefusedAnswer if too few arrive in a window, or too many in all."""

    def __init__(self, held: socket.socket, patience: Patience) -> None:
        # The socket is closed when it and its file are closed.
        self._socket, self._file, self._patience = held, held.makefile("rb", buffering=0), patience
        self._until, self._count = time.monotonic() + patience.window, 0
        self.budget = _MAX_HEAD

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        left = self._until - time.monotonic()
        if left <= 0:
            raise RefusedAnswer(
                f"the server sends less than {self._patience.least} bytes in {self._patience.window:g} s"
            )
        self._socket.settimeout(left)
        with ending(self._shut):
            count = self._file.readinto(buffer) or 0
        self._count += count
        self.budget -= count
        if self.budget < 0:
            raise RefusedAnswer("the server sends too many bytes around the content")
        if self._count >= self._patience.least:
            self._until, self._count = time.monotonic() + self._patience.window, 0
        return count

    def _shut(self) -> None:
        # The shutdown() of a TLS socket would take the session from the reader.
        socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()
