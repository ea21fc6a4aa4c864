"""The nerdctl engine: containers of containerd, without Docker. Only for root: a user's nerdctl has another store.

nerdctl has only a command line. Docker's request for a container (docker/container.py) is translated to options.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import threading
from pathlib import Path
from typing import Any

from ...errors import EngineLost, ImageCannotStart, TaskError
from ...gpu.cdi_names import edits_of
from ...system.process_id import current
from ...task.engine import Running
from ...task.exchange import Exchange
from ...task.spec import TaskSpec
from ..docker.api import Api
from ..docker.container import Settings, create_body
from ..docker.images import layers_of, open_image
from ..docker_defaults import spell_out
from ..oci.program import find
from ..preflight import (
    check_disk,
    check_names,
    check_room,
    check_sources,
    check_user,
    runtime_missing,
    set_up_disk,
    task_group,
    user_of,
    why_no_disk,
    why_the_image,
)
from .flags import run_options
from .program import Nerdctl, Refused, lost
from .running import NerdctlRunning, container_name

_LIBRARY = Path(__file__).resolve().parents[2]
_SHIMS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


class NerdctlEngine:
    """containerd, as `nerdctl` finds it. `library` is a copy of this package that the containers' user can read."""

    name = "nerdctl"

    def __init__(self, nerdctl: Nerdctl | None = None, *, library: str = str(_LIBRARY)) -> None:
        self.nerdctl = nerdctl or Nerdctl()
        self.library = library
        self._asked = threading.Lock()

    @functools.cached_property
    def facts(self) -> dict[str, Any]:
        """The description of containerd and this machine by nerdctl. Requested once."""
        try:
            found: dict[str, Any] = json.loads(self.nerdctl.call("info", "--format", "{{json .}}"))
        except Refused as refused:
            raise lost(refused) from None
        return found

    def runtimes(self) -> list[str]:
        """Return the OCI runtimes that a task may choose: runc and its relatives by program, others by their shims."""
        shims = {path.name for place in _SHIMS for path in Path(place).glob("containerd-shim-*-v[0-9]")}
        named = (name.removeprefix("containerd-shim-").rpartition("-") for name in sorted(shims))
        relatives = [name for name in ("crun", "runc", "youki") if find([name])]
        return [*relatives, *(f"io.containerd.{kind}.{version}" for kind, _, version in named if kind != "runc")]

    def take_image(self, reference: str, docker: Api) -> None:
        """Load the image from Docker, unless nerdctl has the same image under that name."""
        found = self.nerdctl.inspect("image", reference)
        layers = tuple(map(str, ((found or {}).get("RootFS") or {}).get("Layers") or ()))
        if layers and layers == layers_of(docker, reference):
            return
        archive = open_image(docker, reference)
        read, write = os.pipe()
        pump = threading.Thread(target=_pump, args=(archive, write), daemon=True)
        pump.start()
        try:
            with os.fdopen(read, "rb") as given:
                self.nerdctl.call("load", given=given)
        except Refused as refused:
            raise ImageCannotStart(
                f"image {reference} could not be loaded: {refused}",
                hint="check the free space of its disk",
            ) from None
        finally:
            pump.join()

    def check(self, spec: TaskSpec) -> None:
        if os.geteuid() != 0:
            raise EngineLost(
                "the nerdctl engine is for root",
                task=spec.task,
                hint="use the podman or the oci engine, which ordinary users can use too",
            )
        with self._asked:
            facts = self.facts
        check_room(spec, "this machine", cores=int(facts.get("NCPU") or 0), memory=int(facts.get("MemTotal") or 0))
        check_names(spec)
        check_sources(spec)
        check_user(spec, self.name)
        if spec.limits.disk is not None:
            check_disk(spec, why_not=why_no_disk(spec, self.name, self.nerdctl.socket))
        runtime = spec.hardening.runtime
        if runtime is not None and runtime not in (known := self.runtimes()):
            raise EngineLost(
                f"the nerdctl engine does not know the OCI runtime `{runtime}`",
                task=spec.task,
                hint="it knows " + ", ".join(known),
            )
        if spec.devices:
            self._check_devices(spec)

    @functools.cached_property
    def knows_cdi(self) -> bool:
        """Whether nerdctl applies a whole CDI specification, as it does since 2.1."""
        try:
            return "--cdi-spec-dirs" in self.nerdctl.call("--help")
        except Refused as refused:
            raise lost(refused) from None

    def _check_devices(self, spec: TaskSpec) -> None:
        edits = edits_of(spec.devices, spec.device_ids)  # a missing device is an error before the start
        moved = [node for node in edits.nodes if node.host != node.path]
        if moved and not self.knows_cdi:
            raise EngineLost(
                f"this nerdctl cannot show the device `{moved[0].host}` as `{moved[0].path}`",
                task=spec.task,
                hint="nerdctl 2.1 can; or use another engine",
            )

    def start(self, spec: TaskSpec, exchange: Exchange) -> Running:
        group = task_group(spec, exchange)
        if group is None:
            raise EngineLost("this process may not make cgroups", task=spec.task, hint="use the docker engine")
        try:
            user = user_of(spec, exchange)
            shm = spec.limits.shm or spec.limits.memory or int(self.facts.get("MemTotal") or 1 << 30) // 2
            set_up_disk(spec, exchange, shm, self.nerdctl.socket)
            exchange.give_to(*user)
            settings = Settings(
                owner=str(current()),
                user=user,
                library=self.library,
                shm=shm,
                cgroup_parent=group.engine_parent,
            )
            body = spell_out(spec, exchange, create_body(spec, exchange, settings), cdi_known=self.knows_cdi)
            options = run_options(body, container_name(exchange))
            return NerdctlRunning(self.nerdctl, exchange, lambda: self._launch(*options), spec, group, _why_not)
        except BaseException:
            group.remove()
            raise

    def _launch(self, *options: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self.nerdctl.argv("--cgroup-manager", "cgroupfs", "run", *options),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(self.nerdctl.environ),
            cwd="/",
            start_new_session=True,  # a Ctrl-C at the terminal reaches only the caller, who then ends the task
        )


def _pump(archive: Any, write: int) -> None:
    """Pass an archive on. The reader may stop before its end."""
    import contextlib

    with os.fdopen(write, "wb") as target, archive, contextlib.suppress(BrokenPipeError):
        while piece := archive.read(1 << 20):
            target.write(piece)


def _why_not(message: str, spec: TaskSpec) -> TaskError:
    """Return the error for a message of nerdctl, with a remedy."""
    lower = message.lower()
    if "not available" in lower or "no such image" in lower:
        return ImageCannotStart(f"containerd has no image {spec.image}", task=spec.task, hint="build it, or pull it")
    if runtime_missing(lower):
        return EngineLost(f"containerd has no OCI runtime `{spec.hardening.runtime}`: {message}", task=spec.task)
    return why_the_image(message, spec) or ImageCannotStart(
        f"the container of {spec.image} could not be started: {message}", task=spec.task
    )
