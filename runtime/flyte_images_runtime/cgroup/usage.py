"""The contents of a cgroup's files -> Usage, for both versions of cgroups. Pure."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

from ..resources.metrics import Usage

Read = Callable[[str], "str | None"]
"""The name of a file (`memory.peak`) -> its content, or None if the file does not exist."""


def read_usage(read: Read) -> Usage:
    """Read the files of both versions with `read`, and return the usage by those that exist.

    >>> files = {"memory.peak": "4096", "cpu.stat": "usage_usec 2000000\\nnr_throttled 3\\nthrottled_usec 500000"}
    >>> usage = read_usage(files.get)
    >>> usage.peak_memory, usage.cpu, usage.throttled
    (4096, 2.0, 0.5)
    """
    stat = _table(read("cpu.stat"))
    v2 = "usage_usec" in stat
    return Usage(
        cpu=_scaled(stat.get("usage_usec"), 1e-6) if v2 else _scaled(_number(read("cpuacct.usage")), 1e-9),
        throttled=_scaled(stat.get("throttled_usec"), 1e-6) if v2 else _scaled(stat.get("throttled_time"), 1e-9),
        periods=stat.get("nr_periods"),
        throttled_periods=stat.get("nr_throttled"),
        peak_memory=_first(_number(read("memory.peak")), _number(read("memory.max_usage_in_bytes"))),
        oom_kills=_first(
            _table(read("memory.events")).get("oom_kill"), _table(read("memory.oom_control")).get("oom_kill")
        ),
        peak_pids=_number(read("pids.peak")),
        read_bytes=_transferred(read, "rbytes", "Read"),
        written_bytes=_transferred(read, "wbytes", "Write"),
        memory=_first(_number(read("memory.current")), _number(read("memory.usage_in_bytes"))),
    )


def traffic(table: str) -> tuple[int, int] | None:
    """Return the bytes received and sent over all networks but the loopback, by the content of /proc/PID/net/dev.

    >>> head = "Inter-| Receive | Transmit\\n face |bytes packets\\n"
    >>> traffic(head + "  lo: 9 1 0 0 0 0 0 0 9 1\\n  eth0: 700 3 0 0 0 0 0 0 50 2")
    (700, 50)
    >>> traffic(head + "  lo: 9 1 0 0 0 0 0 0 9 1") is None
    True
    """
    rows = [
        (name.strip(), figures.split())
        for name, colon, figures in (x.partition(":") for x in table.splitlines())
        if colon
    ]
    external = [figures for name, figures in rows if name != "lo" and len(figures) >= 9]
    if not all(figures[at].isdigit() for figures in external for at in (0, 8)):
        return None
    return (sum(int(row[0]) for row in external), sum(int(row[8]) for row in external)) if external else None


def _first(*values: int | None) -> int | None:
    return next((value for value in values if value is not None), None)


def _scaled(value: int | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _number(text: str | None) -> int | None:
    text = (text or "").strip()
    return int(text) if text.isdigit() else None


@functools.lru_cache(maxsize=64)  # many short calls have equal files
def _table(text: str | None) -> Mapping[str, int]:
    """Return the numbers of a file with lines `NAME NUMBER`."""
    pairs = (line.split() for line in (text or "").splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def _transferred(read: Read, v2: str, v1: str) -> int | None:
    """Return the bytes from or to all devices. A line is `8:0 rbytes=1 wbytes=2 ...`, on version 1 `8:0 Read 1`."""
    text = read("io.stat")
    if text is not None:
        fields = (field.partition("=") for line in text.splitlines() for field in line.split()[1:])
        return sum(int(number) for name, _, number in fields if name == v2 and number.isdigit())
    text = read("blkio.throttle.io_service_bytes_recursive") or read("blkio.throttle.io_service_bytes")
    if text is None:
        return None
    lines = (line.split() for line in text.splitlines())
    return sum(int(line[2]) for line in lines if len(line) == 3 and line[1] == v1 and line[2].isdigit())
