"""Docker's statistics of a running container (`GET /containers/ID/stats`) -> Usage. Pure.

For engines whose cgroups this process cannot read: on another host, in a virtual machine, or of another user.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...resources.metrics import Usage


def usage_of(answer: Any) -> Usage:
    """Return the figures that the answer has. Podman and old engines leave some out.

    >>> usage_of({"cpu_stats": {"cpu_usage": {"total_usage": 1500000000}}, "memory_stats": {"usage": 4096}}).cpu
    1.5
    >>> usage_of({"networks": {"eth0": {"rx_bytes": 700, "tx_bytes": 50}}}).received_bytes
    700
    >>> usage_of(None).memory is None
    True
    """
    cpu, memory = _table(answer, "cpu_stats"), _table(answer, "memory_stats")
    held_back = _table(cpu, "throttling_data")
    networks = [network for network in _table(answer, "networks").values() if isinstance(network, dict)]
    return Usage(
        cpu=_seconds(_table(cpu, "cpu_usage").get("total_usage")),
        throttled=_seconds(held_back.get("throttled_time")),
        periods=_whole(held_back.get("periods")),
        throttled_periods=_whole(held_back.get("throttled_periods")),
        memory=_whole(memory.get("usage")),
        peak_memory=_whole(memory.get("max_usage")),
        read_bytes=_transferred(answer, "read"),
        written_bytes=_transferred(answer, "write"),
        received_bytes=sum(_whole(network.get("rx_bytes")) or 0 for network in networks) if networks else None,
        sent_bytes=sum(_whole(network.get("tx_bytes")) or 0 for network in networks) if networks else None,
    )


def _table(answer: Any, name: str) -> dict[str, Any]:
    table = answer.get(name) if isinstance(answer, dict) else None
    return table if isinstance(table, dict) else {}


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _seconds(nanoseconds: Any) -> float | None:
    whole = _whole(nanoseconds)
    return None if whole is None else whole / 1e9


def _transferred(answer: Any, way: str) -> int | None:
    rows = _table(answer, "blkio_stats").get("io_service_bytes_recursive")
    return sum(_moved(rows, way)) if isinstance(rows, list) else None


def _moved(rows: list[Any], way: str) -> Iterator[int]:
    for row in rows:
        if isinstance(row, dict) and str(row.get("op")).lower() == way:
            yield _whole(row.get("value")) or 0
