"""flyte-images base: Debian with Python, made from Debian's archive alone, where no registry answers."""

from __future__ import annotations

import os

import click

from .interrupt import Activity
from .options import json_option


@click.group("base")
def command() -> None:
    """Debian bases that are made without a registry, and kept in the cache directory of this machine."""


@command.command("ls", short_help="the bases that are there")
@json_option
def listed(*, as_json: bool) -> None:
    """The bases that are there, the newest first."""
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
        click.echo("no base yet: flyte-images base build bookworm", err=True)


@command.command(short_help="make one: bookworm or trixie")
@click.argument("suite")
@click.pass_obj
def build(activity: Activity, *, suite: str) -> None:
    """Make the base of SUITE (bookworm, trixie) from the archive as it is now; from then on images stand on it.

    The same packages give the same image, byte for byte. Prints its digest.
    """
    from ..bootstrap.make import bootstrap

    activity.doing = f"the making of the base {suite}"
    made = bootstrap(suite, environ=os.environ, note=lambda text: click.echo(text, err=True))
    click.echo(made.manifest.digest)
