"""An image of an OCI layout -> Rootfs. Each layer is unpacked once for all images, in a directory named by content.

Deletions in a layer become overlay's own marks, so that the kernel can stack the layers as they are.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from ..errors import ImageCannotStart
from ..system import atomic
from ..system.platform import Platform
from .rootfs import Rootfs

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"
_OPAQUE_MARK, _USER_S_MARK = "trusted.overlay.opaque", "user.overlay.opaque"


def find(reference: str, store: Path) -> Rootfs:
    """Return the image of `oci-layout:/path[@sha256:...]`."""
    path, _, digest = reference.removeprefix("oci-layout:").partition("@")
    place = Path(path)
    try:
        manifest = _manifest(place, digest)
        config = json.loads(_blob(place, manifest["config"]["digest"]).read_bytes())
        diff_ids = [str(diff) for diff in config["rootfs"]["diff_ids"]]
        layers = [
            _unpacked(_blob(place, layer["digest"]), str(layer.get("mediaType", "")), diff, store)
            for layer, diff in zip(manifest["layers"], diff_ids, strict=True)
        ]
    except (OSError, LookupError, TypeError, ValueError, tarfile.TarError) as error:
        raise ImageCannotStart(
            f"`{reference}` is not an image that can be unpacked: {error}", hint="build it again"
        ) from None
    settings = config.get("config") or {}
    return Rootfs(
        layers=tuple(str(layer) for layer in reversed(layers)),
        env=tuple(settings.get("Env") or ()),
        workdir=settings.get("WorkingDir") or "/",
        user=settings.get("User") or "",
        architecture=str(config.get("architecture") or ""),
    )


def _manifest(place: Path, digest: str) -> dict[str, Any]:
    if not digest:
        listed = json.loads((place / "index.json").read_text(encoding="utf-8"))["manifests"]
        if len(listed) != 1:
            raise ValueError(f"it has {len(listed)} images: name one with @sha256:...")
        digest = listed[0]["digest"]
    found: dict[str, Any] = json.loads(_blob(place, digest).read_bytes())
    if "manifests" in found:
        machine = Platform.of_this_machine().architecture
        fitting = [
            one["digest"] for one in found["manifests"] if one.get("platform", {}).get("architecture") == machine
        ]
        if not fitting:
            raise ValueError(f"it has no image for {machine}")
        return _manifest(place, fitting[0])
    return found


def _blob(place: Path, digest: str) -> Path:
    if not _DIGEST.fullmatch(digest):
        raise ValueError(f"`{digest}` is not a digest")
    return place / "blobs" / "sha256" / digest.removeprefix("sha256:")


def _unpacked(blob: Path, media_type: str, diff: str, store: Path) -> Path:
    """Return the directory of a layer. Unpack the layer if the directory does not exist."""
    if not _DIGEST.fullmatch(diff):
        raise ValueError(f"`{diff}` is not a digest")
    target = store / "layers" / diff.removeprefix("sha256:")
    if target.is_dir():
        return target
    atomic.private_directory(target.parent)
    with atomic.partial_directory(target.parent) as partial:
        partial.chmod(0o755)
        with _tar(blob, media_type) as stream:
            counted = _Hashed(stream)
            with tarfile.open(fileobj=counted, mode="r|", format=tarfile.PAX_FORMAT) as tar:  # type: ignore[call-overload]
                _extract(tar, partial)
            counted.drain()
        if counted.digest() != diff:
            raise ValueError(f"layer {blob.name[:12]} is damaged: its content does not match its digest")
        with contextlib.suppress(OSError):  # another process was first
            partial.rename(target)
    return target


class _Hashed:
    """A stream that computes the digest of all bytes read from it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._state = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._state.update(data)
        return data

    def drain(self) -> None:
        while self.read(1 << 20):
            pass

    def digest(self) -> str:
        return f"sha256:{self._state.hexdigest()}"


@contextlib.contextmanager
def _tar(blob: Path, media_type: str) -> Iterator[IO[bytes]]:
    with blob.open("rb", buffering=0) as raw:  # zstd reads on from the same position
        magic = raw.read(4)
        raw.seek(0)
        if magic[:2] == b"\x1f\x8b":
            with gzip.GzipFile(fileobj=raw) as stream:
                yield stream  # type: ignore[misc]
        elif magic == b"\x28\xb5\x2f\xfd":
            with _zstd(raw) as stream:
                yield stream
        else:
            yield raw


@contextlib.contextmanager
def _zstd(raw: IO[bytes]) -> Iterator[IO[bytes]]:
    if shutil.which("zstd") is None:
        raise ValueError("a layer is compressed with zstd, and the program `zstd` is not installed")
    process = subprocess.Popen(("zstd", "-dcq"), stdin=raw, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield process.stdout
    finally:
        process.stdout.close()
        process.wait()


def _extract(tar: tarfile.TarFile, root: Path) -> None:
    """Write the members below `root` and nowhere else, whatever their names are."""
    times: list[tuple[Path, float]] = []
    for member in tar:
        path = _place(root, member.name)
        if path == root:
            _own(path, member)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.name == _OPAQUE:
            os.setxattr(path.parent, _OPAQUE_MARK if _is_root() else _USER_S_MARK, b"y")
            continue
        if path.name.startswith(_WHITEOUT):
            os.mknod(path.with_name(path.name.removeprefix(_WHITEOUT)), 0o020000, os.makedev(0, 0))
            continue
        _write(tar, member, path, root)
        if member.isdir():
            times.append((path, member.mtime))
    for path, mtime in reversed(times):  # files written into a directory changed its time
        os.utime(path, (mtime, mtime))


def _place(root: Path, name: str) -> Path:
    """Return the path of a member. Raise ValueError for `..` and for a path through a link, which could lead out."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise ValueError(f"`{name}` leads out of the layer")
    path = root
    for part in parts[:-1]:
        path = path / part
        if path.is_symlink():
            raise ValueError(f"`{name}` leads through a link")
    return path / parts[-1] if parts else root


def _is_root() -> bool:
    """Return whether this process is root. Only root can set owners and make devices; a user owns all files."""
    return os.geteuid() == 0


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path, root: Path) -> None:
    if path.is_symlink() or (path.exists() and not (member.isdir() and path.is_dir())):
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    if member.isdir():
        path.mkdir(exist_ok=True)
    elif member.issym():
        path.symlink_to(member.linkname)
        if _is_root():
            os.chown(path, member.uid, member.gid, follow_symlinks=False)
        os.utime(path, (member.mtime, member.mtime), follow_symlinks=False)
        return
    elif member.islnk():
        os.link(_place(root, member.linkname), path, follow_symlinks=False)
        return
    elif member.isreg():
        source = tar.extractfile(member)
        assert source is not None
        with path.open("xb") as file:
            shutil.copyfileobj(source, file, 1 << 20)
    elif member.isfifo():
        os.mkfifo(path)
    elif (member.ischr() or member.isblk()) and not _is_root():
        return
    elif member.ischr() or member.isblk():
        kind = 0o020000 if member.ischr() else 0o060000
        os.mknod(path, kind | (member.mode & 0o7777), os.makedev(member.devmajor, member.devminor))
    else:
        raise ValueError(f"`{member.name}` has an unknown type")
    _own(path, member)
    if not member.isdir():
        os.utime(path, (member.mtime, member.mtime))


def _own(path: Path, member: tarfile.TarInfo) -> None:
    if not _is_root():
        # the user can then write directories and read files
        path.chmod(member.mode & 0o1777 | (0o700 if member.isdir() else 0o400))
        return
    os.chown(path, member.uid, member.gid)
    path.chmod(member.mode & 0o7777)  # after chown, which clears setuid
    for name, value in member.pax_headers.items():
        if name.startswith("SCHILY.xattr."):
            os.setxattr(path, name.removeprefix("SCHILY.xattr."), value.encode("utf-8", "surrogateescape"))
