"""A call for an event loop: the call runs in a thread; cancellation of the awaiting coroutine cancels the call."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .model import CallLike, Run


async def run_in_thread(call: CallLike) -> Run[Any]:
    """Run the call in a new thread and return its Run. Cancel the call if the awaiting coroutine is canceled."""
    import asyncio

    loop = asyncio.get_running_loop()
    future: asyncio.Future[Run[Any]] = loop.create_future()

    def work() -> None:
        try:
            run = call.run()
        except BaseException as error:
            _settle(loop.call_soon_threadsafe, future, None, error)
        else:
            _settle(loop.call_soon_threadsafe, future, run, None)

    thread = threading.Thread(target=work, name=f"task {call.task.name}", daemon=True)
    thread.start()
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        call.cancel()
        await asyncio.wait([future])
        raise
    finally:
        if future.done() and not future.cancelled():
            future.exception()  # mark the exception as retrieved


def _settle(call_soon: Callable[..., Any], future: Any, result: Any, error: BaseException | None) -> None:
    def settle() -> None:
        if future.done():
            return
        if error is None:
            future.set_result(result)
        elif isinstance(error, StopIteration):  # a future cannot hold a StopIteration
            future.set_exception(RuntimeError(f"the task raised StopIteration: {error}"))
        else:
            future.set_exception(error)

    with contextlib.suppress(RuntimeError):  # the loop is closed, so that no coroutine waits
        call_soon(settle)
