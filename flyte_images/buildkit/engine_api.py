"""The part of a Docker Engine's own API that a build needs: find, load, save, configure, remove and push images.

Podman's service answers the same requests. Each call connects, sends one request and closes. Does not use grpc.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from typing import IO, Any, TypeVar
from urllib.parse import quote

from flyte_images_layers.record import record
from flyte_images_runtime.system.diagnostics import DEBUG, log
from flyte_images_runtime.system.http_exchange import BrokenExchangeError, Exchange
from flyte_images_runtime.system.image_ref import Digest, ImageRef

from ..errors import BuildError, EngineError
from .address import Docker
from .dial import PATIENCE, Connection, dial
from .error_hints import hint_for

Result = TypeVar("Result")

_LOADED = ("Loaded image: ", "Loaded image ID: ")


@record(kw_only=True)
class StoredImage:
    """An image in the engine's store. `tags` and `digests` are its names with a tag or with a manifest's digest."""

    id: str
    tags: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)


def find_image(engine: Docker, name: str, *, patience: float = PATIENCE) -> StoredImage | None:
    """Return the image `name` of the engine's store, or None. No registry is asked.

    Raises EngineError if the engine does not answer within `patience` seconds.
    """
    with _request(engine, "GET", f"{_path(name)}/json", patience=patience) as answer:
        if answer.status == 404:
            return None
        image = answer.json()
    return StoredImage(
        id=str(image["Id"]),
        tags=tuple(image.get("RepoTags") or ()),
        digests=tuple(image.get("RepoDigests") or ()),
        labels=(image.get("Config") or {}).get("Labels") or {},
    )


def engine_info(engine: Docker, *, patience: float = PATIENCE) -> dict[str, Any]:
    """Return the engine's description of itself and its host."""
    with _request(engine, "GET", "/info", patience=patience) as answer:
        return answer.json()


def save_image(engine: Docker, name: str, read: Callable[[IO[bytes]], Result]) -> Result | None:
    """Call `read` with the tarball of the image `name` (Docker 25 and newer: an OCI layout); None without the image."""
    with _request(engine, "GET", f"{_path(name)}/get") as answer:
        return None if answer.status == 404 else read(answer.file())


def load_image(engine: Docker, archive: Iterable[bytes]) -> tuple[str, ...]:
    """Load an image from a tarball (of an OCI layout, or written by `docker save`) and return its names.

    If `archive` raises an exception, the engine keeps nothing of the image.
    """
    names: list[str] = []
    with _request(engine, "POST", "/images/load?quiet=1", body=archive) as answer:
        for line in answer.lines():
            text = str(line.get("stream", "")).strip()
            names += [text.removeprefix(mark) for mark in _LOADED if text.startswith(mark)]
    if not names:
        raise BuildError(f"{engine} loaded the image without naming it", hint="is the engine's disk full?")
    return tuple(names)


def configure_image(engine: Docker, id: str, config: str, names: Sequence[str]) -> str:
    """Replace the image `id` by one with the same layers, the configuration `config` (JSON) and `names`; return its id.

    For engines with the old image store, which uses layers that it already has in place of the tarball's layers. So
    the tarball contains none.
    """
    with _request(engine, "GET", f"{_path(id)}/json") as answer:
        layers = list(answer.json()["RootFS"].get("Layers") or ())
    document = json.loads(config) | {"rootfs": {"type": "layers", "diff_ids": layers}}
    layers_of_history = sum(not entry.get("empty_layer") for entry in document.get("history") or ())
    if layers_of_history != len(layers):  # some steps have made no layer
        document.pop("history", None)
    data = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    digest = Digest.of(data)
    parts = [f"{number}/layer.tar" for number in range(len(layers))]
    manifest = json.dumps([{"Config": f"{digest.hex}.json", "RepoTags": list(names), "Layers": parts}]).encode()
    load_image(engine, [tarball({f"{digest.hex}.json": data, "manifest.json": manifest})])
    if id != str(digest):
        remove_image(engine, id)
    return str(digest)


def tarball(files: Mapping[str, bytes]) -> bytes:
    """Return a tarball of a few small files."""
    import tarfile

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, data in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def remove_image(engine: Docker, name: str, *, patience: float = PATIENCE) -> None:
    """Remove the name from the image; an image without another name is deleted unless a container uses it."""
    with _request(engine, "DELETE", _path(name), patience=patience) as answer:
        if answer.status not in (200, 404, 409):
            answer.json()


def push_image(engine: Docker, name: str, *, login: Mapping[str, str] | None = None) -> None:
    """Make the engine push its image `name`.

    `login` has `username` and `password`, or `identitytoken`; None pushes without a login.
    """
    import base64

    ref = ImageRef.parse(name)
    auth = base64.urlsafe_b64encode(json.dumps(dict(login or {})).encode()).decode()
    path = f"{_path(ref._replace(tag='').familiar)}/push?tag={quote(ref.tag or 'latest')}"
    with _request(engine, "POST", path, auth=auth) as answer:
        for _ in answer.lines():
            pass  # the answer ends when the push has ended; an error in the answer is raised


def _path(name: str) -> str:
    """Return the API's path of an image.

    >>> _path("docker.io/library/app:1"), _path("docker.io/team/app:1")
    ('/images/app:1', '/images/team/app:1')
    """
    return f"/images/{quote(ImageRef.parse(name).familiar, safe='/:@')}"


@contextlib.contextmanager
def _request(
    engine: Docker,
    method: str,
    path: str,
    *,
    patience: float | None = None,
    body: Iterable[bytes] | None = None,
    auth: str | None = None,
) -> Iterator[_Answer]:
    """Send one request on a new connection and yield the answer; each read waits up to `patience` seconds."""
    headers = {"X-Registry-Auth": auth} if auth else {}
    if body is not None:
        headers["Content-Type"] = "application/x-tar"
    log("asking %s: %s %s", engine, method, path, level=DEBUG)
    connection = dial(engine.api)
    try:
        connection.socket.settimeout(patience)
        exchange = Exchange(connection.socket)
        try:
            exchange.request(method, path, headers=headers, body=body)
        except BrokenExchangeError as error:
            raise _no_answer(engine, connection, error) from None
        with exchange:
            yield _Answer(engine, path, connection, exchange)
    finally:
        connection.close()


def _no_answer(engine: Docker, connection: Connection, error: BrokenExchangeError) -> EngineError:
    return EngineError(
        f"{engine} did not answer: {connection.complaint() or error}", hint="is a Docker Engine running there?"
    )


class _Answer:
    """The answer to one request. Methods raise EngineError for a refusal and for a connection that breaks."""

    def __init__(self, engine: Docker, path: str, connection: Connection, exchange: Exchange) -> None:
        self._engine, self._path, self._connection, self._exchange = engine, path, connection, exchange
        self.status = exchange.status

    def file(self) -> IO[bytes]:
        """Return the content as a file."""
        self._check()
        return self._exchange.file()

    def json(self) -> dict[str, Any]:
        """Return the whole content."""
        content = b"".join(self._content())
        try:
            document = dict(json.loads(content))
        except ValueError:
            document = {"message": content.decode("utf-8", "replace").strip()}
        if self.status >= 400:
            raise EngineError(f"{self._engine} refused `{self._path}`: {document.get('message')}")
        return document

    def lines(self) -> Iterator[dict[str, Any]]:
        """Yield the messages of the content as they arrive. Raises BuildError for a message that is an error."""
        self._check()
        pending = b""
        for piece in self._content():
            *whole, pending = (pending + piece).split(b"\n")
            for line in filter(None, map(bytes.strip, whole)):
                yield self._message(line)
        if pending.strip():
            yield self._message(pending)

    def _check(self) -> None:
        if self.status >= 400:
            self.json()

    def _message(self, line: bytes) -> dict[str, Any]:
        message = dict(json.loads(line))
        if error := message.get("error"):
            raise BuildError(f"{self._engine}: {error}", hint=hint_for(str(error)))
        return message

    def _content(self) -> Iterator[bytes]:
        try:
            yield from self._exchange.content()
        except BrokenExchangeError as error:
            raise _no_answer(self._engine, self._connection, error) from None
