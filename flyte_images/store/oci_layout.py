"""An OCI image layout on disk: blobs by digest, and images made of them.

A blob has its name only when it is whole, so any number of processes may write the same layout at once. What was
damaged later is never handed out: `read` refuses it by name, and to put it again heals it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from flyte_images_layers.records import dataclass

from ..errors import FlyteImagesError

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER_TAR = "application/vnd.oci.image.layer.v1.tar"
LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"

_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What a blob is, and its name.

    >>> Descriptor(CONFIG, "sha256:" + "0" * 64, 2).json()["size"]
    2
    """

    media_type: str
    digest: str
    size: int

    def json(self) -> dict[str, str | int]:
        """The form that it has in manifests and indexes."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer of an image: its blob, and the digest of its tar before compression."""

    descriptor: Descriptor
    diff_id: str


@dataclass(frozen=True, slots=True)
class Layout:
    """An OCI image layout in a directory, which is made when something is put there.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     layout = Layout(Path(place))
    ...     blob = layout.put_blob(b"{}", CONFIG)
    ...     layout.read(blob.digest)
    b'{}'
    """

    directory: Path

    def path(self, digest: str) -> Path:
        """Where the blob of that digest is, if it is there."""
        match = _DIGEST.fullmatch(digest)
        if match is None:
            raise FlyteImagesError(f"not a sha256 digest: `{digest}`")
        return self.directory / "blobs" / "sha256" / match[1]

    def has(self, digest: str) -> bool:
        """Whether there is a blob of that name. Its content is not read: see `complete` and `read`."""
        return self.path(digest).is_file()

    def read(self, digest: str) -> bytes:
        """Return a blob whose content fits its name; for manifests and configurations, not for layers."""
        path = self.path(digest)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise FlyteImagesError(
                f"blob `{digest}` cannot be read from `{self.directory}`: {error.strerror}",
                hint="make what it belongs to again (a base: flyte-images base build)",
            ) from None
        if f"sha256:{hashlib.sha256(data).hexdigest()}" != digest:
            raise FlyteImagesError(f"`{path}` is damaged: its content does not fit its name", hint="remove the file")
        return data

    def manifest(self, digest: str) -> dict[str, Any]:
        """The manifest of that digest."""
        return dict(json.loads(self.read(digest)))

    def config(self, digest: str) -> dict[str, Any]:
        """The image configuration that the manifest of that digest names."""
        return dict(json.loads(self.read(self.manifest(digest)["config"]["digest"])))

    def complete(self, digest: str) -> bool:
        """Whether the image of that manifest can be read, and all its blobs are there in full size."""
        try:
            named = self.manifest(digest)
            parts = [named["config"], *named["layers"]]
            return all(self.path(part["digest"]).stat().st_size == part["size"] for part in parts)
        except (FlyteImagesError, OSError, ValueError, LookupError, TypeError):
            return False

    def put_blob(self, data: bytes, media_type: str) -> Descriptor:
        """Write a blob, in the place of a damaged one too."""
        return self._write((data,), media_type)

    def put_file(self, path: Path, media_type: str) -> Descriptor:
        """Write a blob that is in a file. The file stays as it is."""
        with open(path, "rb") as source:
            return self._write(iter(lambda: source.read(_CHUNK), b""), media_type)

    def put_chunks(self, chunks: Iterable[bytes], media_type: str) -> Descriptor:
        """Write a blob that comes piece by piece; where the pieces end with an exception, nothing is written."""
        return self._write(chunks, media_type)

    def put_image(self, layers: Sequence[Layer], config: Mapping[str, Any]) -> Descriptor:
        """Write the image of `layers`, whose blobs are there; return its manifest.

        `config` is an image configuration (`architecture`, `os`, `created`, `config`); the layers are put in here.
        """
        for layer in layers:
            if not self.has(layer.descriptor.digest):
                raise FlyteImagesError(f"there is no blob `{layer.descriptor.digest}` in `{self.directory}`")
        diff_ids = [layer.diff_id for layer in layers]
        described = self.put_blob(_json({**config, "rootfs": {"type": "layers", "diff_ids": diff_ids}}), CONFIG)
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": described.json(),
            "layers": [layer.descriptor.json() for layer in layers],
        }
        return self.put_blob(_json(manifest), MANIFEST)

    def _write(self, chunks: Iterable[bytes], media_type: str) -> Descriptor:
        state, size = hashlib.sha256(), 0
        try:
            (self.directory / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
            for name, text in _MARKS.items():
                if not (self.directory / name).exists():
                    with self._temporary() as (path, file):
                        file.write(text.encode())
                        file.flush()
                        with contextlib.suppress(FileExistsError):  # never over another's
                            os.link(path, self.directory / name)
            with self._temporary() as (path, file):
                for chunk in chunks:
                    state.update(chunk)
                    size += file.write(chunk)
                file.flush()
                os.fsync(file.fileno())  # a name that survives a crash must not stand for half a blob
                digest = f"sha256:{state.hexdigest()}"
                path.replace(self.path(digest))
        except OSError as error:
            raise FlyteImagesError(
                f"`{self.directory}` cannot be written: {error.strerror}",
                hint="make room there, check its permissions, or set FLYTE_IMAGES_CACHE to another directory",
            ) from None
        return Descriptor(media_type, digest, size)

    @contextlib.contextmanager
    def _temporary(self) -> Iterator[tuple[Path, BinaryIO]]:
        """A new file beside the blobs, which is gone at the end unless it was renamed."""
        path = self.directory / "blobs" / "sha256" / f".partial-{os.getpid()}-{os.urandom(4).hex()}"
        try:
            with open(path, "xb") as file:
                yield path, file
        finally:
            path.unlink(missing_ok=True)


_MARKS = {
    "oci-layout": '{"imageLayoutVersion":"1.0.0"}',
    "index.json": '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}',
}


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
