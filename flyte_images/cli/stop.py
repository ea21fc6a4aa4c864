"""flyte-images stop: end a task that runs now. Its caller gets an error that says so."""

from __future__ import annotations

import click

from ..errors import SpecError
from .suggest import closest


@click.command("stop")
@click.argument("which", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All tasks of this user.")
def command(*, which: tuple[str, ...], everything: bool) -> None:
    """End the tasks WHICH: ids as `flyte-images ps` shows them, or names of tasks."""
    from flyte_images_runtime.active import active, stop

    from ..engines import docker_engine

    there = active()
    chosen = [one for one in there if everything or one.id in which or one.task in which]
    missing = [name for name in which if not any(name in (one.id, one.task) for one in there)]
    if missing:
        known = [name for one in there for name in (one.id, one.task)]
        raise SpecError(f"no task `{missing[0]}` is running", hint=closest(missing[0], known) or "`flyte-images ps`")
    if not which and not everything:
        raise SpecError("which task?", hint="an id of `flyte-images ps`, a task's name, or --all")
    for one in chosen:
        docker = docker_engine().api if one.engine == "docker" else None
        if stop(one, docker):
            click.echo(one.id)
        else:
            click.echo(f"{one.id} has ended, or is not for this user to end", err=True)
