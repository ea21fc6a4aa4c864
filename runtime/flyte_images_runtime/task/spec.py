"""TaskSpec: all that an engine needs to run one task. A value, so it can be stored and run elsewhere, later.

The task's arguments are in the exchange directory of the call (exchange.py). The directory has one layout for an engine
on this host and for an engine that fetches it from a store.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from ..resources.limits import Limits

Network = Literal["none", "outbound", "host"]
PIDS = 4096
SHARE_THE_KERNEL = (None, "crun", "runc", "youki")
"""OCI runtimes whose containers share this machine's kernel. Other runtimes give each container another kernel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """The task's function: `module` is imported with `roots` (directories of this host) first on sys.path.

    file    set for a program (`python train.py`): the module is this file, whatever its name, and sees `argv`
    value   a pickle, for a function that cannot be imported: of a notebook, or defined inside another function
    copies  one directory for each root, where the task must not or cannot read the original
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
    """A directory or file of this host that is mounted at `target` in the container.

    >>> Mount(source="/data", target="/input").read_only
    True
    """

    source: str
    target: str
    read_only: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardening:
    """The permissions of the task's process. By default they are as few as a numeric Python program needs.

    user            "uid:gid"; None: the caller, or for root a user that is neither an account nor another task's
    read_only_root  whether only /tmp, the home directory and writable mounts can be written to
    capabilities    Linux capabilities that the process keeps
    seccomp         "default", the engine's own profile, or "unconfined"
    new_privileges  whether setuid programs give the process more rights
    pids            the most processes and threads at a time
    runtime         another OCI runtime that the engine has, such as "runsc" or "io.containerd.kata.v2"
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
    """The hosts that a task with the network "none" reaches through the caller's proxy (egress/)."""
    mounts: tuple[Mount, ...] = ()
    workdir: str | None = None
    python: str = "python3"
    hardening: Hardening = field(default_factory=Hardening)
    devices: tuple[str, ...] = ()
    """CDI names of the leased devices: `nvidia.com/gpu=GPU-...`."""
    device_ids: tuple[str, ...] = ()
    """The ids of the leased cards."""
    max_result: int | None = None
    """The most bytes of files, directories, arrays and tables in one result; None: values/budget.py decides."""


def thread_env(limits: Limits) -> dict[str, str]:
    """Return the variables by which numeric libraries and Python size their thread pools, for a CPU limit.

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
