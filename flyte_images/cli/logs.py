"""flyte-images logs: what a run prints, or has printed. What went to stdout comes to stdout, the rest to stderr."""

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
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, until the run ends.")
@click.option("-n", "--tail", type=click.IntRange(0), metavar="N", help="Only the last N lines of what there is.")
@click.option("-t", "--timestamps", is_flag=True, help="Begin each line with its time.")
@click.option("--stdout", "stream", flag_value="stdout", help="Only what went to stdout.")
@click.option("--stderr", "stream", flag_value="stderr", help="Only what went to stderr.")
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
    """Show what RUN prints or has printed.

    RUN is an id as `flyte-images ps` and `runs` show it, its beginning, the name of a task (its last run), or `last`
    (the default): the run that began last, of those that still run if there are any.

    Kept are the first megabyte and the last seven of each run, and 256 MB of all; never a secret's value.
    """
    from ..runner.run_logs import exists, lines

    chosen = find(run, known_runs())
    activity.doing = f"the look at {chosen.id}"
    if not exists(os.environ, chosen.id) and not (follow and chosen.runs and _will_print(chosen.id)):
        what = "has printed nothing until now" if chosen.runs else "has printed nothing that is kept"
        show_data(f"{chosen.id} ({chosen.task}) {what}", err=True)
        return
    for line in lines(os.environ, chosen.id, follow=follow, tail=tail, stream=stream):
        _show(line, timestamps=timestamps, as_json=as_json)


def known_runs() -> list[Known]:
    """All runs of this user that can be asked for: those that run now, those of the history, those with a log."""
    from flyte_images_runtime.execution.running_tasks import active

    from ..runner.history import recent
    from ..runner.run_logs import is_active, list_runs

    found: dict[str, Known] = {}
    for entry in recent(os.environ, 10_000):
        if entry.get("id"):
            total = float((entry.get("metrics") or {}).get("total") or 0)
            since = float(entry.get("time") or 0) - total
            found[entry["id"]] = Known(id=entry["id"], task=str(entry.get("task")), since=since)
    for run, head in list_runs(os.environ).items():
        since, also = float(head.get("since") or 0), str(head.get("container") or "")
        ended = found.get(run)
        if ended is not None:
            found[run] = replace(ended, also=also)
        else:  # it runs, or its caller was killed
            runs = is_active(os.environ, run)
            found[run] = Known(id=run, task=str(head.get("task")), since=since, runs=runs, also=also)
    for one in active():
        if one.run:
            found[one.run] = Known(id=one.run, task=one.task, since=one.since, runs=True)
    return list(found.values())


def _will_print(run: str) -> bool:
    """Wait for the first line of a run, or for its end without any."""
    from flyte_images_runtime.execution.running_tasks import active

    from ..runner.run_logs import exists

    while any(one.run == run for one in active()):
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
