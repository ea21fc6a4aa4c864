"""Connect to the engine on first use, and close the connection at the end."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..buildkit.client import Client


@contextlib.contextmanager
def connector(builder: str | None) -> Iterator[Callable[[], Client]]:
    """Return a function that connects on its first call, for the steps of resolving that need an engine.

    Until the end, `flyte-images cache prune` of other processes removes no blob.
    """
    from ..store.blobs import using_layout
    from ..store.cache_dir import cache_dir

    with contextlib.ExitStack() as stack:
        stack.enter_context(using_layout(cache_dir(os.environ)))
        clients: list[Client] = []

        def connect() -> Client:
            from ..buildkit.client import open_choice
            from ..buildkit.discovery import choose

            if not clients:
                clients.append(stack.enter_context(open_choice(choose(builder, environ=os.environ))))
            return clients[0]

        yield connect
