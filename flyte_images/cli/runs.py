"""flyte-images runs: what was run on this machine, the newest last."""

from __future__ import annotations

import os
import time
from typing import Any

import click

from ..history import recent
from ..progress.text import clean, duration, size
from .options import json_option


@click.command("runs")
@click.option("-n", "count", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many to show.")
@click.option("--failed", is_flag=True, help="Only those that did not end well.")
@json_option
def command(*, count: int, failed: bool, as_json: bool) -> None:
    """Show the last runs of tasks on this machine: when, how they ended, what they took."""
    found = [run for run in recent(os.environ, 10_000) if not failed or run.get("end") != "done"][-count:]
    if as_json:
        import json

        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    if not found:
        click.echo("no task has been run yet", err=True)
    for run in found:
        click.echo(line_of(run))


def line_of(run: dict[str, Any]) -> str:
    """One run for a person.

    >>> os.environ["TZ"] = "UTC"
    >>> time.tzset()
    >>> took = {"total": 3.42, "cpu": 1.0, "peak_memory": 35_100_000}
    >>> line_of({"time": 1.0, "task": "ml.train", "end": "done", "metrics": took})
    '1970-01-01 00:00:01  ml.train  done  3.4 s, CPU 1.0 s, peak memory 35.1 MB'
    >>> line_of({"time": 1.0, "task": "ml.train", "end": "Raised", "message": "task `ml.train` raised ValueError: x"})
    '1970-01-01 00:00:01  ml.train  Raised  task `ml.train` raised ValueError: x'
    """
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(float(run.get("time") or 0)))
    took = run.get("metrics") or {}
    says = []
    if run.get("cached"):
        says.append("cached")
    if took.get("total") is not None:
        says.append(duration(took["total"]))
    if took.get("cpu") is not None:
        says.append(f"CPU {duration(took['cpu'])}")
    if took.get("peak_memory") is not None:
        says.append(f"peak memory {size(took['peak_memory'])}")
    parts = [when, str(run.get("task")), str(run.get("end")), ", ".join(says), clean(str(run.get("message") or ""))]
    return "  ".join(part.splitlines()[0] for part in parts if part)
