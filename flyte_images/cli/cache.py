"""flyte-images cache: what is kept on this machine, and how it goes."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from ..errors import SpecError
from .options import builder_option, json_option, seconds_of
from .table import columns

if TYPE_CHECKING:
    from ..store.bounded_dir import BoundedDirectory, Entry

_KINDS = {
    "code": "copies of source trees that tasks ran from",
    "context": "which local file had which content",
    "files": "files and directories that tasks returned",
    "logs": "what runs printed",
    "resolved": "what names were resolved to",
    "results": 'results of tasks with cache="auto"',
}


def kinds() -> dict[str, BoundedDirectory]:
    """Return what the cache of this user holds, by kind."""
    from ..runner.artifacts import arrivals_in
    from ..runner.bundle_cache import copies_in
    from ..runner.run_logs import logs_in
    from ..store.bounded_dir import BoundedDirectory
    from ..store.cache_dir import cache_dir

    place = cache_dir(os.environ)
    bounded = {"code": copies_in, "files": arrivals_in, "logs": logs_in}
    return {
        kind: bounded[kind](place / kind) if kind in bounded else BoundedDirectory(path=place / kind) for kind in _KINDS
    }


@click.group("cache")
def command() -> None:
    """Show and empty what is kept in the cache directory of this machine. All of it can be made again."""


@command.command("ls", short_help="each thing that is kept, the one used last first")
@click.argument("kind", required=False)
@json_option
def listed(*, kind: str | None, as_json: bool) -> None:
    """List what is kept, or what is kept of one KIND: code, context, files, logs, resolved, results."""
    found = [(name, entry) for name, directory in _chosen(kind).items() for entry in directory.entries()]
    found.sort(key=lambda pair: pair[1].used, reverse=True)
    if as_json:
        import json

        rows = [{"kind": name, "name": it.name, "size": it.size, "used": round(it.used, 3)} for name, it in found]
        click.echo(json.dumps({"entries": rows}, indent=2))
        return
    for line in _lines(found):
        click.echo(line)


@command.command(short_help="how much of each kind is kept, and where")
@json_option
def du(*, as_json: bool) -> None:
    """Show how much is kept, by kind."""
    from ..progress.terminal_text import size

    found = {kind: directory.entries() for kind, directory in kinds().items()}
    if as_json:
        import json

        rows = [{"kind": kind, "count": len(it), "size": sum(e.size for e in it)} for kind, it in found.items()]
        click.echo(json.dumps({"kinds": rows}, indent=2))
        return
    rows_ = [[kind, str(len(it)), size(sum(e.size for e in it)), _KINDS[kind]] for kind, it in found.items()]
    for line in columns(rows_, ["kind", "count", "size", "what"]):
        click.echo(line)


@command.command(short_help="remove what was not used for a day; nothing that is in use")
@click.argument("kind", required=False)
@click.option("--unused-for", default="24h", show_default=True, metavar="TIME", help="Keep what was used since.")
@click.option("--name", metavar="NAME", help="Remove this entry alone, whenever it was used.")
@click.option("--keep", metavar="SIZE", help="Keep so much of each kind, what was used last: 500Mi, 2Gi.")
@click.option("--engine", is_flag=True, help="Also empty the build cache of the engine of what no build uses.")
@click.option("--dry-run", is_flag=True, help="Show what would go, and remove nothing. The engine is not asked.")
@builder_option
def prune(
    *,
    kind: str | None,
    unused_for: str,
    name: str | None,
    keep: str | None,
    engine: bool,
    dry_run: bool,
    builder: str | None,
) -> None:
    """Remove what was not used for a day, of all kinds or of one KIND. What a running task uses stays.

    Bases and packed layers are not removed: builds stand on them.
    """
    from ..progress.terminal_text import size

    try:
        before = time.time() - seconds_of(unused_for)
    except ValueError:
        raise click.BadParameter(f"`{unused_for}` is not a time; 30m and 24h are", param_hint="--unused-for") from None
    gone: list[tuple[str, Entry]] = []
    for of, directory in _chosen(kind).items():
        for entry in _beyond(directory.entries(), before=before, name=name, keep=keep):
            if dry_run or directory.remove(entry):
                gone.append((of, entry))
    for line in _lines(gone):
        click.echo(line)
    total = size(sum(entry.size for _, entry in gone))
    click.echo(f"{'would remove' if dry_run else 'removed'} {len(gone)} entries, {total}", err=True)
    if engine and not dry_run:
        _prune_engine(builder)


def _prune_engine(builder: str | None) -> None:
    from ..progress.terminal_text import size
    from .connection import connector

    with connector(builder) as connect:
        records = connect().prune()
    total = size(sum(it.size for it in records))
    click.echo(f"removed {len(records)} records of the engine's build cache, {total}", err=True)


def _beyond(entries: Sequence[Entry], *, before: float, name: str | None, keep: str | None) -> list[Entry]:
    """The entries that go. `entries` begin with the one that was used last."""
    if name is not None:
        return [entry for entry in entries if entry.name == name]
    if keep is None:
        return [entry for entry in entries if entry.used < before]
    from flyte_images_runtime.resources.quantity import parse_size

    room, gone = parse_size(keep, name="--keep", smallest=0), []
    for entry in entries:
        if entry.size <= room:
            room -= entry.size
        else:
            gone.append(entry)
    return gone


def _chosen(kind: str | None) -> dict[str, BoundedDirectory]:
    if kind is not None and kind not in _KINDS:
        raise SpecError(f"nothing of the kind `{kind}` is kept", hint=f"one of {', '.join(_KINDS)}")
    return {name: directory for name, directory in kinds().items() if kind in (None, name)}


def _lines(found: Sequence[tuple[str, Entry]]) -> list[str]:
    from ..progress.terminal_text import size

    rows = [
        [kind, size(entry.size), time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.used)), entry.name]
        for kind, entry in found
    ]
    return columns(rows, ["kind", "size", "used", "name"]) if rows else []
