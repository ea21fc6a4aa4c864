"""flyte-images base: make Debian with Python from Debian's archive, where no registry answers."""

from __future__ import annotations

import os

import click

from .interrupt import Activity
from .options import json_option


@click.group("base")
def command() -> None:
    """Make and list Debian bases. They need no registry and are kept in this machine's cache directory."""


@command.command("ls", short_help="list the bases that were made")
@json_option
def listed(*, as_json: bool) -> None:
    """List the bases that were made on this machine, the newest first."""
    from ..bootstrap.catalog import list_bases
    from ..progress.terminal_text import size

    bases = list_bases(os.environ)
    if as_json:
        import json

        entries = [
            {
                "suite": base.suite,
                "python": base.python,
                "architecture": base.architecture,
                "digest": base.manifest.digest,
                "size": base.size,
                "packages": len(base.packages),
                "made": base.made,
                "archive": max(release.date for release in base.releases),
            }
            for base in bases
        ]
        click.echo(json.dumps({"bases": entries}, indent=2))
        return
    for base in bases:
        click.echo(
            f"{base.suite:<9} python {base.python:<5} {base.architecture:<6} {size(base.size):>8}  "
            f"made {base.made[:10]}  {base.manifest.digest}"
        )
    if not bases:
        click.echo("no base was made yet; `flyte-images base build bookworm` makes one", err=True)


@command.command(short_help="make a base: bookworm or trixie")
@click.argument("suite")
@click.pass_obj
def build(activity: Activity, *, suite: str) -> None:
    """Make the base of SUITE (bookworm or trixie) from the archive as it is now. Later builds use this base.

    The same packages give the same image, byte for byte. Prints its digest.
    """
    from ..bootstrap.make import bootstrap

    activity.doing = f"base build {suite}"
    base = bootstrap(suite, environ=os.environ, note=lambda text: click.echo(text, err=True))
    click.echo(base.manifest.digest)
