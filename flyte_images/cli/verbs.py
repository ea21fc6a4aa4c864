"""The verbs. Each has a module of its own, which is imported when the verb is used, not before."""

from __future__ import annotations

import click

from flyte_images_runtime.portable.suggest import did_you_mean

from .. import __version__
from ..errors import SpecError
from .verbose import verbose_option

_VERBS = {
    "build": "build the images of a file; print one reference a line",
    "run": "build what a task needs, run it in its image, print the result",
    "shell": "a shell, or a command, where the tasks of an environment run",
    "ps": "the tasks that run now",
    "logs": "what a run prints or has printed",
    "stop": "end a task that runs",
    "runs": "what was run on this machine, and how it ended",
    "show": "what would be done: plan, llb, graph; no engine is needed",
    "lock": "resolve the images of a file once, for every machine",
    "base": "Debian bases that are made without a registry",
    "cache": "what is kept on this machine: ls, du, prune",
    "doctor": "what works on this machine, and the fix for what does not",
    "schema": "JSON Schemas of the documents that --json prints",
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
            raise SpecError(f"no such command: `{args[0]}`", hint=did_you_mean(args[0], _VERBS) or usage(ctx))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_VERBS.items()))


@click.command(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="%(prog)s %(version)s")
def verbs() -> None:
    """Container images described in Python, and tasks that run in them under limits.

    Results go to stdout, progress and errors to stderr. FLYTE_IMAGES_DEBUG=1 shows where an error came from.
    """


verbs.params.append(verbose_option())


def usage(ctx: click.Context) -> str:
    """How to get help on the command of `ctx`."""
    return f"{ctx.command_path} --help"
