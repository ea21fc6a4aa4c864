"""flyte-images run: one task of a file, in its image, under its limits; its result on stdout.

What the task prints goes to stderr, as it prints it. What stands behind TASK is the task's own: `--rows 10`,
`--rows=10`, `--fast`, `--no-fast`; lists and dicts are JSON.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from ..errors import SpecError
from .interrupt import Activity
from .options import builder_option, file_argument, json_option, progress_option
from .suggest import closest

if TYPE_CHECKING:
    from flyte_images_runtime.metrics import Metrics
    from flyte_images_runtime.values.text import Parameter

    from ..progress import Mode
    from ..task import Task
    from .load import Loaded


@click.command("run", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@builder_option
@progress_option
@json_option
@file_argument
@click.argument("task")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[--ARG VALUE]...")
@click.pass_obj
def command(
    activity: Activity,
    *,
    file: str,
    task: str,
    arguments: tuple[str, ...],
    builder: str | None,
    progress: Mode,
    as_json: bool,
) -> None:
    """Build the image of TASK in FILE if needed, run the task in it under its limits, and print its result.

    TASK is a function, or environment.function. `flyte-images run FILE TASK --help` lists its arguments.
    """
    from .load import load

    activity.events = progress == "json"
    activity.doing = f"the import of {file}"
    chosen = find_task(load(file), task)
    if set(arguments) & {"--help", "-h"}:
        click.echo(task_help(file, chosen))
        return
    args, kwargs = chosen.parse(pairs(arguments, chosen.parameters()))
    from flyte_images_runtime.failures import Raised

    from ..progress import Progress
    from ..run import run

    def tell(words: str, event: str, /, **fields: object) -> None:
        """To stderr: words, or an event where a program reads it."""
        if progress == "json":
            import json

            words = json.dumps({"event": event, "task": chosen.name, **fields})
        click.echo(words, err=True)

    def line(name: str, stream: str, text: str) -> None:
        tell(text, "output", stream=stream, text=text)

    runner = run.using(builder=builder, as_is=True, on_line=line)
    activity.doing = f"the build of the image of {chosen.name}"
    with Progress(progress, sys.stderr) as display:
        runner.using(progress=display).image(chosen.environment.built_image)
    activity.doing = f"the task {chosen.name}"
    try:
        done = runner(chosen, *args, **kwargs)
    except Raised as error:
        traceback = error.remote.traceback.rstrip("\n")
        tell(traceback, "traceback", text=traceback)
        raise
    if progress != "quiet":
        tell(f"{chosen.name}: {used(done.metrics)}", "task", metrics=done.metrics.as_dict())
    if as_json:
        document = {
            "task": done.task,
            "result": done.result,
            "metrics": done.metrics.as_dict(),
            "image": done.image,
            "attempts": done.attempts,
            "cached": done.cached,
        }
        click.echo(as_text(document))
    elif done.result is not None:
        click.echo(done.result if isinstance(done.result, str) else as_text(done.result))


def find_task(loaded: Loaded, name: str) -> Task[..., Any]:
    """The task of that name: `function`, or `environment.function` where several have one of that name."""
    there = [task for environment in loaded.environments.values() for task in environment.tasks.values()]
    found = [task for task in there if name in (task.name, task.name.partition(".")[2])]
    if len(found) == 1:
        return found[0]
    if found:
        several = ", ".join(f"`{task.name}`" for task in found)
        raise SpecError(f"`{name}` is the name of {len(found)} tasks: {several}", hint="name the environment too")
    names = [task.name.partition(".")[2] for task in there]
    if not names:
        hint = "a task is a function with @env.task above it, of an environment that a name of the module holds"
    else:
        hint = closest(name, names) or f"it has {', '.join(f'`{known}`' for known in names)}"
    raise SpecError(f"`{loaded.file.name}` has no task `{name}`", hint=hint)


def pairs(arguments: Sequence[str], parameters: Sequence[Parameter]) -> dict[str, str | list[str]]:
    """Command-line words -> texts by parameter.

    >>> from flyte_images_runtime.values.text import Parameter
    >>> fast = Parameter(name="fast", type="bool", required=False, default="True", switch=True)
    >>> pairs(["--row-count", "10", "--name=a", "--no-fast"], [fast])
    {'row_count': '10', 'name': 'a', 'fast': 'false'}
    """
    switches = {parameter.name for parameter in parameters if parameter.switch}
    rest = next((it.name for it in parameters if it.many), None)
    given: dict[str, str | list[str]] = {}
    words = list(arguments)
    while words:
        word = words.pop(0)
        if not word.startswith("--"):
            if rest is None:
                raise SpecError(f"`{word}` stands alone", hint=f"name the parameter: --name {word}")
            given[rest] = [*given.get(rest, []), word]
            continue
        name, equals, value = word[2:].partition("=")
        name = name.replace("-", "_")
        if not equals:
            if name in switches:
                value = "true"
            elif name.startswith("no_") and name[3:] in switches:
                name, value = name[3:], "false"
            elif not words:
                raise SpecError(f"`{word}` has no value")
            else:
                value = words.pop(0)
        given[name] = value
    return given


def task_help(file: str, task: Task[..., Any]) -> str:
    """What a task takes, as a help text."""
    lines = [f"Usage: flyte-images run {file} {task.name.partition('.')[2]} [--ARG VALUE]...", ""]
    if task.__doc__:
        lines += [f"  {line}".rstrip() for line in task.__doc__.strip().splitlines()] + [""]
    rows = []
    for parameter in task.parameters():
        option = f"--{parameter.name.replace('_', '-')}"
        says = [parameter.type if not parameter.choices else "|".join(parameter.choices)]
        says.append("required" if parameter.required else f"default: {parameter.default}" if parameter.default else "")
        rows.append((option, "  ".join(filter(None, says))))
    widest = max((len(option) for option, _ in rows), default=0)
    lines += ["Arguments:", *(f"  {option:<{widest}}  {says}" for option, says in rows)] if rows else ["No arguments."]
    return "\n".join(lines)


def used(metrics: Metrics) -> str:
    """What a run took, in one line."""
    from ..progress.text import duration, size

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


def as_text(value: object) -> str:
    """A result as JSON; what JSON has no word for, by its own plain form."""
    import json

    return json.dumps(value, indent=2, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> object:
    import dataclasses

    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    for method in ("model_dump", "to_dict", "tolist", "isoformat"):  # pydantic, tables, arrays, times
        if callable(getattr(value, method, None)):
            return getattr(value, method)()
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=repr)
    return str(value)
