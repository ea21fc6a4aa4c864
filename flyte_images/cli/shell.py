"""flyte-images shell: a shell, or one command, where the tasks of an environment run. Its exit status is this one's."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from flyte_images_runtime.portable.suggest import did_you_mean

from ..errors import SpecError
from .interrupt import Activity
from .options import builder_option, engine_option, file_argument, progress_option

if TYPE_CHECKING:
    from ..environment import TaskEnvironment
    from ..progress import Mode
    from ..runner.engines import EngineName
    from .load import Loaded


class _Words(click.Command):
    """Keeps what stands behind `--` away from click: it is the command's own, whatever it looks like."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        at = args.index("--") if "--" in args else len(args)
        ctx.meta["command"] = tuple(args[at + 1 :])
        return super().parse_args(ctx, args[:at])


@click.command("shell", cls=_Words, options_metavar="[OPTIONS]")
@builder_option
@progress_option
@engine_option
@file_argument
@click.argument("env", required=False)
@click.pass_context
def command(
    ctx: click.Context, *, file: str, env: str | None, builder: str | None, progress: Mode, engine: EngineName
) -> None:
    """Open a shell where the tasks of environment ENV of FILE run; or run a command there: ... -- COMMAND ARGS.

    It has the environment's image, limits, hardening, network, mounts, variables, secrets and GPU, and the source files
    of its tasks; the time is not limited. On a terminal it gets a terminal of its own, else stdin, stdout and stderr
    are piped:

    \b
      flyte-images shell app.py
      flyte-images shell app.py ml_env -- python -V
      echo 'python -V' | flyte-images shell app.py

    It exits with the status of the shell or the command; 128 + n if signal n ended it.
    """
    from .load import load

    activity: Activity = ctx.obj
    activity.events = progress == "json"
    activity.doing = f"the import of {file}"
    chosen = find_environment(load(file), env)
    from ..progress import Progress
    from ..progress.status_line import say
    from ..runner.runner import run
    from ..runner.shell import open_shell
    from ..runner.task_spec import check_needs

    def line(name: str, stream: str, text: str) -> None:
        say(text)

    runner = run.using(builder=builder, engine=engine, on_line=line)
    check_needs(chosen.options, os.environ)
    activity.doing = f"the build of the image of {chosen.name}"
    with Progress(progress, sys.stderr) as display:
        runner.using(progress=display).image(chosen.built_image)
    activity.doing = f"the shell in {chosen.name}"
    terminal = os.isatty(0) and os.isatty(1)
    words = ctx.meta["command"]
    ended = open_shell(chosen, words, options=runner, terminal=terminal, term=os.environ.get("TERM"))
    if ended.error is not None and not ended.exit_status:
        raise ended.error
    if ended.error is not None:
        from .main import show

        show(ended.error, activity)
    ctx.exit(ended.exit_status)


def find_environment(loaded: Loaded, name: str | None) -> TaskEnvironment:
    """The environment of that name or variable, or the only one."""
    there = loaded.environments
    if not there:
        raise SpecError(
            f"`{loaded.file.name}` has no environment",
            hint='assign one to a name of the module: env = flyte.TaskEnvironment(name="my_env")',
        )
    if name is None:
        if len(there) > 1:
            several = ", ".join(f"`{one.name}`" for one in there.values())
            raise SpecError(
                f"`{loaded.file.name}` has {len(there)} environments: {several}",
                hint=f"name one: flyte-images shell {loaded.file.name} {next(iter(there.values())).name}",
            )
        return next(iter(there.values()))
    for variable, one in there.items():
        if name in (one.name, variable):
            return one
    known = [word for variable, one in there.items() for word in (one.name, variable)]
    raise SpecError(
        f"`{loaded.file.name}` has no environment `{name}`",
        hint=did_you_mean(name, known) or "it has " + ", ".join(f"`{one.name}`" for one in there.values()),
    )
