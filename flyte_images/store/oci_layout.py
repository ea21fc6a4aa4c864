"""An OCI image layout on disk: blobs by digest, images, the index of names, and the layout as a tar.

A blob gets its name only when it is whole, so any number of processes may write the same layout at once. `read` refuses
a blob that was damaged later; writing the blob again repairs it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from flyte_images_layers.record import record
from flyte_images_runtime.system import atomic
from flyte_images_runtime.system.image_ref import Digest

from ..errors import EngineError, FlyteImagesError

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER_TAR = "application/vnd.oci.image.layer.v1.tar"
LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"

INDEX = "application/vnd.oci.image.index.v1+json"
TAG = "org.opencontainers.image.ref.name"

_CHUNK = 1 << 20


@record
class Descriptor:
    """The type, digest and size of a blob.

    >>> Descriptor(CONFIG, "sha256:" + "0" * 64, 2).json()["size"]
    2
    """

    media_type: str
    digest: str
    size: int

    def json(self) -> dict[str, str | int]:
        """Return the form of the descriptor in manifests and indexes."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}


@record
class Layer:
    """A layer of an image: its blob, and the digest of its tar before compression."""

    descriptor: Descriptor
    diff_id: str


@record
class Layout:
    """An OCI image layout in a directory. The first write makes the directory.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     layout = Layout(Path(place))
    ...     blob = layout.put_blob(b"{}", CONFIG)
    ...     layout.read(blob.digest)
    b'{}'
    """

    directory: Path

    def path(self, digest: str) -> Path:
        """Return the path of the blob of that digest, whether or not it exists."""
        try:
            return self.directory / "blobs" / "sha256" / Digest.parse(digest).hex
        except ValueError as error:
            raise FlyteImagesError(str(error)) from None

    def has(self, digest: str) -> bool:
        """Return whether the blob exists, without reading it: see `complete` and `read`."""
        return self.path(digest).is_file()

    def read(self, digest: str) -> bytes:
        """Return the content of a blob, checked against its digest. For manifests and configurations, not for layers.

        Raise FlyteImagesError if the blob is missing or damaged.
        """
        path = self.path(digest)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise FlyteImagesError(
                f"blob `{digest}` cannot be read from `{self.directory}`: {error.strerror}",
                hint="build again with --upgrade; for a base: `flyte-images base build SUITE`",
            ) from None
        if str(Digest.of(data)) != digest:
            raise FlyteImagesError(f"`{path}` is damaged: its content does not fit its digest", hint="remove the file")
        return data

    def manifest(self, digest: str) -> dict[str, Any]:
        """Return the manifest of that digest."""
        return dict(json.loads(self.read(digest)))

    def config(self, digest: str) -> dict[str, Any]:
        """Return the image configuration that the manifest of that digest names."""
        return dict(json.loads(self.read(self.manifest(digest)["config"]["digest"])))

    def complete(self, digest: str) -> bool:
        """Return whether the manifest can be read, and all blobs of the image exist in full size."""
        try:
            manifest = self.manifest(digest)
            parts = [manifest["config"], *manifest["layers"]]
            return all(self.path(part["digest"]).stat().st_size == part["size"] for part in parts)
        except (FlyteImagesError, OSError, ValueError, LookupError, TypeError):
            return False

    def put_blob(self, data: bytes, media_type: str) -> Descriptor:
        """Write a blob. A damaged blob of the same digest is replaced."""
        return self._write((data,), media_type)

    def put_file(self, path: Path, media_type: str) -> Descriptor:
        """Write the content of a file as a blob."""
        with open(path, "rb") as source:
            return self._write(iter(lambda: source.read(_CHUNK), b""), media_type)

    def put_chunks(self, chunks: Iterable[bytes], media_type: str) -> Descriptor:
        """Write a blob from chunks. If the chunks raise, nothing is written."""
        return self._write(chunks, media_type)

    def put_image(self, layers: Sequence[Layer], config: Mapping[str, Any]) -> Descriptor:
        """Write the image of `layers`, whose blobs exist, and return the descriptor of its manifest.

        `config`: the image configuration (`architecture`, `os`, `created`, `config`) without its layers.
        """
        for layer in layers:
            if not self.has(layer.descriptor.digest):
                raise FlyteImagesError(f"the blob `{layer.descriptor.digest}` is not in `{self.directory}`")
        diff_ids = [layer.diff_id for layer in layers]
        config_blob = self.put_blob(_json({**config, "rootfs": {"type": "layers", "diff_ids": diff_ids}}), CONFIG)
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config_blob.json(),
            "layers": [layer.descriptor.json() for layer in layers],
        }
        return self.put_blob(_json(manifest), MANIFEST)

    def put_filled(self, fill: Callable[[BinaryIO], str], media_type: str) -> Descriptor:
        """Write a blob: `fill` writes it to an empty file and returns its digest."""
        try:
            atomic.private_directory(self.directory / "blobs" / "sha256")
            self._mark()
            with atomic.partial_file(self.directory) as (path, file):
                digest = fill(file)
                file.flush()
                size = os.fstat(file.fileno()).st_size
                os.fsync(file.fileno())  # after a crash, a name must not belong to half a blob
                path.replace(self.path(digest))
        except OSError as error:
            raise FlyteImagesError(
                f"`{self.directory}` cannot be written: {error.strerror}",
                hint="free space there, check its permissions, or set FLYTE_IMAGES_CACHE to another directory",
            ) from None
        return Descriptor(media_type, digest, size)

    def _write(self, chunks: Iterable[bytes], media_type: str) -> Descriptor:
        def fill(file: BinaryIO) -> str:
            state = hashlib.sha256()
            for chunk in chunks:
                state.update(chunk)
                file.write(chunk)
            return str(Digest(state.hexdigest()))

        return self.put_filled(fill, media_type)

    def _mark(self) -> None:
        """Write the two files that mark a directory as a layout, if they are missing."""
        for name, text in _MARKS.items():
            if not (self.directory / name).exists():
                with atomic.partial_file(self.directory) as (path, file):
                    file.write(text.encode())
                    file.flush()
                    with contextlib.suppress(FileExistsError):  # never replace the file of another process
                        os.link(path, self.directory / name)

    def tagged(self, tag: str) -> dict[str, Any] | None:
        """Return the descriptor of the manifest with the name `tag` in the index, or None."""
        for descriptor in self._index().get("manifests", ()):
            if descriptor.get("annotations", {}).get(TAG) == tag:
                return dict(descriptor)
        return None

    def put_name(self, descriptor: Mapping[str, Any], *, tag: str | None) -> None:
        """Add a manifest to the index, and move `tag` to it. Several processes may do this at once."""
        self.directory.mkdir(parents=True, exist_ok=True)
        entry = {key: descriptor[key] for key in ("mediaType", "digest", "size")}
        if tag is not None:
            entry["annotations"] = {TAG: tag}
        with (self.directory / "oci-layout").open("a+") as marker:
            fcntl.flock(marker, fcntl.LOCK_EX)
            if not marker.tell():
                marker.write(_MARKS["oci-layout"])
            others = [
                it
                for it in self._index().get("manifests", ())
                if it != entry and (tag is None or it.get("annotations", {}).get(TAG) != tag)
            ]
            index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [*others, entry]}
            atomic.write(self.directory / "index.json", json.dumps(index, indent=1).encode(), mode=0o666)

    def _index(self) -> dict[str, Any]:
        path = self.directory / "index.json"
        try:
            return dict(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise EngineError(
                f"`{path}` is damaged: {error}", hint="remove the directory; the next build makes it again"
            ) from None

    def parts(self, digest: str) -> list[dict[str, Any]]:
        """Return the descriptors of an image's configuration and layers; none if its manifest cannot be read."""
        try:
            manifest = self.manifest(digest)
            return [manifest["config"], *manifest["layers"]]
        except (FlyteImagesError, ValueError, LookupError):
            return []

    def archive(self, digest: str, name: str) -> Iterator[bytes]:
        """Yield the tar of a layout with one image, which an engine loads as `name`."""
        manifest = self.read(digest)
        descriptor = {
            "mediaType": json.loads(manifest).get("mediaType", MANIFEST),
            "digest": digest,
            "size": len(manifest),
            "annotations": {"io.containerd.image.name": name},
        }
        small = {
            "oci-layout": _MARKS["oci-layout"].encode(),
            "index.json": json.dumps({"schemaVersion": 2, "manifests": [descriptor]}).encode(),
            f"blobs/sha256/{Digest.parse(digest).hex}": manifest,
        }
        for path, data in small.items():
            yield _tar_header(path, len(data)) + data + bytes(-len(data) % 512)
        for part in self.parts(digest):
            blob = self.path(part["digest"])
            with blob.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                yield _tar_header(f"blobs/sha256/{blob.name}", size)
                while chunk := file.read(_CHUNK):
                    yield chunk
                yield bytes(-size % 512)
        yield bytes(1024)


_MARKS = {
    "oci-layout": '{"imageLayoutVersion":"1.0.0"}',
    "index.json": f'{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[]}}',
}


def _tar_header(path: str, size: int) -> bytes:
    import tarfile  # loaded only for archives

    entry = tarfile.TarInfo(path)
    entry.size = size
    return entry.tobuf()


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
