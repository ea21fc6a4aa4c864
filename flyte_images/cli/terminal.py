"""Print data: byte for byte to a file or pipe; on a terminal, escape sequences become visible text."""

from __future__ import annotations

import sys

import click

from flyte_images_runtime.portable.visible import visible


def show_data(text: str, *, err: bool = False) -> None:
    """Print `text` and a newline. On a terminal, print escape sequences as visible text."""
    stream = sys.stderr if err else sys.stdout
    click.echo(
        visible(text) if stream.isatty() else text, err=err, color=True
    )  # without color, click removes escape sequences from pipes
