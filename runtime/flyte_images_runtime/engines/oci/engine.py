"""The oci engine: crun, runc or another OCI runtime on an overlay of the image's layers, without a daemon."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from ...errors import EngineLost, ImageCannotStart
from ...oci.images import Images
from ...oci.rootfs import Rootfs
from ...system.platform import Platform
from ...task.engine import Running
from ...task.exchange import Exchange
from ...task.spec import TaskSpec
from ..docker.api import Api, Refused
from ..docker.images import open_image
from ..preflight import check_names, check_room, check_sources, check_user
from .as_root import check_as_root, start_as_root
from .program import Program, find, known

_LIBRARY = Path(__file__).resolve().parents[2]


class OciEngine:
    """Runs tasks in containers of `program`. Images are in `store`, or in Docker's own directories.

    `docker` is the API of the engine with the images. `archive` writes an image as an OCI layout, for an engine that
    does
    not do so like Docker. `library` is a copy of this package that the containers' user can read.
    """

    name = "oci"

    def __init__(
        self,
        store: Path,
        *,
        docker: Api | None = None,
        archive: Callable[[str], IO[bytes]] | None = None,
        program: Program | None = None,
        library: str = str(_LIBRARY),
    ) -> None:
        self._docker = docker
        self._archive = archive
        self._library = library
        self.images = Images(store, self._inspect, self._save) if docker else Images(store)
        self._program = program or find()

    def _inspect(self, reference: str) -> dict[str, Any] | None:
        assert self._docker is not None
        try:
            found: dict[str, Any] = self._docker.call("GET", f"/images/{reference}/json")
        except Refused as refused:
            if refused.status == 404:
                return None
            raise EngineLost(f"the engine does not answer whether it has {reference}: {refused}") from None
        return found

    def _save(self, reference: str) -> IO[bytes]:
        assert self._docker is not None
        return open_image(self._docker, reference) if self._archive is None else self._archive(reference)

    def check(self, spec: TaskSpec) -> None:
        self._program_for(spec)
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        check_room(spec, "this machine", cores=os.cpu_count() or 1, memory=memory)
        check_names(spec)
        check_sources(spec)
        check_user(spec, self.name)
        if os.geteuid() == 0:
            check_as_root(spec, self._docker)
        else:
            from .as_user import check_as_user

            check_as_user(spec)

    def start(self, spec: TaskSpec, exchange: Exchange) -> Running:
        program = self._program_for(spec)
        rootfs = self.images.find(spec.image)
        _check_machine(spec, rootfs)
        if os.geteuid() == 0:
            return start_as_root(spec, exchange, rootfs, program, library=self._library, docker=self._docker)
        from .as_user import start_as_user

        return start_as_user(spec, exchange, rootfs, program, library=self._library)

    def _program_for(self, spec: TaskSpec) -> Program:
        """Return the runtime that the task names, else the fastest installed one. Raise EngineLost if there is none."""
        name = spec.hardening.runtime
        found = self._program if name is None else find([name])
        if found is not None:
            return found
        here = ", ".join(known()) or "none"
        raise EngineLost(
            "the oci engine found neither crun nor runc" if name is None else f"no OCI runtime `{name}` is installed",
            task=spec.task,
            hint=f"install it, or use another engine; installed: {here}",
        )


def _check_machine(spec: TaskSpec, rootfs: Rootfs) -> None:
    machine = Platform.of_this_machine().architecture
    if rootfs.architecture not in ("", machine):
        raise ImageCannotStart(
            f"image {spec.image} is for {rootfs.architecture}, this machine is {machine}",
            task=spec.task,
            hint="build it for this platform",
        )
