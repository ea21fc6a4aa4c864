"""Image reference -> Rootfs: the directories of the image's files on this machine, without a copy where possible.

    name:tag            an image of Docker: the snapshot that its containerd unpacked, read where it is
    dir:/path           an unpacked root filesystem; `dir:/` is that of the machine
    oci-layout:/path    an OCI layout (`@sha256:...` names one of its images): each layer is unpacked once, by content

What was found is recorded. Later calls read the record and check that the directories still exist.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from ..errors import ImageCannotStart, TaskError
from ..system import atomic
from . import snapshots, views
from .rootfs import Rootfs, from_json

Inspect = Callable[[str], "dict[str, Any] | None"]
"""Asks Docker for the description of an image. Returns None for a name that Docker does not have."""

Save = Callable[[str], IO[bytes]]
"""Asks Docker for a whole image, as an archive of an OCI layout."""

_FRESHNESS = 1.0  # seconds until Docker is asked again what a name means, so that many short tasks do not all ask
_OF_A_LAYOUT = re.compile(r"index\.json|blobs/sha256/[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Images:
    """The images of this machine. `store` has records and unpacked layers; `inspect` and `save` ask Docker, if any."""

    store: Path
    inspect: Inspect | None = None
    save: Save | None = None
    recent: dict[str, tuple[float, Rootfs]] = field(default_factory=dict, compare=False, repr=False)

    def find(self, reference: str) -> Rootfs:
        """Return the image's files. Raise ImageCannotStart with the reason if this machine cannot reach them."""
        if reference.startswith("dir:"):
            return self._directory(reference)
        if reference.startswith("oci-layout:"):
            from . import layout  # the modules that unpack are loaded only when needed

            rootfs = replace(layout.find(reference, self.store), identity=reference)
            # so that prune knows the owner of the layers
            atomic.write(self._record(reference), rootfs.to_json().encode())
            return rootfs
        asked, recorded = self.recent.get(reference, (0.0, None))
        if recorded is not None and time.monotonic() - asked < _FRESHNESS and recorded.is_there():
            return recorded
        described = self.inspect(reference) if self.inspect is not None else None
        if described is None:
            raise ImageCannotStart(f"the engine has no image {reference}", hint="build it, or pull it")
        rootfs = self._of_docker(reference, described)
        self.recent[reference] = (time.monotonic(), rootfs)
        return rootfs

    def _record(self, identity: str) -> Path:
        return self.store / f"{hashlib.sha256(identity.encode()).hexdigest()}.json"

    def _directory(self, reference: str) -> Rootfs:
        path = Path(reference.removeprefix("dir:"))
        if not path.is_absolute() or not path.is_dir():
            raise ImageCannotStart(
                f"`{path}` is not an absolute path of a directory", hint="dir:/path/of/a/root/filesystem"
            )
        return Rootfs(layers=(str(path.resolve()),), architecture="")

    def _of_docker(self, reference: str, described: dict[str, Any]) -> Rootfs:
        layers = [str(layer) for layer in (described.get("RootFS") or {}).get("Layers") or ()]
        if not layers:
            raise ImageCannotStart(f"image {reference} has no layers", hint="build it on a base")
        identity = str(described.get("Id"))
        record = self._record(identity)
        with contextlib.suppress(OSError, ValueError):
            recorded = from_json(record.read_text(encoding="utf-8"))
            if recorded.is_there():
                if recorded.kept:
                    views.in_use(record, recorded.kept)
                return recorded
        places, kept = self._unpacked(reference, described, layers)
        rootfs = Rootfs(
            layers=places,
            env=tuple((described.get("Config") or {}).get("Env") or ()),
            workdir=(described.get("Config") or {}).get("WorkingDir") or "/",
            user=(described.get("Config") or {}).get("User") or "",
            architecture=str(described.get("Architecture") or ""),
            identity=identity,
            kept=kept,
        )
        atomic.write(record, rootfs.to_json().encode())
        # Docker cannot free layers that are kept here, so each new image is the time to release those that Docker
        # removed.
        threading.Thread(target=self._prune_quietly, name="flyte-images-prune", daemon=True).start()
        return rootfs

    def _prune_quietly(self) -> None:
        with contextlib.suppress(OSError, TaskError):
            self.prune()
        for view in views.abandoned():
            view.remove()

    def _unpacked(self, reference: str, described: dict[str, Any], layers: list[str]) -> tuple[tuple[str, ...], str]:
        """Return the directories, and the key under which containerd keeps them for this store."""
        if places := _graph_driver(described):
            return places, ""
        chain = chain_id(layers)
        labels = views.labels(self.store)  # another store has views with its own labels
        key = f"{views.PREFIX}{labels[views.STORE]}-{chain.removeprefix('sha256:')}"
        reasons = []
        for socket in snapshots.reachable():
            try:
                directories = snapshots.Snapshots(socket).view(key, chain, labels)
            except snapshots.NoSnapshot as error:
                reasons.append(str(error))
                continue
            if all(Path(layer).is_dir() for layer in directories):
                return directories, key
            reasons.append(f"{socket}: its directories are not on this machine")
        if self.save is not None:
            return self._saved(reference, self.save), ""
        raise ImageCannotStart(
            f"the files of image {reference} are out of reach: {'; '.join(reasons) or 'no containerd answers here'}",
            hint="use the docker engine, or Docker with the containerd image store (as root, on the same machine)",
        )

    def _saved(self, reference: str, save: Save) -> tuple[str, ...]:
        """Save the image from the engine, and unpack it. Its layers are kept by content, so this happens once."""
        import tarfile

        from . import layout

        atomic.private_directory(self.store)
        with atomic.partial_directory(self.store) as place:
            with tarfile.open(fileobj=save(reference), mode="r|") as tar:
                for member in tar:
                    source = tar.extractfile(member) if _OF_A_LAYOUT.fullmatch(member.name) else None
                    if source is not None:
                        target = place / member.name
                        target.parent.mkdir(parents=True, exist_ok=True)
                        with target.open("xb") as file:
                            shutil.copyfileobj(source, file, 1 << 20)
            return layout.find(f"oci-layout:{place}", self.store).layers

    def release(self) -> None:
        """Release everything in the store, even what other processes use: the store is given up."""
        for record in self.store.glob("*.json"):
            with contextlib.suppress(OSError, ValueError):
                _drop(from_json(record.read_text(encoding="utf-8")))
            record.unlink(missing_ok=True)
        shutil.rmtree(self.store / "layers", ignore_errors=True)

    def forget(self, record: Path) -> None:
        """Remove the record of one image, and its unpacked layers unless another record names them."""
        with contextlib.suppress(OSError, ValueError):
            _drop(from_json(record.read_text(encoding="utf-8")))
        record.unlink(missing_ok=True)
        self.prune()

    def _is_gone(self, identity: str) -> bool:
        if identity.startswith("oci-layout:"):
            return not Path(identity.removeprefix("oci-layout:").partition("@")[0]).is_dir()
        return self.inspect is not None and self.inspect(identity) is None

    def prune(self, *, grace: float = 3600.0) -> int:
        """Release images that the engine no longer has, and layers that no record names. Return how many.

        Layers younger than `grace` seconds may be about to get a record by another process.
        """
        count, named = 0, set[str]()
        for record in self.store.glob("*.json"):
            try:
                recorded = from_json(record.read_text(encoding="utf-8"))
                gone = self._is_gone(recorded.identity)
            except ValueError:
                recorded, gone = None, True
            if not gone and recorded is not None:
                named.update(recorded.layers)
                continue
            with contextlib.suppress(FileNotFoundError):
                record.unlink()
                count += 1
            if recorded is not None:
                _drop(recorded)
        for directory in self.store.glob("layers/[0-9a-f]*"):
            if str(directory) not in named and time.time() - directory.stat().st_ctime >= grace:
                shutil.rmtree(directory, ignore_errors=True)
                count += 1
        return count


def _drop(rootfs: Rootfs) -> None:
    """Let containerd collect the layers, unless something else needs them."""
    for socket in snapshots.reachable() if rootfs.kept else ():
        with contextlib.suppress(snapshots.NoSnapshot):
            snapshots.Snapshots(socket).drop(rootfs.kept)


def _graph_driver(described: dict[str, Any]) -> tuple[str, ...]:
    """Return the directories that Docker's older store names itself, or none.

    >>> _graph_driver({"GraphDriver": {"Name": "overlay2", "Data": {"UpperDir": "/no/2", "LowerDir": "/no/1"}}})
    ()
    """
    driver = described.get("GraphDriver") or {}
    data = driver.get("Data") or {}
    if driver.get("Name") not in ("overlay2", "fuse-overlayfs") or not data.get("UpperDir"):
        return ()
    places = (data["UpperDir"], *filter(None, data.get("LowerDir", "").split(":")))
    return places if all(Path(place).is_dir() for place in places) else ()


def chain_id(layers: list[str]) -> str:
    """Return the name of a stack of layers, as the OCI image specification defines it.

    >>> chain_id(["sha256:" + "0" * 64])[:15]
    'sha256:00000000'
    """
    chain = layers[0]
    for layer in layers[1:]:
        chain = "sha256:" + hashlib.sha256(f"{chain} {layer}".encode()).hexdigest()
    return chain
