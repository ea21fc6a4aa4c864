"""A connection to the engine that is made when something has to be asked, and closed at the end."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..buildkit.client import Client


@contextlib.contextmanager
def connector(builder: str | None) -> Iterator[Callable[[], Client]]:
    """A way to the engine for those steps of resolving that need one; nothing is dialled before."""
    with contextlib.ExitStack() as stack:
        clients: list[Client] = []

        def connect() -> Client:
            from ..buildkit.client import open_choice
            from ..buildkit.discovery import choose

            if not clients:
                clients.append(stack.enter_context(open_choice(choose(builder, environ=os.environ))))
            return clients[0]

        yield connect
