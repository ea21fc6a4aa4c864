"""flyte-images ps: the tasks of this user that run now on this machine."""

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
    """Show the tasks that run now: their ids, since when, and what they have used until now.

    An id, or the beginning of one, is what `flyte-images logs` and `flyte-images stop` take.
    """
    from flyte_images_runtime.execution.running_tasks import active

    found = [described(one) for one in active()]
    if as_json:
        import json

        click.echo(json.dumps(found, indent=2))
        return
    if not found:
        click.echo("no task is running", err=True)
        return
    rows = [
        [
            one["id"],
            one["task"],
            one["engine"],
            duration(one["seconds"]),
            "" if one["cpu"] is None else duration(one["cpu"]),
            "" if one["memory"] is None else size(one["memory"]),
            "" if one["peak_memory"] is None else size(one["peak_memory"]),
        ]
        for one in found
    ]
    for line in columns(rows, ["id", "task", "engine", "for", "cpu", "memory", "peak"]):
        click.echo(line)


def described(one: Active) -> dict[str, Any]:
    """One task as data."""
    usage = one.usage(lambda: api_of(one))
    return {
        "id": one.id,
        "task": one.task,
        "image": one.image,
        "engine": one.engine,
        "seconds": round(max(0.0, time.time() - one.since), 3),
        "cpu": usage.cpu,
        "memory": usage.memory,
        "peak_memory": usage.peak_memory,
    }
