"""Arguments and options that several verbs take, spelt the same everywhere."""

from __future__ import annotations

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
    from typing import get_args

    from ..engines import EngineName

    return get_args(EngineName)


def _engine(ctx: click.Context, param: click.Parameter, value: str) -> str:
    known = engine_names()
    if value not in known:
        raise click.BadParameter(f"there is no engine `{value}`; there are {', '.join(known)}", ctx, param)
    return value


engine_option = click.option(
    "--engine",
    default="auto",
    metavar="NAME",
    callback=_engine,
    help="What runs it: auto (the quickest that can do what is asked), or one by name; "
    "oci is crun or runc without a daemon.",
)
