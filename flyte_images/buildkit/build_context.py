"""BuildContext: the caller's settings and engine, handed on from the edge to every room that prepares a build.

The rooms below read the environment, the engine and the progress display from this value alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from flyte_images_layers.record import record

if TYPE_CHECKING:
    from .client import Client


def _do_nothing() -> None: ...


def _discard(text: str) -> None: ...


@record(kw_only=True)
class BuildContext:
    """What a build knows about its caller.

    `environ` holds the caller's environment variables. `connect` returns the client of the engine and is called only
    when the engine has to be asked. `warm` starts to connect in the background, when an answer of the engine will be
    needed soon. `note` takes one line of progress for people. `upgrade` resolves bases and packages again, although a
    lock or the cache has them.
    """

    environ: Mapping[str, str]
    connect: Callable[[], Client]
    warm: Callable[[], None] = _do_nothing
    note: Callable[[str], None] = _discard
    upgrade: bool = False
