"""The verbs. The module of a verb is imported when the verb is used."""

from __future__ import annotations

import click

from flyte_images_runtime.portable.suggest import did_you_mean

from .. import __version__
from ..errors import SpecError
from .verbose import verbose_option

_VERBS = {
    "build": "build the images of a file and print their references",
    "run": "build the image of a task, run the task in it and print the result",
    "shell": "open a shell, or run a command, in the container of an environment",
    "ps": "list the tasks that run now",
    "logs": "show the output of a run",
    "stop": "end running tasks",
    "runs": "list past runs and how they ended",
    "show": "show what a build would do: plan, llb, graph",
    "lock": "write the exact bases and packages of a file's images to a lock file",
    "base": "make and list Debian bases without a registry",
    "cache": "show and remove what is kept on this machine: ls, du, prune",
    "doctor": "check this machine and show a fix for each problem",
    "schema": "print the JSON Schemas of --json documents",
}


class Verbs(click.Group):
    """A group whose commands live in one module each, `flyte_images.cli.<verb>.command`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _VERBS:
            return None
        module = __import__(f"{__package__}.{cmd_name}", fromlist=["command"])
        command: click.Command = module.command
        for each in (command, *(command.commands.values() if isinstance(command, click.Group) else ())):
            if not isinstance(each, click.Group) and not any("--verbose" in it.opts for it in each.params):
                each.params.append(verbose_option())
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in _VERBS and not args[0].startswith("-"):
            raise SpecError(f"`{args[0]}` is not a command", hint=did_you_mean(args[0], _VERBS) or usage(ctx))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_VERBS.items()))


@click.command(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="%(prog)s %(version)s")
def verbs() -> None:
    """Build container images that are described in Python, and run tasks in them under limits.

    Results go to stdout, progress and errors to stderr. FLYTE_IMAGES_DEBUG=1 adds tracebacks to errors.
    """


verbs.params.append(verbose_option())


def usage(ctx: click.Context) -> str:
    """Return the command line that shows the help of `ctx`."""
    return f"{ctx.command_path} --help"
