"""Root's containers: a thread makes a mount namespace, and the network is the bridge that Docker made."""

from __future__ import annotations

import subprocess
from pathlib import Path

from ...egress.fence import Fence
from ...errors import EngineLost
from ...gpu import cdi
from ...gpu.cdi_names import edits_of
from ...oci.bundle import DISK, LARGE, lay_out, make_directories
from ...oci.config import Settings, bundle_config
from ...oci.network import Bridge, find_bridge, plug_in
from ...oci.rootfs import Rootfs
from ...system.mounts import in_own_namespace, mount, unmount
from ...task.engine import Running
from ...task.exchange import Exchange, shown_disks
from ...task.spec import TaskSpec
from ..docker.api import Api
from ..docker.way_out import bridge_for
from ..preflight import check_disk, task_group, user_of
from .errors import why_not
from .program import Program
from .running import OciRunning, runtime_log
from .settings import Surroundings, container_settings, own_files

_BUNDLE = Path("/run/flyte-images")  # each task sees only its own, in its mount namespace


def check_as_root(spec: TaskSpec, docker: Api | None) -> None:
    """Raise EngineLost for a request that root cannot have here."""
    check_disk(spec)
    if spec.network == "outbound" and find_bridge() is None and docker is None:
        raise EngineLost(
            "the oci engine needs Docker to make a network for tasks",
            task=spec.task,
            hint='network="none" or "host", or use the docker engine',
        )


def start_as_root(
    spec: TaskSpec, exchange: Exchange, rootfs: Rootfs, program: Program, *, library: str, docker: Api | None
) -> Running:
    """Start the container. After an EngineLost nothing of it is left."""
    edits = edits_of(spec.devices, spec.device_ids) if spec.devices else cdi.Edits()
    group = task_group(spec, exchange)
    if group is None:
        raise EngineLost("this process may not make cgroups", task=spec.task, hint="use the docker engine")
    with runtime_log(spec, group) as log:
        user = user_of(spec, exchange)
        programs = spec.limits.disk is not None or not spec.hardening.read_only_root
        if not exchange.make_disk(spec.limits.disk, programs=programs) and spec.limits.disk is not None:
            raise OSError("the disk cannot be made")
        exchange.give_to(*user)
        here = Surroundings(
            bundle=_BUNDLE,
            group=group,
            user=user,
            library=library,
            files=own_files(spec),
            edits=edits,
            tmp=_part(exchange, "tmp") if spec.limits.disk is not None else None,
        )
        settings = container_settings(spec, here)
        bridge = bridge_for(spec, docker) if spec.network == "outbound" else None
        process = in_own_namespace(lambda: _launch(spec, exchange, rootfs, program, here, settings, log, bridge))
    return OciRunning(process, log, spec, group, why_not)


def _launch(
    spec: TaskSpec,
    exchange: Exchange,
    rootfs: Rootfs,
    program: Program,
    here: Surroundings,
    settings: Settings,
    log: int,
    bridge: Bridge | None,
) -> subprocess.Popen[bytes]:
    """Make the bundle in memory and start the runtime, in the mount namespace of the calling thread."""
    if bridge is not None:
        plug_in(bridge, Fence.here(here.files["resolv.conf"]))
    for place in shown_disks("/proc/thread-self/mounts"):  # else this container keeps the disks of ended tasks
        unmount(place)
    _BUNDLE.mkdir(mode=0o711, parents=True, exist_ok=True)
    mount("flyte-images", _BUNDLE, "tmpfs", options="mode=711")
    make_directories(_BUNDLE)
    if exchange.large is not None:
        exchange.large.attach(_BUNDLE / LARGE)
    if exchange.disk is not None:
        exchange.disk.attach(_BUNDLE / DISK)
    config = program.annotate(bundle_config(spec, exchange, rootfs, settings))
    lay_out(_BUNDLE, rootfs.layers, upper=_upper(spec, exchange), files=here.files, config=config)
    program.prepare(_BUNDLE / "nothing")
    return subprocess.Popen(
        program.run(_BUNDLE, "task", log, network=spec.network),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=(log,),
        cwd=_BUNDLE,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        start_new_session=True,  # a Ctrl-C at the terminal reaches only the caller, who then ends the task
    )


def _upper(spec: TaskSpec, exchange: Exchange) -> Path:
    """Return where the task's writes to its root go: nowhere, or to its disk, which is removed with the outputs."""
    if spec.hardening.read_only_root:
        return _BUNDLE
    if exchange.disk is not None:
        return _part(exchange, "")
    for name in ("upper", "work"):
        (exchange.directory / name).mkdir(exist_ok=True)
        (exchange.directory / name).chmod(0o755)
    return exchange.directory


def _part(exchange: Exchange, name: str) -> Path:
    """Return the path of a part of the task's disk, as the runtime sees it."""
    assert exchange.disk is not None
    return Path(exchange.disk.below(_BUNDLE / DISK, name))
