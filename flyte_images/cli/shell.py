"""flyte-images shell: run a shell or a command in the container of an environment, and exit with its status."""

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
    """Keeps the words after `--` from click: they belong to the command in the container."""

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
    """Open a shell in the container of environment ENV of FILE, or run a command there: ... -- COMMAND ARGS.

    The shell has the image, limits, hardening, network, mounts, variables, secrets and GPU of the environment, and the
    source files of its tasks; its time is not limited. On a terminal the shell gets a terminal, else stdin, stdout and
    stderr are piped:

    \b
      flyte-images shell app.py
      flyte-images shell app.py ml_env -- python -V
      echo 'python -V' | flyte-images shell app.py

    Exits with the status of the shell or command: 128 + n if signal n ended it.
    """
    from .load import load

    activity: Activity = ctx.obj
    activity.events = progress == "json"
    activity.doing = f"import of {file}"
    chosen = find_environment(load(file), env)
    from ..progress import Progress
    from ..progress.status_line import say
    from ..runner.runner import run
    from ..runner.shell import open_shell
    from ..runner.task_spec import check_needs

    runner = run.using(builder=builder, engine=engine, on_line=lambda name, stream, text: say(text))
    check_needs(chosen.options, os.environ)
    activity.doing = f"build of the image of {chosen.name}"
    with Progress(progress, sys.stderr) as display:
        runner.using(progress=display).image(chosen.built_image)
    activity.doing = f"shell in {chosen.name}"
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
    """Return the environment of that name or variable; without a name, the only one."""
    environments = loaded.environments
    if not environments:
        raise SpecError(
            f"`{loaded.file.name}` has no environment",
            hint='assign one to a variable of the module: env = flyte.TaskEnvironment(name="my_env")',
        )
    if name is None:
        if len(environments) > 1:
            several = ", ".join(f"`{environment.name}`" for environment in environments.values())
            raise SpecError(
                f"`{loaded.file.name}` has {len(environments)} environments: {several}",
                hint=f"name one: flyte-images shell {loaded.file.name} {next(iter(environments.values())).name}",
            )
        return next(iter(environments.values()))
    for variable, environment in environments.items():
        if name in (environment.name, variable):
            return environment
    known = [word for variable, environment in environments.items() for word in (environment.name, variable)]
    raise SpecError(
        f"`{loaded.file.name}` has no environment `{name}`",
        hint=did_you_mean(name, known)
        or "it has " + ", ".join(f"`{environment.name}`" for environment in environments.values()),
    )
