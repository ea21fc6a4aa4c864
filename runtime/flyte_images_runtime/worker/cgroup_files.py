"""The files of this container's cgroup, v1 or v2, as they appear inside the container. The caller interprets them."""

from __future__ import annotations

import os

_ROOT = "/sys/fs/cgroup/"
_FILES = {
    "cpu": ("cpu.stat",),
    "cpuacct": ("cpuacct.usage",),
    "memory": ("memory.peak", "memory.events", "memory.max_usage_in_bytes", "memory.oom_control"),
    "pids": ("pids.peak",),
    "io": ("io.stat",),
    "blkio": ("blkio.throttle.io_service_bytes",),
}


def used_memory_path() -> str | None:
    """Return the path of the file with the cgroup's memory in bytes; None where the container has none."""
    return _find("memory", "memory.current") or _find("memory", "memory.usage_in_bytes")


def end_paths() -> dict[str, str]:
    """Return the paths of the files that the end of a call reports, by the files' names."""
    found = ((file, _find(controller, file)) for controller, files in _FILES.items() for file in files)
    return {file: path for file, path in found if path is not None}


def read_end_files() -> dict[str, str]:
    """Return the contents of the files that the end of a call reports, by the files' names."""
    contents = ((file, read(path)) for file, path in end_paths().items())
    return {file: content for file, content in contents if content is not None}


def _find(controller: str, file: str) -> str | None:
    for path in (_ROOT + file, _ROOT + controller + "/" + file):  # v2, v1
        if os.path.exists(path):
            return path
    return None


def read(path: str) -> str | None:
    """Return the first 64 KiB of a file of the kernel's; None where it cannot be read."""
    try:
        with open(path, errors="replace") as file:
            return file.read(65536)
    except OSError:
        return None
