"""A call for an event loop: done in a thread of its own, ended if who awaits it is cancelled."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .call import Call
    from .runner import Run


async def awaited(call: Call) -> Run[Any]:
    """Do the call in a thread of its own; end it if the awaiting task is cancelled."""
    import asyncio

    loop = asyncio.get_running_loop()
    done: asyncio.Future[Run[Any]] = loop.create_future()

    def work() -> None:
        try:
            outcome = call.run()
        except BaseException as error:
            _settle(loop.call_soon_threadsafe, done, None, error)
        else:
            _settle(loop.call_soon_threadsafe, done, outcome, None)

    thread = threading.Thread(target=work, name=f"task {call.task.name}", daemon=True)
    thread.start()
    try:
        return await asyncio.shield(done)
    except asyncio.CancelledError:
        call.cancel()
        await asyncio.wait([done])
        raise
    finally:
        if done.done() and not done.cancelled():
            done.exception()  # seen


def _settle(soon: Callable[..., Any], done: Any, outcome: Any, error: BaseException | None) -> None:
    def settle() -> None:
        if done.done():
            return
        if error is None:
            done.set_result(outcome)
        elif isinstance(error, StopIteration):  # a future cannot hold one
            done.set_exception(RuntimeError(f"the task raised StopIteration: {error}"))
        else:
            done.set_exception(error)

    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
        soon(settle)
