"""flyte-images ps: the tasks of this user that run now on this machine."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from ..progress.text import duration, size
from .options import json_option

if TYPE_CHECKING:
    from flyte_images_runtime.active import Active


@click.command("ps")
@json_option
def command(*, as_json: bool) -> None:
    """Show the tasks that run now: their ids, since when, and what they have used until now."""
    from flyte_images_runtime.active import active

    found = [described(one) for one in active()]
    if as_json:
        import json

        click.echo(json.dumps(found, indent=2))
        return
    if not found:
        click.echo("no task is running", err=True)
    for one in found:
        parts = [one["id"], one["task"], one["engine"], duration(one["seconds"])]
        if one["cpu"] is not None:
            parts.append(f"CPU {duration(one['cpu'])}")
        if one["peak_memory"] is not None:
            parts.append(f"peak memory {size(one['peak_memory'])}")
        click.echo("  ".join(parts))


def described(one: Active) -> dict[str, Any]:
    """One task as data."""
    usage = one.usage()
    return {
        "id": one.id,
        "task": one.task,
        "image": one.image,
        "engine": one.engine,
        "seconds": round(max(0.0, time.time() - one.since), 3),
        "cpu": usage.cpu,
        "peak_memory": usage.peak_memory,
    }
