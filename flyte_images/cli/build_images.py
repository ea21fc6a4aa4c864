"""Build the images of a user's file and print their references. Does not import click."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from .interrupt import Activity
from .load import load

if TYPE_CHECKING:
    from ..builder.output_spec import OutputSpec
    from ..progress import Mode


def build_file(
    activity: Activity,
    file: str,
    names: tuple[str, ...],
    *,
    builder: str | None = None,
    push: bool = False,
    wanted: OutputSpec | None = None,
    no_cache: bool = False,
    upgrade: bool = False,
    progress: Mode = "auto",
    as_json: bool = False,
) -> None:
    """Build the images of `file`, or the named ones, and print one reference a line, or one JSON document."""
    from ..builder import build_all
    from ..progress import Progress

    activity.events = progress == "json"
    activity.doing = f"import of {file}"
    chosen = load(file).select(names)
    activity.doing = f"build of {', '.join(it.name for it in chosen)}"
    with Progress(progress, sys.stderr) as display:
        results = build_all(
            {it.name: it.image for it in chosen},
            builder=builder,
            push=push,
            wanted=wanted,
            no_cache=no_cache,
            upgrade=upgrade,
            progress=display,
        )
    if as_json:
        import json
        from dataclasses import asdict

        print(json.dumps({"images": [asdict(result) for result in results]}, indent=2))
        return
    is_file = wanted is not None and bool(wanted.outputs)
    for result in results:
        print(result.digest if is_file else result.ref)  # an image in a file has no reference
