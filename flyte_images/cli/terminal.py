"""Data -> stdout or stderr: byte for byte into a file or a pipe; on a terminal nothing in it is obeyed."""

from __future__ import annotations

import sys

import click

from flyte_images_runtime.portable.visible import visible


def show_data(text: str, *, err: bool = False) -> None:
    """Print `text` and a newline. A terminal is shown escape sequences as text; a program gets them as they are."""
    stream = sys.stderr if err else sys.stdout
    click.echo(visible(text) if stream.isatty() else text, err=err, color=True)  # else click drops escapes from pipes
