"""flyte-images lock: resolve all images of a file and write the result beside it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .interrupt import Activity
from .options import builder_option, file_argument, json_option, progress_option

if TYPE_CHECKING:
    from ..progress import Mode


@click.command("lock")
@file_argument
@builder_option
@click.option("--upgrade", is_flag=True, help="Resolve bases and packages again instead of keeping the locked ones.")
@click.option("--check", is_flag=True, help="Write nothing; fail if the lock does not cover every image.")
@progress_option
@json_option
@click.pass_obj
def command(
    activity: Activity, *, file: str, builder: str | None, upgrade: bool, check: bool, progress: Mode, as_json: bool
) -> None:
    """Write flyte-images.lock beside FILE: the exact base and package files of its images, by hash.

    Builds of these images, on any machine, then use these files and resolve nothing.
    """
    from ..builder.prepare import LOCK_NAME, contents_of, from_project, locked, one_platform
    from ..buildkit.build_context import BuildContext
    from ..errors import SpecError
    from ..plan.lock import dumps
    from ..progress import Progress
    from .connection import connector
    from .load import load

    activity.events = progress == "json"
    activity.doing = f"import of {file}"
    chosen = load(file).select(())
    path = Path(file).absolute().with_name(LOCK_NAME)
    if check:
        missing = [it.name for it in chosen if from_project(it.image, one_platform(it.image)) is None]
        if missing:
            raise SpecError(f"`{path}` does not cover {', '.join(missing)}", hint=f"flyte-images lock {file}")
        return
    activity.doing = f"lock of {', '.join(it.name for it in chosen)}"
    with Progress(progress, sys.stderr) as display, connector(builder) as connect:
        context = BuildContext(environ=os.environ, connect=connect, note=display.note, upgrade=upgrade)
        locks = {
            it.name: (
                it.image,
                locked(it.image, context, contents=contents_of(it.image)),
            )
            for it in chosen
        }
    text = dumps(locks)
    path.write_text(text, encoding="utf-8")
    click.echo(text.rstrip("\n") if as_json else str(path))
