"""flyte-images stop: end running tasks. The caller of a task gets the error Killed."""

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
@click.option("--all", "everything", is_flag=True, help="End all tasks of this user.")
@click.pass_obj
def command(activity: Activity, *, which: tuple[str, ...], everything: bool) -> None:
    """End the tasks WHICH: ids that `flyte-images ps` shows, beginnings of ids, or names of tasks.

    A task gets SIGTERM, and SIGKILL five seconds later; its child processes end with it. The name of a task means all
    its running calls. Prints the ids of the tasks that were ended.
    """
    from flyte_images_runtime.execution.running_tasks import active, stop

    if not which and not everything:
        raise SpecError("which task?", hint="name an id of `flyte-images ps` or a task, or use --all")
    tasks = active()
    chosen = {task.name: task for word in which for task in _selected(word, tasks)}
    if everything and not tasks:
        click.echo("no task is running", err=True)
    for task in tasks if everything else chosen.values():
        activity.doing = f"end of {task.id}"
        if stop(task, api_of(task)):
            click.echo(task.id)
        else:
            click.echo(f"{task.id} has ended already, or belongs to another user", err=True)


def _selected(word: str, tasks: list[Active]) -> list[Active]:
    """Return every task of that name, or the task of that id."""
    named = [task for task in tasks if word in (task.task, task.task.partition(".")[2])]
    if named:
        return named
    if not tasks:
        raise SpecError("no task is running", hint="`flyte-images runs` lists past runs")
    known = [Known(id=task.id, task=task.task, since=task.since, runs=True, also=task.short) for task in tasks]
    match = find(word, known, running=True)
    return [task for task in tasks if task.id == match.id]
