"""Arguments and options that several verbs take, spelt the same everywhere."""

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
    help="How to show what goes on, on stderr: auto, tty, plain, json or quiet.",
)
no_cache_option = click.option("--no-cache", is_flag=True, help="Run every step anew.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


def engine_names() -> tuple[str, ...]:
    """The engines that the code knows, "auto" first. To ask for them takes time, so only verbs that run things do."""
    from ..runner.engines import ENGINES

    return ENGINES


def _engine(ctx: click.Context, param: click.Parameter, value: str) -> str:
    known = engine_names()
    if value not in known:
        raise click.BadParameter(f"there is no engine `{value}`; there are {', '.join(known)}", ctx, param)
    return value


class _EngineOption(click.Option):
    """Names all engines in its help, and only there has to know them."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        names = ", ".join(name for name in engine_names() if name != "auto")
        self.help = f"What runs it: auto (default), the quickest that can do what is asked; or one of {names}."
        return super().get_help_record(ctx)


engine_option = click.option("--engine", cls=_EngineOption, default="auto", metavar="NAME", callback=_engine)


def seconds_of(text: str) -> float:
    """A time as people write it. ValueError for what is none.

    >>> [seconds_of(text) for text in ("90", "1.5", "1m30s", "2h", "1h5m", "90s")]
    [90.0, 1.5, 90.0, 7200.0, 3900.0, 90.0]
    """
    found = re.fullmatch(r"(?:([\d.]+)h)?(?:([\d.]+)m)?(?:([\d.]+)s?)?", text.strip())
    if found is None or not any(found.groups()):
        raise ValueError(f"`{text}` is no time")
    hours, minutes, seconds = (float(number or 0) for number in found.groups())
    return hours * 3600 + minutes * 60 + seconds


def _timeout(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    if value is None:
        return None
    try:
        seconds = seconds_of(value)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 10**9:
        raise click.BadParameter(f"`{value}` is no time; 90, 1m30s and 2h are", ctx, param)
    return seconds


timeout_option = click.option(
    "--timeout",
    metavar="TIME",
    callback=_timeout,
    help="End the task after so many seconds, or 1m30s, 2h; 0 for no limit. Default: as the task says.",
)


def _env(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    found: list[tuple[str, str]] = []
    for word in value:
        name, equals, text = word.partition("=")
        if not name:
            raise click.BadParameter(f"`{word}` has no name; NAME=VALUE has", ctx, param)
        if equals:
            found.append((name, text))
        elif name in os.environ:
            found.append((name, os.environ[name]))
    return tuple(found)


env_option = click.option(
    "--env",
    metavar="NAME[=VALUE]",
    multiple=True,
    callback=_env,
    help="A variable for the task; without a value your own, if you have one of that name. Several times.",
)
