"""flyte-images show: print the plan of a build, BuildKit's graph, or a drawing.

Names are resolved as in a build, so the package index may be asked. An engine is needed only for apt packages that were
never resolved before.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import EngineError, FlyteImagesError, SpecError
from .connection import connector
from .interrupt import Activity
from .options import builder_option, file_argument, json_option
from .terminal import show_data

if TYPE_CHECKING:
    from ..plan.model import Plan
    from .load import Named


@click.group("show")
def command() -> None:
    """Show what a build would do: the plan, BuildKit's graph, or a drawing."""


@command.command(short_help="print the steps of each image and the line that asks for each")
@file_argument
@click.argument("names", nargs=-1, metavar="[NAME]...")
@builder_option
@json_option
@click.pass_obj
def plan(activity: Activity, *, file: str, names: tuple[str, ...], builder: str | None, as_json: bool) -> None:
    """Print the steps of each image: what is fetched, installed, copied and run, and the line that asks for it."""
    from .render_plan import to_document, to_text

    chosen = _chosen(activity, file, names)
    plans = [(it.name, made) for it, made in _plans(chosen, builder)]
    if as_json:
        import json

        document = {"images": [{"name": name, **to_document(made)} for name, made in plans]}
        click.echo(json.dumps(document, indent=2))
    else:
        show_data("\n\n".join(to_text(name, made) for name, made in plans))


@command.command(short_help="print BuildKit's graph")
@file_argument
@click.argument("name", required=False)
@builder_option
@json_option
@click.option("--dot", is_flag=True, help="Print a graph for Graphviz.")
@click.pass_obj
def llb(activity: Activity, *, file: str, name: str | None, builder: str | None, as_json: bool, dot: bool) -> None:
    """Print BuildKit's graph of an image, with the digests that BuildKit reports."""
    from ..llb import marshal
    from ..llb.dump import to_dot, to_json, to_text
    from ..plan.lower import Lowering
    from ..serving.serve import serve_sources

    if as_json and dot:
        raise SpecError("--json and --dot exclude each other", hint="take one of them")
    one = _one(activity, file, name)
    [(_, made)] = _plans([one], builder)
    definition = marshal(Lowering().lower(made, serve_sources(one.image, made, environ=os.environ)))
    form = to_json if as_json else to_dot if dot else to_text
    show_data(form(definition).rstrip("\n"))


@command.command("graph", short_help="draw the plan as SVG, dot or PNG")
@file_argument
@click.argument("name", required=False)
@builder_option
@click.option(
    "--format", "form", type=click.Choice(["dot", "svg", "png"]), help="Default: by the suffix of OUTPUT, else dot."
)
@click.option("-o", "--output", type=click.Path(dir_okay=False), help="Write to this file instead of stdout.")
@click.pass_obj
def drawn(
    activity: Activity, *, file: str, name: str | None, builder: str | None, form: str | None, output: str | None
) -> None:
    """Draw the plan of an image: its steps and what each reads. PNG needs Graphviz."""
    from .render_graph import to_dot, to_svg

    form = form or (Path(output).suffix.lstrip(".") if output else "") or "dot"
    if form not in ("dot", "svg", "png"):
        raise SpecError(f"`{output}` does not name a format", hint="end it in .dot, .svg or .png, or use --format")
    if form == "png" and output is None and sys.stdout.isatty():
        raise SpecError("a terminal cannot show a PNG", hint="write it to a file: -o graph.png")
    [(one, made)] = _plans([_one(activity, file, name)], builder)
    match form:
        case "dot":
            data = to_dot(one.name, made).encode()
        case "svg":
            data = to_svg(one.name, made).encode()
        case _:
            data = _graphviz(to_dot(one.name, made))
    if output:
        Path(output).write_bytes(data)
    else:
        click.echo(data, nl=False)


def _chosen(activity: Activity, file: str, names: Sequence[str]) -> list[Named]:
    from .load import load

    activity.doing = f"import of {file}"
    chosen = load(file).select(names)
    activity.doing = f"plan of {', '.join(it.name for it in chosen)}"
    return chosen


def _one(activity: Activity, file: str, name: str | None) -> Named:
    chosen = _chosen(activity, file, [name] if name else [])
    if len(chosen) > 1:
        raise SpecError(
            f"`{file}` has {len(chosen)} images: {', '.join(f'`{it.name}`' for it in chosen)}",
            hint=f"name one: flyte-images show ... {file} {chosen[0].known_as[0]}",
        )
    return chosen[0]


def _plans(chosen: Sequence[Named], builder: str | None) -> list[tuple[Named, Plan]]:
    from ..builder.prepare import prepare
    from ..buildkit.build_context import BuildContext

    try:
        with connector(builder) as connect:
            context = BuildContext(environ=os.environ, connect=connect, note=note)
            return [(it, prepare(it.image, context)) for it in chosen]
    except EngineError as error:  # needed for a base or Debian packages that were never resolved
        error.hint = f"{error.hint}\nwithout an engine, make a base first: flyte-images base build bookworm"
        raise


def note(text: str) -> None:
    """Print progress to stderr."""
    click.echo(text, err=True)


def _graphviz(dot: str) -> bytes:
    import shutil
    import subprocess

    program = shutil.which("dot")
    if program is None:
        raise SpecError(
            "Graphviz, which draws PNG, is not installed",
            hint="apt-get install graphviz; --format svg works without it",
        )
    done = subprocess.run((program, "-Tpng"), input=dot.encode(), capture_output=True)
    if done.returncode:
        raise FlyteImagesError(f"`dot` failed: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout
