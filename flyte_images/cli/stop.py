"""flyte-images stop: end a task that runs now. Its caller gets an error that says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..errors import SpecError
from .engine_apis import api_of
from .interrupt import Activity
from .run_ref import Known, find

if TYPE_CHECKING:
    from flyte_images_runtime.execution.running_tasks import Active


@click.command("stop")
@click.argument("which", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All tasks of this user.")
@click.pass_obj
def command(activity: Activity, *, which: tuple[str, ...], everything: bool) -> None:
    """End the tasks WHICH: ids as `flyte-images ps` shows them, the beginnings of ids, or names of tasks.

    A task gets SIGTERM, and five seconds later SIGKILL; what it started ends with it. A task's name means all that
    runs of it. Prints the ids of those that were ended.
    """
    from flyte_images_runtime.execution.running_tasks import active, stop

    if not which and not everything:
        raise SpecError("which task?", hint="an id of `flyte-images ps`, a task's name, or --all")
    there = active()
    chosen = {one.name: one for word in which for one in _meant(word, there)}
    if everything and not there:
        click.echo("no task is running", err=True)
    for one in there if everything else chosen.values():
        activity.doing = f"the end of {one.id}"
        if stop(one, api_of(one)):
            click.echo(one.id)
        else:
            click.echo(f"{one.id} has ended, or is not for this user to end", err=True)


def _meant(word: str, there: list[Active]) -> list[Active]:
    """Every task of that name, or the one of that id."""
    named = [one for one in there if word in (one.task, one.task.partition(".")[2])]
    if named:
        return named
    if not there:
        raise SpecError(f"no task `{word}` is running: none is", hint="`flyte-images runs` shows those that have ended")
    known = [Known(id=one.id, task=one.task, since=one.since, runs=True, also=one.short) for one in there]
    found = find(word, known, running=True)
    return [one for one in there if one.id == found.id]
