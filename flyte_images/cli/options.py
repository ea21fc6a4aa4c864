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
