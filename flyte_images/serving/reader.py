"""The one reader of addresses: every answer is bounded in bytes and in time, whatever the server does.

A server may announce too much, send without an end, send a byte a second, redirect for ever, or to where a login must
not go. Each of these ends in an OSError, within a window of seconds and with no more in memory than was asked for.
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
from .index_logins import Login, login, origin

_CHUNK = 1 << 18
_REDIRECTS = 10
_HEAD = 1 << 18  # bytes of an answer before its content
_FRAMES = 2  # bytes on the wire for each byte of content, at the most: a chunk has a head of its own


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """What a server is given: `window` seconds for each `least` bytes, and for what comes before the first."""

    window: float
    least: int = 1 << 14


class RefusedAnswer(OSError):
    """An answer that is not taken: too long, too slow, or an answer to something else."""


class Reader:
    """Reads addresses of one origin as this machine is set up: with its CA bundle, proxies and login."""

    def __init__(self, url: str, environ: Mapping[str, str], patience: Patience, indexes: Iterable[str] = ()) -> None:
        self._patience = patience
        context = _trusting(ca_bundle(environ))
        opener = urllib.request.OpenerDirector()  # the usual ones would open files and FTP addresses too
        for handler in (
            urllib.request.ProxyHandler(),
            _Http(patience),
            _Https(patience, context),
            urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.HTTPErrorProcessor(),
            _Redirects(),
            _Logins(url, login(url, environ, indexes)),
        ):
            opener.add_handler(handler)
        self._opener = opener

    @contextlib.contextmanager
    def open(self, url: str, most: int, part: str = "") -> Iterator[Answer]:
        """Ask for an address, or for `part` of it (a Range); no more than `most` bytes are read of the answer.

        Raise OSError for every way in which that fails.
        """
        request = urllib.request.Request(_bare(url), headers={"Range": part} if part else {})
        try:
            found = self._opener.open(request, timeout=self._patience.window)
        except (http.client.HTTPException, ValueError) as error:
            raise RefusedAnswer(f"its answer is not one of HTTP: {error or type(error).__name__}") from None
        except urllib.error.HTTPError as error:
            error.close()  # it holds the connection
            raise
        if found is None:
            raise RefusedAnswer("its address is not one of http or https")
        with found as answer:
            yield Answer(answer, most)


class Answer:
    """What a server sends: `status`, `headers`, and the content as it comes."""

    def __init__(self, answer: http.client.HTTPResponse, most: int) -> None:
        self._answer, self._most = answer, most
        self.status: int = answer.status
        self.headers = answer.headers
        told = answer.headers.get("Content-Length", "")
        if told.isdigit() and int(told) > most:
            raise RefusedAnswer(f"it sends {told} bytes where {most} are the most")
        stream = getattr(answer.fp, "raw", None)
        self._stream = stream if isinstance(stream, _Stream) else None
        self._allow(4 * _CHUNK)

    def chunks(self) -> Iterator[bytes]:
        """The content; raise OSError as soon as it is longer than it may be, or ends early."""
        left = self._most
        try:
            while data := self._answer.read(min(_CHUNK, left + 1)):
                left -= len(data)
                self._allow(_FRAMES * len(data))
                if left < 0:
                    raise RefusedAnswer(f"it sends more than {self._most} bytes")
                yield data
        except (http.client.HTTPException, ValueError) as error:
            raise RefusedAnswer(f"it broke off: {error or type(error).__name__}") from None
        if self._answer.length:
            raise RefusedAnswer(f"it broke off {self._answer.length} bytes before its end")

    def read(self) -> bytes:
        """The whole content."""
        return b"".join(self.chunks())

    def _allow(self, count: int) -> None:
        """Let so many bytes more come over the wire: what surrounds the content is bounded by it."""
        if self._stream is not None:
            self._stream.room += count


def _bare(url: str) -> str:
    """An address without the login in it, and without what is not sent."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, parts.query, ""))


@functools.lru_cache(maxsize=8)  # to read all certificates of a system takes 20 ms
def _trusting(bundle: str | None) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=bundle)


class _Logins(urllib.request.BaseHandler):
    """Sends a login with the requests to its origin and no other: an index may redirect to a storage, or to anybody."""

    def __init__(self, url: str, known: Login | None) -> None:
        parts = urlsplit(url)
        if parts.username is not None:
            known = unquote(parts.username), unquote(parts.password or "")
        self._origin, self._known = origin(url), known

    def http_request(self, request: urllib.request.Request) -> urllib.request.Request:
        if self._known is not None and origin(request.full_url) == self._origin:
            import base64

            coded = base64.b64encode(":".join(self._known).encode()).decode()
            request.add_unredirected_header("Authorization", f"Basic {coded}")
        return request

    https_request = http_request


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows few redirects, to http and https alone."""

    max_redirections = max_repeats = _REDIRECTS

    def http_error_302(self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any) -> Any:
        try:
            return super().http_error_302(req, fp, code, msg, headers)
        except BaseException:
            fp.close()  # an address that cannot be read is found out before anything of ours is called
            raise

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        fp.close()
        where = origin(newurl)
        if where is None or not where[1]:
            raise RefusedAnswer(f"it sends on to an address that is not one of http or https: {newurl[:200]!r}")
        return super().redirect_request(req, fp, code, msg, headers, _bare(newurl))


class _Http(urllib.request.HTTPHandler):
    def __init__(self, patience: Patience) -> None:
        super().__init__()
        self._patience = patience

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(functools.partial(_Connection, patience=self._patience), req)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, patience: Patience, context: ssl.SSLContext) -> None:
        super().__init__(context=context)
        self._patience, self._trusted = patience, context

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        made = functools.partial(_SecureConnection, patience=self._patience, context=self._trusted)
        return self.do_open(made, req)


class _Connection(http.client.HTTPConnection):
    def __init__(self, *arguments: Any, patience: Patience, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._patience = patience

    def connect(self) -> None:
        super().connect()
        self.sock = _Watched(self.sock, self._patience)


class _SecureConnection(http.client.HTTPSConnection):
    def __init__(self, *arguments: Any, patience: Patience, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._patience = patience

    def connect(self) -> None:
        super().connect()
        self.sock = _Watched(self.sock, self._patience)


class _Watched:
    """A socket whose answer is read within patience, and which is shut when the work is stopped."""

    def __init__(self, held: socket.socket, patience: Patience) -> None:
        self._held, self._patience = held, patience
        held.settimeout(patience.window)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Stream(self._held, self._patience), 1 << 16)  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return getattr(self._held, name)  # type: ignore[no-any-return]


class _Stream(io.RawIOBase):
    """What comes from a socket: in each window as much as is the least, or an error."""

    def __init__(self, held: socket.socket, patience: Patience) -> None:
        # As for any file of a socket: it is closed when both are.
        self._held, self._file, self._patience = held, held.makefile("rb", buffering=0), patience
        self._until, self._count = time.monotonic() + patience.window, 0
        self.room = _HEAD

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        left = self._until - time.monotonic()
        if left <= 0:
            raise RefusedAnswer(f"it sends less than {self._patience.least} bytes in {self._patience.window:g} s")
        self._held.settimeout(left)
        with ending(self._shut):
            count = self._file.readinto(buffer) or 0
        self._count += count
        self.room -= count
        if self.room < 0:
            raise RefusedAnswer("it sends more around its content than an answer has")
        if self._count >= self._patience.least:
            self._until, self._count = time.monotonic() + self._patience.window, 0
        return count

    def _shut(self) -> None:
        socket.socket.shutdown(self._held, socket.SHUT_RDWR)  # that of TLS would take the session from its reader

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()
