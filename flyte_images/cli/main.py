"""Run the verb that argv names, and turn its end into an exit code.

0 done, 1 the build or the task failed, 2 wrong use or wrong spec, 3 no engine or no device, 128 + n ended by signal n.

`flyte-images build FILE [NAME]...` without options does not load click: a build that changes nothing takes 15 % less
processor time that way (110 to 128 ms against 130 to 133 ms).
"""

from __future__ import annotations

import gc

gc.disable()  # imports make no garbage; `main` turns the collector on again

import os  # noqa: E402
import sys  # noqa: E402
from collections.abc import Sequence  # noqa: E402

from ..errors import FlyteImagesError, SpecError  # noqa: E402
from .interrupt import Activity  # noqa: E402
from .streams import STDOUT, prepare_streams, silence_stdout  # noqa: E402


def main(args: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    prepare_streams()
    activity = Activity()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    gc.enable()
    with activity.interruptible():
        try:
            code = _run(list(sys.argv[1:] if args is None else args), activity)
            sys.stdout.flush()
        except KeyboardInterrupt:
            activity.report()
            return activity.exit_code
        except BrokenPipeError:  # the reader of stdout has closed it
            silence_stdout()
            return 1
        except SystemExit as exit:  # click ends this way on a broken pipe
            return exit.code if isinstance(exit.code, int) else 1
        except Exception as error:
            if type(error).__name__ == "Abort":  # click's name for Ctrl-C
                activity.report()
                return activity.exit_code
            return _report(error, activity)
    return code if isinstance(code, int) else 0


def _run(args: list[str], activity: Activity) -> object:
    if len(args) > 1 and args[0] == "build" and not any(arg.startswith("-") for arg in args):
        from .build_images import build_file

        build_file(activity, args[1], tuple(args[2:]))
        return 0
    from .verbs import verbs

    return verbs.main(args=args, prog_name="flyte-images", standalone_mode=False, obj=activity)


def _report(error: Exception, activity: Activity) -> int:
    if type(error).__name__ == "NoArgsIsHelpError":  # click 8.2 and newer
        print(error.ctx.get_help(), file=sys.stderr)  # type: ignore[attr-defined]
        return 2
    if os.environ.get("FLYTE_IMAGES_DEBUG"):
        import traceback

        traceback.print_exception(error)
    return show(error, activity)


def show(error: Exception, activity: Activity) -> int:
    """Write an error to stderr, for a person or a program. Return its exit code."""
    from .errors import event_of_error, render_error

    known = _known(error)
    if activity.events:
        event_of_error(known, sys.stderr)
    else:
        render_error(known, sys.stderr)
    return known.exit_code


def _known(error: Exception) -> FlyteImagesError:
    """Return any exception as one of this package's errors."""
    if isinstance(error, FlyteImagesError):
        return error
    if "click" in sys.modules and (usage_error := _from_click(error)) is not None:
        return usage_error
    if isinstance(error, OSError) and error.filename == STDOUT:
        silence_stdout()
        message = f"stdout cannot be written: {str(error.strerror).lower()}"
        return FlyteImagesError(message, hint="redirect the output to a file or device that can be written")
    if isinstance(error, OSError) and error.strerror:
        from .full import full_disk

        if (full := full_disk(error, os.environ)) is not None:
            return full
        return FlyteImagesError(error.strerror.lower() + (f": `{error.filename}`" if error.filename else ""))
    return FlyteImagesError(
        f"internal error of flyte-images: {type(error).__name__}: {error}",
        hint="run again with FLYTE_IMAGES_DEBUG=1 and report the traceback",
    )


def _from_click(error: Exception) -> SpecError | None:
    import click

    from .verbs import usage

    if not isinstance(error, click.ClickException):
        return None
    message = error.format_message().rstrip(".")
    hint = usage(error.ctx) if isinstance(error, click.UsageError) and error.ctx else None
    return SpecError(message[:1].lower() + message[1:], hint=hint)
