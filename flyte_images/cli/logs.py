"""flyte-images logs: print the output of a run: its stdout to stdout, its stderr to stderr."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from ..progress.terminal_text import last_state
from .interrupt import Activity
from .run_ref import Known, find
from .terminal import show_data

if TYPE_CHECKING:
    from ..runner.run_logs import LogLine, Stream


@click.command("logs")
@click.argument("run", default="last")
@click.option("-f", "--follow", is_flag=True, help="Keep printing new lines until the run ends.")
@click.option("-n", "--tail", type=click.IntRange(0), metavar="N", help="Print only the last N lines.")
@click.option("-t", "--timestamps", is_flag=True, help="Print the time before each line.")
@click.option("--stdout", "stream", flag_value="stdout", help="Print only the lines of stdout.")
@click.option("--stderr", "stream", flag_value="stderr", help="Print only the lines of stderr.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line: time, stream, text.")
@click.pass_obj
def command(
    activity: Activity,
    *,
    run: str,
    follow: bool,
    tail: int | None,
    timestamps: bool,
    stream: Stream | None,
    as_json: bool,
) -> None:
    """Print the output of RUN.

    RUN is an id that `flyte-images ps` or `flyte-images runs` shows, its beginning, the name of a task (its last run),
    or `last` (the default): the run that began last; runs that still go on come first.

    The first megabyte and the last seven of each run are kept, and 256 MB of all runs; never the value of a secret.
    """
    from ..runner.run_logs import exists, lines

    chosen = find(run, known_runs())
    activity.doing = f"logs of {chosen.id}"
    if not exists(os.environ, chosen.id) and not (follow and chosen.runs and _will_print(chosen.id)):
        state = "has printed nothing so far" if chosen.runs else "has printed nothing that is kept"
        show_data(f"{chosen.id} ({chosen.task}) {state}", err=True)
        return
    for line in lines(os.environ, chosen.id, follow=follow, tail=tail, stream=stream):
        _show(line, timestamps=timestamps, as_json=as_json)


def known_runs() -> list[Known]:
    """Return all runs of this user: running ones, those of the history, and those with a log."""
    from flyte_images_runtime.execution.running_tasks import active

    from ..runner.history import recent
    from ..runner.run_logs import is_active, list_runs

    runs_by_id: dict[str, Known] = {}
    for entry in recent(os.environ, 10_000):
        if entry.get("id"):
            total = float((entry.get("metrics") or {}).get("total") or 0)
            since = float(entry.get("time") or 0) - total
            runs_by_id[entry["id"]] = Known(id=entry["id"], task=str(entry.get("task")), since=since)
    for run, head in list_runs(os.environ).items():
        since, also = float(head.get("since") or 0), str(head.get("container") or "")
        ended = runs_by_id.get(run)
        if ended is not None:
            runs_by_id[run] = replace(ended, also=also)
        else:  # the run goes on, or its caller was killed
            runs = is_active(os.environ, run)
            runs_by_id[run] = Known(id=run, task=str(head.get("task")), since=since, runs=runs, also=also)
    for task in active():
        if task.run:
            runs_by_id[task.run] = Known(id=task.run, task=task.task, since=task.since, runs=True)
    return list(runs_by_id.values())


def _will_print(run: str) -> bool:
    """Wait for the first line of a run. Return False if the run ends without one."""
    from flyte_images_runtime.execution.running_tasks import active

    from ..runner.run_logs import exists

    while any(task.run == run for task in active()):
        if exists(os.environ, run):
            return True
        time.sleep(0.1)
    return exists(os.environ, run)


def _show(line: LogLine, *, timestamps: bool, as_json: bool) -> None:
    if as_json:
        import json

        click.echo(json.dumps({"time": round(line.time, 6), "stream": line.stream, "text": line.text}))
        sys.stdout.flush()
        return
    when = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(line.time)) + f".{int(line.time % 1 * 1000):03d} "
    show_data((when if timestamps else "") + last_state(line.text), err=line.stream == "stderr")
