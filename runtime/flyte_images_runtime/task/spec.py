"""TaskSpec: all that an engine needs to run one task. A value: it can be written down and run elsewhere, later.

What the task is given (its arguments) lies in the exchange directory that goes with it (exchange.py); the same layout
serves an engine on this host and one that fetches it from a store.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from ..resources.limits import Limits

Network = Literal["none", "outbound", "host"]
PIDS = 4096
SHARE_THE_KERNEL = (None, "crun", "runc", "youki")
"""OCI runtimes whose containers are processes of this machine; a kernel of a container's own is not reached from it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """The task's function: `module` is imported with `roots` (directories of this host) in front of sys.path.

    `file` is set for a program (`python train.py`): the module is then that file, whatever its name, and finds the
    program's arguments, `argv`. A function that no module holds (of a notebook, or defined inside another) goes as
    `value`, a pickle. `copies` stand for the roots, one for each, where the task must not or cannot read the originals.
    """

    module: str
    qualname: str
    roots: tuple[str, ...] = ()
    file: str | None = None
    argv: tuple[str, ...] = ()
    value: bytes | None = field(default=None, repr=False)
    copies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A directory or file of this host that the task sees at `target`."""

    source: str
    target: str
    read_only: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardening:
    """What the task's process may do. The default is as little as a numeric Python program gets by with.

    user            "uid:gid"; None: the caller, or where that is root a user that no account and no other task is
    read_only_root  only /tmp, the home directory and writable mounts can be written to
    capabilities    Linux capabilities that stay
    seccomp         "default", the engine's own profile, or "unconfined"
    new_privileges  may setuid programs give more rights
    pids            processes and threads at once
    runtime         another OCI runtime that the engine knows, such as "runsc" or "io.containerd.kata.v2"
    """

    user: str | None = None
    read_only_root: bool = True
    capabilities: tuple[str, ...] = ()
    seccomp: Literal["default", "unconfined"] = "default"
    new_privileges: bool = False
    pids: int = PIDS
    runtime: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSpec:
    """One run of one task."""

    task: str
    image: str
    code: Code
    limits: Limits = field(default_factory=Limits)
    env: tuple[tuple[str, str], ...] = ()
    timeout: float | None = None
    network: Network = "outbound"
    reaches: tuple[str, ...] = ()
    """What a task with the network "none" reaches all the same, through the caller's proxy (egress/)."""
    mounts: tuple[Mount, ...] = ()
    workdir: str | None = None
    python: str = "python3"
    hardening: Hardening = field(default_factory=Hardening)
    devices: tuple[str, ...] = ()
    """CDI names of the leased devices: `nvidia.com/gpu=GPU-...`."""
    device_ids: tuple[str, ...] = ()
    """Which cards they are."""
    max_result: int | None = None
    """Bytes of files, directories, arrays and tables that one result may hold; None: budget.py decides."""


def thread_env(limits: Limits) -> dict[str, str]:
    """The variables by which numeric libraries and Python itself size their thread pools, for a CPU limit.

    >>> from decimal import Decimal
    >>> thread_env(Limits(cpu=Decimal("1.5")))["OMP_NUM_THREADS"], thread_env(Limits())
    ('2', {})
    """
    if limits.cpu is None:
        return {}
    count = str(max(1, math.ceil(limits.cpu)))
    return dict.fromkeys(_THREADS, count)


_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "RAYON_NUM_THREADS",
    "POLARS_MAX_THREADS",
    "PYTHON_CPU_COUNT",
)
