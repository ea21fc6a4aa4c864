"""Arguments and options that several verbs take, with the same names and help everywhere."""

from __future__ import annotations

import os
import re

import click

file_argument = click.argument("file", type=click.Path())
builder_option = click.option(
    "--builder", metavar="ADDRESS", help="BuildKit to use: unix://, tcp://, ..., or the name of a buildx builder."
)
progress_option = click.option(
    "--progress",
    type=click.Choice(["auto", "tty", "plain", "json", "quiet"]),
    default="auto",
    metavar="HOW",
    help="How to show progress on stderr: auto, tty, plain, json or quiet.",
)
no_cache_option = click.option("--no-cache", is_flag=True, help="Run every step again.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


def engine_names() -> tuple[str, ...]:
    """Return the names of the engines, "auto" first. Imports the runner, so only verbs that run tasks call this."""
    from ..runner.engines import ENGINES

    return ENGINES


def _engine(ctx: click.Context, param: click.Parameter, value: str) -> str:
    names = engine_names()
    if value not in names:
        raise click.BadParameter(f"`{value}` is not an engine; the engines are {', '.join(names)}", ctx, param)
    return value


class _EngineOption(click.Option):
    """Names all engines in its help, and imports them only there."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        names = ", ".join(name for name in engine_names() if name != "auto")
        self.help = f"Engine to run on: auto (default), the fastest one that supports the request; or one of {names}."
        return super().get_help_record(ctx)


engine_option = click.option("--engine", cls=_EngineOption, default="auto", metavar="NAME", callback=_engine)


def seconds_of(text: str) -> float:
    """Return the seconds of a time as people write it. Raise ValueError for anything else.

    >>> [seconds_of(text) for text in ("90", "1.5", "1m30s", "2h", "1h5m", "90s")]
    [90.0, 1.5, 90.0, 7200.0, 3900.0, 90.0]
    """
    match = re.fullmatch(r"(?:([\d.]+)h)?(?:([\d.]+)m)?(?:([\d.]+)s?)?", text.strip())
    if match is None or not any(match.groups()):
        raise ValueError(f"`{text}` is not a time")
    hours, minutes, seconds = (float(number or 0) for number in match.groups())
    return hours * 3600 + minutes * 60 + seconds


def _timeout(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    if value is None:
        return None
    try:
        seconds = seconds_of(value)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 10**9:
        raise click.BadParameter(f"`{value}` is not a time; write 90, 1m30s or 2h", ctx, param)
    return seconds


timeout_option = click.option(
    "--timeout",
    metavar="TIME",
    callback=_timeout,
    help="End the task after this time: 90 (seconds), 1m30s, 2h; 0: no limit. Default: the task's own timeout.",
)


def _env(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    variables: list[tuple[str, str]] = []
    for word in value:
        name, equals, text = word.partition("=")
        if not name:
            raise click.BadParameter(f"`{word}` has no name; write NAME=VALUE", ctx, param)
        if equals:
            variables.append((name, text))
        elif name in os.environ:
            variables.append((name, os.environ[name]))
    return tuple(variables)


env_option = click.option(
    "--env",
    metavar="NAME[=VALUE]",
    multiple=True,
    callback=_env,
    help="Set a variable for the task; without a value, pass on your own variable. Repeatable.",
)
