"""argv -> a verb, and what comes of it -> an exit code. A verb's module is imported when the verb is used, not before.

0 done, 1 the build or the task failed, 2 wrong use or wrong spec, 3 no engine or no device, 128 + n ended by signal n.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from .. import __version__
from ..errors import FlyteImagesError, SpecError
from .interrupt import Activity
from .suggest import closest

_VERBS = {
    "build": "build the images of a file; print one reference a line",
    "run": "build what a task needs, run it in its image, print the result",
    "ps": "the tasks that run now",
    "stop": "end a task that runs",
    "runs": "what was run on this machine, and how it ended",
    "show": "what would be done: plan, llb, graph; no engine is needed",
    "lock": "resolve the images of a file once, for every machine",
    "base": "Debian bases that are made without a registry",
    "doctor": "what works on this machine, and the fix for what does not",
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
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in _VERBS and not args[0].startswith("-"):
            raise SpecError(f"no such command: `{args[0]}`", hint=closest(args[0], _VERBS) or _usage(ctx))
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


def main(args: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    activity = Activity()
    with activity.interruptible():
        try:
            code = verbs.main(args=args, prog_name="flyte-images", standalone_mode=False, obj=activity)
            sys.stdout.flush()
        except (KeyboardInterrupt, click.Abort):
            activity.report()
            return activity.exit_code
        except BrokenPipeError:  # the reader of our output has had enough
            _silence_stdout()
            return 1
        except SystemExit as exit:  # click's own way with a broken pipe
            return exit.code if isinstance(exit.code, int) else 1
        except Exception as error:
            return _report(error, activity)
    return code if isinstance(code, int) else 0


def _report(error: Exception, activity: Activity) -> int:
    if (
        isinstance(error, click.UsageError) and error.ctx and type(error).__name__ == "NoArgsIsHelpError"
    ):  # of click 8.2
        click.echo(error.ctx.get_help(), err=True)
        return 2
    from .errors import event_of_error, render_error

    if os.environ.get("FLYTE_IMAGES_DEBUG"):
        import traceback

        traceback.print_exception(error)
    ours = _ours(error)
    if activity.events:
        event_of_error(ours, sys.stderr)
    else:
        render_error(ours, sys.stderr)
    return ours.exit_code


def _ours(error: Exception) -> FlyteImagesError:
    """Any exception as one of this package's errors."""
    if isinstance(error, FlyteImagesError):
        return error
    if isinstance(error, click.ClickException):
        message = error.format_message().rstrip(".")
        usage = _usage(error.ctx) if isinstance(error, click.UsageError) and error.ctx else None
        return SpecError(message[:1].lower() + message[1:], hint=usage)
    if hasattr(error, "exit_code") and hasattr(error, "hint"):  # an error of the runtime, which does not know ours
        ours = FlyteImagesError(str(error), hint=error.hint, location=getattr(error, "location", None))
        ours.exit_code = error.exit_code
        return ours
    if isinstance(error, OSError) and error.strerror:
        return FlyteImagesError(error.strerror.lower() + (f": `{error.filename}`" if error.filename else ""))
    return FlyteImagesError(
        f"a fault of flyte-images itself: {type(error).__name__}: {error}",
        hint="FLYTE_IMAGES_DEBUG=1 shows where; please report it with that",
    )


def _usage(ctx: click.Context) -> str:
    return f"{ctx.command_path} --help"


def _silence_stdout() -> None:
    """Let the interpreter's last flush go nowhere instead of complaining."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
