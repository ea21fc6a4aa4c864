"""flyte-images run: run one task of a file in its image, under its limits, and print its result.

The output of the task goes to stderr as it comes. Words after TASK are arguments of the task: `--rows 10`, `--rows=10`,
`--fast`, `--no-fast`; lists and dicts are JSON. task_argv.py separates them from options of `flyte-images run`.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from flyte_images_runtime.portable.suggest import did_you_mean

from ..errors import SpecError
from .interrupt import Activity
from .options import (
    builder_option,
    engine_option,
    env_option,
    file_argument,
    json_option,
    progress_option,
    timeout_option,
)
from .task_argv import arguments_help, check_names, front, pairs, split
from .terminal import show_data

if TYPE_CHECKING:
    from flyte_images_runtime.resources.metrics import Metrics

    from ..progress import Mode
    from ..progress.task_progress import TaskProgress
    from ..runner.engines import EngineName
    from ..runner.model import Run
    from ..task import Task
    from .load import Loaded

_LAST_LINES = 20


class _Command(click.Command):
    """Sets the words after TASK aside until the parameters of the task are known."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own, others, words = front(args, self.options(), 2)
        ctx.meta[__name__] = words
        return super().parse_args(ctx, [*own, *others])

    def options(self) -> dict[str, bool]:
        """Return the names of all options; True for options that take a value."""
        return {
            name: not option.is_flag and not option.count
            for option in self.params
            if isinstance(option, click.Option)
            for name in (*option.opts, *option.secondary_opts)
        }

    def with_more(self, ctx: click.Context, words: list[str]) -> dict[str, Any]:
        """Return the options before TASK, overridden by those after it."""
        given = dict(ctx.params)
        if words:
            more = self.make_context(ctx.info_name, [*words, given["file"], given["task"]], parent=ctx.parent)
            for name, value in more.params.items():
                if more.get_parameter_source(name) is ParameterSource.COMMANDLINE:
                    given[name] = (*given[name], *value) if isinstance(value, tuple) else value
        return given


@click.command("run", cls=_Command, options_metavar="[OPTIONS]")
@engine_option
@timeout_option
@env_option
@click.option(
    "--follow/--no-follow",
    default=True,
    help="Show the output of the task while it runs (default), or only its last lines if it fails.",
)
@json_option
@builder_option
@progress_option
@file_argument
@click.argument("task", required=False, metavar="TASK")
@click.pass_context
def command(ctx: click.Context, /, **given: Any) -> None:
    """Build the image of TASK in FILE if needed, run the task in it under its limits, and print its result.

    TASK is a function, or environment.function. Its arguments follow: --rows 10, --rows=10, --fast, --no-fast; lists
    and dicts are JSON. `flyte-images run FILE TASK --help` lists them.

    The options below go before TASK. They may also follow it, unless the task has a parameter of the same name: after
    TASK that name is the parameter.
    """
    from .load import load

    activity: Activity = ctx.obj
    activity.events = given["progress"] == "json"
    activity.doing = f"import of {given['file']}"
    chosen = find_task(load(given["file"]), given["task"])
    parameters, own = chosen.parameters(), ctx.command
    assert isinstance(own, _Command)
    run_words, task_words = split(
        ctx.meta[__name__], {**own.options(), "--help": False, "-h": False, "-vv": False}, parameters
    )
    if {"--help", "-h"} & set(run_words):
        click.echo(task_help(ctx, given["file"], chosen))
        return
    words = pairs(task_words, parameters)
    check_names(words, parameters, own.options())
    args, kwargs = chosen.parse(words)
    options = own.with_more(ctx, run_words)
    perform(activity, chosen, args, kwargs, **{name: options[name] for name in options if name not in ("file", "task")})


def perform(
    activity: Activity,
    task: Task[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    *,
    builder: str | None,
    engine: EngineName,
    env: tuple[tuple[str, str], ...],
    follow: bool,
    timeout: float | None,
    progress: Mode,
    as_json: bool,
) -> None:
    """Build the image, run the task, and print the result."""
    from ..errors import Raised, TaskError
    from ..progress import Progress
    from ..progress.task_progress import TaskProgress
    from ..runner.runner import run
    from ..runner.task_spec import check_needs

    activity.events = progress == "json"
    task = _overridden(task, env, timeout)
    check_needs(task.options, os.environ)
    activity.doing = f"build of the image of {task.name}"
    runner = run.using(builder=builder, engine=engine, as_is=True)
    with Progress(progress, sys.stderr) as display:
        runner.using(progress=display).image(task.environment.built_image)
    activity.doing = f"task {task.name}"
    with TaskProgress(progress, sys.stderr, main=task.name, limit=memory_of) as shown:
        runner = runner.using(on_usage=shown.usage, **shown.watching(follow))
        call = runner.call(task, args, kwargs)
        try:
            done = call.run()
        except TaskError as error:
            if not follow:
                _show_last(shown, task.name, call.id)
            if isinstance(error, Raised):
                traceback = error.remote.traceback.rstrip("\n")
                shown.show(traceback, "traceback", task=task.name, text=traceback)
            raise
        if progress != "quiet":
            words = f"{task.name}: {used(done.metrics)}"
            shown.show(words, "task", task=task.name, run=done.id, metrics=done.metrics.as_dict())
    _print(done, as_json=as_json)


def _overridden(task: Task[..., Any], env: tuple[tuple[str, str], ...], timeout: float | None) -> Task[..., Any]:
    """Return the task with the variables and the time limit of the command line."""
    if env:
        task = task.override(env_vars={**dict(task.options.env_vars), **dict(env)})
    return task if timeout is None else task.override(timeout=timeout)


def _show_last(display: TaskProgress, task: str, run: str) -> None:
    """Print the last lines of a task whose output was not followed."""
    from ..runner.run_logs import lines

    for line in lines(os.environ, run, tail=_LAST_LINES):
        display.show(f"  | {line.text}", "output", task=task, stream=line.stream, text=line.text)


def _print(done: Run[Any], *, as_json: bool) -> None:
    from .render_result import as_text, encodable

    if as_json:
        document = {
            "id": done.id,
            "task": done.task,
            "result": done.result,
            "metrics": done.metrics.as_dict(),
            "image": done.image,
            "attempts": done.attempts,
            "cached": done.cached,
        }
        show_data(as_text(document))
    elif done.result is not None:
        show_data(encodable(done.result) if isinstance(done.result, str) else as_text(done.result))


def memory_of(task: str) -> int | None:
    """Return the memory limit of the task of that name, in bytes."""
    from ..environment import TaskEnvironment

    for environment in TaskEnvironment.all():
        for candidate in list(environment.tasks.values()):
            if candidate.name == task:
                return candidate.options.limits().memory
    return None


def find_task(loaded: Loaded, name: str | None) -> Task[..., Any]:
    """Return the task of that name: `function`, or `environment.function` where several environments have one."""
    tasks = [task for environment in loaded.environments.values() for task in environment.tasks.values()]
    matches = [task for task in tasks if name in (task.name, task.name.partition(".")[2])]
    if len(matches) == 1:
        return matches[0]
    if matches:
        several = ", ".join(f"`{task.name}`" for task in matches)
        raise SpecError(f"`{name}` is the name of {len(matches)} tasks: {several}", hint="name the environment too")
    names = [task.name.partition(".")[2] for task in tasks]
    if not names:
        hint = "a task is a function below @env.task, where env is a TaskEnvironment in a variable of the module"
    else:
        hint = (name and did_you_mean(name, names)) or f"it has {', '.join(f'`{known}`' for known in names)}"
    if name is None:
        raise SpecError(f"which task of `{loaded.file.name}`?", hint=hint)
    raise SpecError(f"`{loaded.file.name}` has no task `{name}`", hint=hint)


def task_help(ctx: click.Context, file: str, task: Task[..., Any]) -> str:
    """Return the help text of one task: its arguments, and the options of `flyte-images run`."""
    name = task.name.partition(".")[2]
    text = ctx.make_formatter()
    text.write_usage("flyte-images run", f"[OPTIONS] {file} {name} [--ARG VALUE]...")
    if task.__doc__:
        text.write_paragraph()
        for line in task.__doc__.strip().splitlines():
            text.write(f"  {line.strip()}".rstrip() + "\n")
    parameters = task.parameters()
    if parameters:
        with text.section("Arguments"):
            text.write_dl(arguments_help(parameters))
    else:
        text.write("\nNo arguments.\n")
    taken = {parameter.name.replace("_", "-") for parameter in parameters}
    options = [option for option in ctx.command.params if isinstance(option, click.Option)]
    rows = [record for option in options if (record := option.get_help_record(ctx)) is not None]
    shadowed = sorted(name for option in options for name in option.opts if name.removeprefix("--") in taken)
    where = f"{', '.join(shadowed)} only before {name}" if shadowed else f"before or after {name}"
    with text.section(f"Options of flyte-images run ({where})"):
        text.write_dl(rows)
    return text.getvalue().rstrip("\n")


def used(metrics: Metrics) -> str:
    """Return the metrics of a run in one line."""
    from ..progress.terminal_text import duration, size

    parts = [f"done in {duration(metrics.total)}"]
    if metrics.wall is not None:
        parts.append(f"function {duration(metrics.wall)}")
    if metrics.cpu is not None:
        parts.append(f"CPU {duration(metrics.cpu)}")
    if metrics.throttled:
        parts.append(f"throttled {duration(metrics.throttled)}")
    if metrics.peak_memory is not None:
        parts.append(f"peak memory {size(metrics.peak_memory)}")
    return ", ".join(parts)
