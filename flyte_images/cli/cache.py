"""flyte-images cache: show what this product keeps on this machine and in its engine, and remove it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from ..errors import SpecError
from .options import builder_option, json_option, seconds_of
from .table import columns

if TYPE_CHECKING:
    from ..store.bounded_dir import Entry
    from .cache_kinds import Kind

LOCAL = {
    "bases": "Debian bases, and which base an image's description means",
    "code": "copies of source trees that tasks ran from",
    "context": "digests of local files that were read",
    "files": "files and directories that tasks returned",
    "layers": "packed local files and package files",
    "logs": "output of runs",
    "resolved": "exact packages that names were resolved to, and indexes",
    "results": 'results of tasks with cache="auto"',
    "rootfs": "unpacked images of the engine `oci`",
}
ENGINE = {
    "images": "images in Docker that carry this product's label",
    "buildkit": "BuildKit's records of this product's steps",
}
_KINDS = LOCAL | ENGINE

_kind_argument = click.argument("kind", required=False, metavar="[KIND]")
_engine_option = click.option("--engine", is_flag=True, help="Include what is in the engine: images, buildkit.")


@contextlib.contextmanager
def kinds(kind: str | None, *, engine: bool, builder: str | None = None) -> Iterator[dict[str, Kind]]:
    """Yield the chosen kinds: the one named, else all below the cache directory, and with `engine` those in it too."""
    from .cache_kinds import local_kinds

    if kind is not None and kind not in _KINDS:
        raise SpecError(f"`{kind}` is not a kind of thing that is kept", hint=f"one of {', '.join(_KINDS)}")
    chosen = {name: it for name, it in local_kinds().items() if kind in (None, name)}
    if not (engine and kind is None) and kind not in ENGINE:
        yield chosen
        return
    from .cache_engine import BuildRecords, EngineImages
    from .connection import connector

    if kind in (None, "images"):
        chosen["images"] = EngineImages()
    with connector(builder) as connect:
        if kind in (None, "buildkit"):
            chosen["buildkit"] = BuildRecords(connect())
        yield chosen


@click.group("cache")
def command() -> None:
    """Show and remove what is kept in this machine's cache directory, and what this product made in the engine.

    Kinds: bases, code, context, files, layers, logs, resolved, results, rootfs; in the engine images, buildkit. All of
    it can be made again.
    """


@command.command("ls", short_help="list each entry, the last used first")
@_kind_argument
@_engine_option
@builder_option
@json_option
def listed(*, kind: str | None, engine: bool, builder: str | None, as_json: bool) -> None:
    """List the entries of all kinds below the cache directory, or of one KIND: size, last use, name, and the image,
    task or packages that an entry is about."""
    with kinds(kind, engine=engine, builder=builder) as chosen:
        entries = [(name, entry) for name, it in chosen.items() for entry in it.entries()]
    entries.sort(key=lambda pair: pair[1].used, reverse=True)
    if as_json:
        import json

        rows = [
            {"kind": name, "name": it.name, "size": it.size, "used": round(it.used, 3), "about": it.about}
            for name, it in entries
        ]
        click.echo(json.dumps({"entries": rows}, indent=2))
        return
    for line in _lines(entries):
        click.echo(line)


@command.command(short_help="show how much of each kind is kept")
@_engine_option
@builder_option
@json_option
def du(*, engine: bool, builder: str | None, as_json: bool) -> None:
    """Show how many entries of each kind are kept, and their size."""
    from ..progress.terminal_text import size

    with kinds(None, engine=engine, builder=builder) as chosen:
        kept = {kind: it.entries() for kind, it in chosen.items()}
    sums = {kind: sum(entry.size for entry in entries) for kind, entries in kept.items()}
    if as_json:
        import json

        rows = [{"kind": kind, "count": len(entries), "size": sums[kind]} for kind, entries in kept.items()]
        click.echo(json.dumps({"kinds": rows}, indent=2))
        return
    table = [[kind, str(len(entries)), size(sums[kind]), _KINDS[kind]] for kind, entries in kept.items()]
    for line in columns(table, ["kind", "count", "size", "what"]):
        click.echo(line)


@command.command(short_help="remove entries that were not used for a day, unless they are in use")
@_kind_argument
@click.option("--unused-for", default="24h", show_default=True, metavar="TIME", help="Keep entries used since.")
@click.option(
    "--name", metavar="NAME", help="Remove only this entry, or the entries about this image, task or package."
)
@click.option("--keep", metavar="SIZE", help="Keep the last used entries of each kind up to this size: 500Mi, 2Gi.")
@click.option("--engine", is_flag=True, help="Also remove what this product made in the engine: images, buildkit.")
@click.option("--dry-run", is_flag=True, help="Show what would be removed, and remove nothing.")
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
    """Remove entries that were not used for a day, of all kinds or of one KIND.

    Entries that a running build or task uses stay. Bases go only with KIND `bases`; images and records in the engine
    only with --engine, or with KIND `images` or `buildkit`, and only those that this product made.

    BuildKit keeps no owner of its records: those of this product's steps are recognized by their descriptions, those of
    file copies are not, and stay until BuildKit removes them by itself.
    """
    from ..progress.terminal_text import size

    try:
        before = time.time() - seconds_of(unused_for)
    except ValueError:
        raise click.BadParameter(f"`{unused_for}` is not a time; 30m and 24h are", param_hint="--unused-for") from None
    removed: list[tuple[str, Entry]] = []
    with kinds(kind, engine=engine, builder=builder) as chosen:
        for of, directory in chosen.items():
            if kind is None and of == "bases":
                continue
            for entry in _beyond(directory.entries(), before=before, name=name, keep=keep):
                if dry_run or directory.remove(entry):
                    removed.append((of, entry))
    for line in _lines(removed):
        click.echo(line)
    total = size(sum(entry.size for _, entry in removed))
    click.echo(f"{'would remove' if dry_run else 'removed'} {len(removed)} entries, {total}", err=True)


def _beyond(entries: Sequence[Entry], *, before: float, name: str | None, keep: str | None) -> list[Entry]:
    """Return the entries to remove. `entries` begin with the last used one."""
    if name is not None:
        return [entry for entry in entries if entry.name == name or name in _words(entry.about)]
    if keep is None:
        return [entry for entry in entries if entry.used < before]
    from flyte_images_runtime.resources.quantity import parse_size

    room, surplus = parse_size(keep, name="--keep", smallest=0), []
    for entry in entries:
        if entry.size <= room:
            room -= entry.size
        else:
            surplus.append(entry)
    return surplus


def _words(about: str) -> set[str]:
    """Return the names in a description, and the names of images without their tags.

    >>> sorted(_words("ml/train:0a1b, six and 3 more"))
    ['3', 'and', 'ml/train', 'ml/train:0a1b', 'more', 'six']
    """
    words = about.replace(",", " ").split()
    return {name for word in words for name in (word, word.rpartition(":")[0]) if name}


def _lines(entries: Sequence[tuple[str, Entry]]) -> list[str]:
    from ..progress.terminal_text import size

    rows = [
        [kind, size(it.size), time.strftime("%Y-%m-%d %H:%M", time.localtime(it.used)), it.name, it.about]
        for kind, it in entries
    ]
    return columns(rows, ["kind", "size", "used", "name", "about"]) if rows else []
