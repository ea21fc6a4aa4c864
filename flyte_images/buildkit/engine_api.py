"""The little of a Docker Engine's own API that a build needs: is an image there, take one in, push one. Knows no grpc.

Podman's service answers the same requests. Each call dials, asks one thing and closes.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from typing import IO, Any, TypeVar
from urllib.parse import quote

from flyte_images_layers.record import record
from flyte_images_runtime.system.diagnostics import DEBUG, log

from ..errors import BuildError, EngineError
from .address import Docker
from .dial import PATIENCE, Connection, dial
from .error_hints import hint_for

Result = TypeVar("Result")

_LOADED = ("Loaded image: ", "Loaded image ID: ")


@record(kw_only=True)
class StoredImage:
    """An image that the engine has. `tags` and `digests` are the names that it goes by, with a tag or a manifest's
    digest."""

    id: str
    tags: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)


def find_image(engine: Docker, name: str, *, patience: float = PATIENCE) -> StoredImage | None:
    """The image `name` of the engine's store, or None; no registry is asked."""
    with _Exchange(engine, "GET", f"/images/{quote(name, safe='/:@')}/json", patience=patience) as exchange:
        exchange.send(())
        if exchange.status == 404:
            return None
        found = exchange.json()
    return StoredImage(
        id=str(found["Id"]),
        tags=tuple(found.get("RepoTags") or ()),
        digests=tuple(found.get("RepoDigests") or ()),
        labels=(found.get("Config") or {}).get("Labels") or {},
    )


def engine_info(engine: Docker, *, patience: float = PATIENCE) -> dict[str, Any]:
    """What the engine says of itself and of its host."""
    with _Exchange(engine, "GET", "/info", patience=patience) as exchange:
        exchange.send(())
        return exchange.json()


def save_image(engine: Docker, name: str, read: Callable[[IO[bytes]], Result]) -> Result | None:
    """Let `read` read the tarball of the image `name` (Docker 25 and newer: an OCI layout); None if it is not there."""
    with _Exchange(engine, "GET", f"/images/{quote(name, safe='/:@')}/get", patience=None) as exchange:
        exchange.send(())
        if exchange.status == 404:
            return None
        return read(exchange.content())


def load_image(engine: Docker, archive: Iterable[bytes]) -> tuple[str, ...]:
    """Give the engine an image as a tarball (of an OCI layout, or as `docker save` writes it); return its names.

    Where `archive` raises, the engine is left without the image.
    """
    names: list[str] = []
    with _Exchange(engine, "POST", "/images/load?quiet=1", patience=None) as exchange:
        exchange.send(archive)
        for line in exchange.lines():
            said = str(line.get("stream", "")).strip()
            names += [said.removeprefix(mark) for mark in _LOADED if said.startswith(mark)]
    if not names:
        raise BuildError(f"{engine} took the image in and did not name it", hint="has its disk room left?")
    return tuple(names)


def configure_image(engine: Docker, id: str, config: str, names: Sequence[str]) -> str:
    """Make the image of the layers of `id` and of `config` (JSON), under `names`; return its id. `id` itself goes.

    For engines with the old store. They take the layers that they have for those of the tarball, which holds none.
    """
    with _Exchange(engine, "GET", f"/images/{quote(id, safe=':')}/json", patience=PATIENCE) as exchange:
        exchange.send(())
        layers = list(exchange.json()["RootFS"].get("Layers") or ())
    described = json.loads(config) | {"rootfs": {"type": "layers", "diff_ids": layers}}
    said = sum(not entry.get("empty_layer") for entry in described.get("history") or ())
    if said != len(layers):  # some steps have left nothing
        described.pop("history", None)
    data = json.dumps(described, sort_keys=True, separators=(",", ":")).encode()
    name = hashlib.sha256(data).hexdigest()
    parts = [f"{number}/layer.tar" for number in range(len(layers))]
    manifest = json.dumps([{"Config": f"{name}.json", "RepoTags": list(names), "Layers": parts}]).encode()
    load_image(engine, [tarball({f"{name}.json": data, "manifest.json": manifest})])
    if id != f"sha256:{name}":
        remove_image(engine, id)
    return f"sha256:{name}"


def tarball(files: Mapping[str, bytes]) -> bytes:
    """A tarball of a few small files."""
    import tarfile

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, data in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def remove_image(engine: Docker, name: str, *, patience: float = PATIENCE) -> None:
    """Take the name from the image; without another name it is gone, unless something stands on it."""
    with _Exchange(engine, "DELETE", f"/images/{quote(name, safe='/:@')}", patience=patience) as exchange:
        exchange.send(())
        if exchange.status not in (200, 404, 409):
            exchange.json()


def push_image(engine: Docker, name: str, *, login: Mapping[str, str] | None = None) -> None:
    """Let the engine push its image `name`.

    `login` has `username` and `password`, or `identitytoken`; without one the registry takes anybody.
    """
    import base64

    repository, tag = _split_tag(name)
    auth = base64.urlsafe_b64encode(json.dumps(dict(login or {})).encode()).decode()
    path = f"/images/{quote(repository, safe='/:')}/push?tag={quote(tag)}"
    with _Exchange(engine, "POST", path, patience=None, auth=auth) as exchange:
        exchange.send(())
        for _ in exchange.lines():
            pass  # it ends when all is there; an error is raised


class _HeardEnoughError(Exception):
    """The engine has closed its ear before it had read all: what it said is there to be read."""


class _Exchange:
    """One request and its answer over a connection of its own."""

    def __init__(
        self, engine: Docker, method: str, path: str, *, patience: float | None, auth: str | None = None
    ) -> None:
        self._engine, self._method, self._path = engine, method, path
        self._headers = {"Host": "docker", "Connection": "close"} | ({"X-Registry-Auth": auth} if auth else {})
        self._patience = patience
        self.status = 0

    def __enter__(self) -> _Exchange:
        log("asking %s: %s %s", self._engine, self._method, self._path, level=DEBUG)
        self._connection: Connection = dial(self._engine.api)
        self._connection.socket.settimeout(self._patience)
        self._answer: IO[bytes] = self._connection.socket.makefile("rb")
        return self

    def __exit__(self, *_: object) -> None:
        self._answer.close()
        self._connection.close()

    def send(self, body: Iterable[bytes]) -> None:
        """Send the request, and read its answer up to where the content begins."""
        kind = {"Content-Type": "application/x-tar", "Transfer-Encoding": "chunked"} if self._method == "POST" else {}
        head = "".join(f"{name}: {value}\r\n" for name, value in (self._headers | kind).items())
        with contextlib.suppress(_HeardEnoughError):
            self._write(f"{self._method} {self._path} HTTP/1.1\r\n{head}\r\n".encode())
            if kind:
                for chunk in filter(None, body):
                    self._write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
                self._write(b"0\r\n\r\n")
        try:
            self._read_head()
        except OSError as error:
            raise self._silent(error) from None

    def _write(self, data: bytes) -> None:
        try:
            self._connection.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            raise _HeardEnoughError from None
        except OSError as error:
            raise self._silent(error) from None

    def _silent(self, error: OSError) -> EngineError:
        said = self._connection.said() or error.strerror or str(error)
        return EngineError(f"{self._engine} did not answer: {said}", hint="is a Docker Engine running there?")

    def _read_head(self) -> None:
        words = self._answer.readline().split(None, 2)
        if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
            raise ConnectionError("the connection was closed")
        self.status = int(words[1])
        headers = {}
        while line := self._answer.readline().strip():
            name, _, value = line.partition(b":")
            headers[name.strip().lower()] = value.strip().lower()
        self._is_chunked = headers.get(b"transfer-encoding") == b"chunked"

    def content(self) -> IO[bytes]:
        """The answer as it comes; raises EngineError if it is a refusal."""
        if self.status >= 400:
            self.json()
        return io.BufferedReader(_Pieces(self._content()))

    def json(self) -> dict[str, Any]:
        """The whole answer; raises EngineError if it is a refusal."""
        content = b"".join(self._content())
        try:
            found = dict(json.loads(content))
        except ValueError:
            found = {"message": content.decode("utf-8", "replace").strip()}
        if self.status >= 400:
            raise EngineError(f"{self._engine} refused `{self._path}`: {found.get('message')}")
        return found

    def lines(self) -> Iterator[dict[str, Any]]:
        """The answer's messages as they come; raises BuildError where one of them is an error."""
        if self.status >= 400:
            self.json()
        rest = b""
        for chunk in self._content():
            *whole, rest = (rest + chunk).split(b"\n")
            for line in filter(None, map(bytes.strip, whole)):
                yield self._message(line)
        if rest.strip():
            yield self._message(rest)

    def _message(self, line: bytes) -> dict[str, Any]:
        message = dict(json.loads(line))
        if error := message.get("error"):
            raise BuildError(f"{self._engine}: {error}", hint=hint_for(str(error)))
        return message

    def _content(self) -> Iterator[bytes]:
        if not self._is_chunked:
            while data := self._answer.read(1 << 16):
                yield data
            return
        while size := int(self._answer.readline().partition(b";")[0] or b"0", 16):
            yield self._answer.read(size)
            self._answer.readline()


class _Pieces(io.RawIOBase):
    """A file that is read from pieces."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._rest = pieces, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # a writable buffer, which has no type before Python 3.12
        self._rest = self._rest or next(self._pieces, b"")
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size


def _split_tag(name: str) -> tuple[str, str]:
    """A name and its tag.

    >>> _split_tag("127.0.0.1:5000/team/app:1"), _split_tag("app")
    (('127.0.0.1:5000/team/app', '1'), ('app', 'latest'))
    """
    repository, _, tag = name.rpartition(":")
    return (repository, tag) if repository and "/" not in tag else (name, "latest")
