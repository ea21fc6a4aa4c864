"""An ordinary user's containers: in a user namespace, with a delegated part of cgroup v2 if the user has one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...cgroup import Group, delegation
from ...egress.fence import Fence
from ...errors import EngineLost, ImageCannotStart, TaskError
from ...gpu import cdi
from ...gpu.cdi_names import edits_of
from ...oci import rootless
from ...oci.config import bundle_config
from ...oci.rootfs import Rootfs
from ...task.engine import Running
from ...task.exchange import Exchange
from ...task.spec import TaskSpec
from ..preflight import check_cable, check_disk, task_group, user_of
from .errors import why_not
from .program import Program
from .running import OciRunning, runtime_log
from .settings import Surroundings, container_settings, own_files


def check_as_user(spec: TaskSpec) -> None:
    """Raise EngineLost for a request that an ordinary user cannot have here."""
    if (problem := rootless.problem()) is not None:
        raise EngineLost(
            f"this user cannot have containers of the oci engine: {problem[0]}",
            task=spec.task,
            hint=f"{problem[1]}; or use the docker or the podman engine",
        )
    limits = spec.limits
    asked = [name for name, value in (("cpu", limits.cpu), ("memory", limits.memory)) if value is not None]
    if asked and (missing := delegation.missing()) is not None:
        raise EngineLost(
            f"the {' and '.join(asked)} limit of task `{spec.task}` cannot be kept for an ordinary user: {missing[0]}",
            task=spec.task,
            hint=f"{missing[1]}; or run it as root, or leave the limit out",
        )
    check_disk(spec, why_not="only root can make a disk of a given size")
    if spec.network == "outbound":
        check_cable(spec, ("slirp4netns",))


def start_as_user(spec: TaskSpec, exchange: Exchange, rootfs: Rootfs, program: Program, *, library: str) -> Running:
    """Start the container. After an EngineLost nothing of it is left."""
    if spec.image.startswith("dir:"):
        _check_layers(spec, rootfs)
    edits = edits_of(spec.devices, spec.device_ids) if spec.devices else cdi.Edits()
    group = task_group(spec, exchange)
    if group is None and (spec.limits.cpu is not None or spec.limits.memory is not None):
        raise EngineLost(f"the limits of task `{spec.task}` could not be set", task=spec.task, hint="run it as root")
    with runtime_log(spec, group) as log:
        user = user_of(spec, exchange)
        place = exchange.inputs.parent / "bundle"
        place.mkdir()
        here = Surroundings(
            bundle=place,
            group=group,
            user=user,
            library=library,
            files=own_files(spec, rootless.NAME_SERVER),
            edits=edits,
            ordinary_user=True,
        )
        settings = container_settings(spec, here)
        plan = rootless.Plan(
            place=place,
            layers=rootfs.layers,
            files=here.files,
            config=program.annotate(bundle_config(spec, exchange, rootfs, settings)),
            argv=program.run(place, "task", log, network=spec.network, ordinary_user=True),
            hidden=program.hidden(),
            fence=_fence(spec, here),
        )
        started = rootless.launch(plan, log, user=user, cgroup=_beside(group))
    return RootlessRunning(started, log, spec, group, why_not)


def _fence(spec: TaskSpec, here: Surroundings) -> dict[str, Any] | None:
    """Return the fence of the task's network, if it has one."""
    if spec.network != "outbound":
        return None
    return Fence.here(here.files["resolv.conf"], [rootless.SLIRP]).document()


def _beside(group: Group | None) -> Path | None:
    """Make a cgroup for the runtime, below the task's: the kernel makes none below a cgroup with processes."""
    if group is None:
        return None
    place = group.directory / "runtime"
    place.mkdir()
    return place


def _check_layers(spec: TaskSpec, rootfs: Rootfs) -> None:
    """Raise ImageCannotStart for a layer with a file system mounted below it, which overlay refuses to a user."""
    for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines():
        place = line.split()[1]
        for layer in rootfs.layers:
            if place.startswith(layer.rstrip("/") + "/") and place != layer:
                raise ImageCannotStart(
                    f"`{layer}` has a file system mounted below it, at `{place}`: only root can make a container of it",
                    task=spec.task,
                    hint="use a directory that has only an image",
                )


class RootlessRunning(OciRunning):
    """A container of an ordinary user. See `task.engine.Running`."""

    def __init__(
        self,
        started: rootless.Started,
        log: int,
        spec: TaskSpec,
        group: Group | None,
        explain: Callable[[str, TaskSpec], TaskError],
    ) -> None:
        super().__init__(started.process, log, spec, group, explain)
        self._started = started

    def _clean(self) -> None:
        super()._clean()
        self._started.end_cable()
