"""flyte-images schema: the JSON Schema of a document that --json prints."""

from __future__ import annotations

import click

from flyte_images_runtime.portable.suggest import did_you_mean

from ..errors import SpecError


@click.command("schema")
@click.argument("name", required=False, metavar="[NAME]")
def command(*, name: str | None) -> None:
    """Print the JSON Schema of the document that a verb prints with --json; without NAME, list the documents.

    NAME is the verb: build, run, ps, runs, logs, doctor, show-plan, cache-ls, cache-du, base-ls; or lock, the file
    flyte-images.lock.
    """
    import json

    from .documents import DOCUMENTS, schema_of

    if name is None:
        click.echo("\n".join(DOCUMENTS))
        return
    if name not in DOCUMENTS:
        raise SpecError(
            f"`{name}` is not a document", hint=did_you_mean(name, DOCUMENTS) or f"one of {', '.join(DOCUMENTS)}"
        )
    click.echo(json.dumps(schema_of(name), indent=2))
