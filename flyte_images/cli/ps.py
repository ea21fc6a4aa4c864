"""flyte-images ps: list the running tasks of this user on this machine."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from ..progress.terminal_text import duration, size
from .engine_apis import api_of
from .options import json_option
from .table import columns

if TYPE_CHECKING:
    from flyte_images_runtime.execution.running_tasks import Active


@click.command("ps")
@json_option
def command(*, as_json: bool) -> None:
    """List the running tasks: id, task, engine, duration, and the resources used so far.

    `flyte-images logs` and `flyte-images stop` take an id or its beginning.
    """
    from flyte_images_runtime.execution.running_tasks import active

    tasks = [described(task) for task in active()]
    if as_json:
        import json

        click.echo(json.dumps(tasks, indent=2))
        return
    if not tasks:
        click.echo("no task is running", err=True)
        return
    rows = [
        [
            task["id"],
            task["task"],
            task["engine"],
            duration(task["seconds"]),
            "" if task["cpu"] is None else duration(task["cpu"]),
            "" if task["memory"] is None else size(task["memory"]),
            "" if task["peak_memory"] is None else size(task["peak_memory"]),
        ]
        for task in tasks
    ]
    for line in columns(rows, ["id", "task", "engine", "for", "cpu", "memory", "peak"]):
        click.echo(line)


def described(task: Active) -> dict[str, Any]:
    """Return one task as a JSON object (documents.py, RunningTask)."""
    usage = task.usage(lambda: api_of(task))
    return {
        "id": task.id,
        "task": task.task,
        "image": task.image,
        "engine": task.engine,
        "seconds": round(max(0.0, time.time() - task.since), 3),
        "cpu": usage.cpu,
        "memory": usage.memory,
        "peak_memory": usage.peak_memory,
    }
