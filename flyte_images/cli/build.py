"""flyte-images build: build the images of a file and print their references, one a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .interrupt import Activity
from .options import builder_option, file_argument, json_option, no_cache_option, progress_option

if TYPE_CHECKING:
    from ..progress import Mode


@click.command("build")
@file_argument
@click.argument("names", nargs=-1, metavar="[NAME]...")
@builder_option
@click.option("--push", is_flag=True, help="Push each image to the registry that it names.")
@click.option("--tag", "tags", multiple=True, metavar="NAME", help="Add a full name to the image; repeatable.")
@click.option(
    "--output", "outputs", multiple=True, metavar="SPEC", help="type=oci|docker|local|tar,dest=PATH; repeatable."
)
@click.option("--cache-from", multiple=True, metavar="SPEC", help="type=registry,ref=NAME or type=local,src=DIR, ...")
@click.option("--cache-to", multiple=True, metavar="SPEC", help="Like --cache-from, with dest=DIR and mode=min|max.")
@no_cache_option
@click.option("--upgrade", is_flag=True, help="Resolve bases and packages again.")
@progress_option
@json_option
@click.pass_obj
def command(
    activity: Activity,
    *,
    file: str,
    names: tuple[str, ...],
    builder: str | None,
    push: bool,
    tags: tuple[str, ...],
    outputs: tuple[str, ...],
    cache_from: tuple[str, ...],
    cache_to: tuple[str, ...],
    no_cache: bool,
    upgrade: bool,
    progress: Mode,
    as_json: bool,
) -> None:
    """Build every Image and the image of every TaskEnvironment in FILE. NAME chooses some: a variable or environment.

    An image that the engine has is not built again. Prints one reference a line.
    """
    from .build_images import build_file

    wanted = None
    if tags or outputs or cache_from or cache_to:
        from ..builder.output_spec import OutputSpec

        wanted = OutputSpec(tags=tags, outputs=outputs, cache_from=cache_from, cache_to=cache_to)
    build_file(
        activity,
        file,
        names,
        builder=builder,
        push=push,
        wanted=wanted,
        no_cache=no_cache,
        upgrade=upgrade,
        progress=progress,
        as_json=as_json,
    )
