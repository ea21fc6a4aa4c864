"""flyte-images runs: list past runs on this machine, the newest last."""

from __future__ import annotations

import os
import time
from typing import Any

import click

from ..progress.terminal_text import duration, size
from ..runner.history import recent
from .options import json_option
from .table import columns
from .terminal import show_data


@click.command("runs")
@click.option(
    "-n", "count", type=click.IntRange(1, 10_000), default=20, show_default=True, help="Show the last N runs."
)
@click.option("--failed", is_flag=True, help="Show only runs that failed.")
@json_option
def command(*, count: int, failed: bool, as_json: bool) -> None:
    """List the last runs of tasks on this machine: when and how they ended, and the resources used.

    `flyte-images logs ID` prints the output of a run.
    """
    runs = [run for run in recent(os.environ, 10_000) if not failed or run.get("end") != "done"][-count:]
    if as_json:
        import json

        show_data(json.dumps(runs, indent=2, ensure_ascii=False))
        return
    if not runs:
        click.echo("no task has been run yet", err=True)
        return
    for line in columns([cells(run) for run in runs], ["id", "ended", "task", "end", "took"]):
        click.echo(line)


def cells(run: dict[str, Any]) -> list[str]:
    """Return the cells of one run.

    >>> os.environ["TZ"] = "UTC"
    >>> time.tzset()
    >>> took = {"total": 3.42, "cpu": 1.0, "peak_memory": 35_100_000}
    >>> cells({"id": "a1b2", "time": 1.0, "task": "ml.train", "end": "done", "metrics": took})
    ['a1b2', '1970-01-01 00:00:01', 'ml.train', 'done', '3.4 s, CPU 1.0 s, peak memory 35.1 MB']
    >>> cells({"time": 1.0, "task": "ml.train", "end": "Raised", "message": "task `ml.train` raised ValueError: x"})
    ['', '1970-01-01 00:00:01', 'ml.train', 'Raised', 'ValueError: x']
    """
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(float(run.get("time") or 0)))
    metrics = run.get("metrics") or {}
    details = []
    if run.get("cached"):
        details.append("cached")
    if metrics.get("total") is not None:
        details.append(duration(metrics["total"]))
    if metrics.get("cpu") is not None:
        details.append(f"CPU {duration(metrics['cpu'])}")
    if metrics.get("peak_memory") is not None:
        details.append(f"peak memory {size(metrics['peak_memory'])}")
    message = str(run.get("message") or "").partition("\n")[0]
    for prefix in (f"task `{run.get('task')}` raised ", f"task `{run.get('task')}` ", f"task `{run.get('task')}`: "):
        message = message.removeprefix(prefix)
    details.append(message)
    about = [str(run.get("id") or ""), when, str(run.get("task")), str(run.get("end"))]
    return [*about, ", ".join(filter(None, details))]
