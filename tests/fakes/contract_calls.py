"""One call of a task of the engines' contract, on an engine of this process or of another user's process."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from flyte_images_runtime.execution.execute import Finished, call_document, execute
from flyte_images_runtime.task.engine import Engine, Running
from flyte_images_runtime.task.exchange import make_exchange
from flyte_images_runtime.task.spec import Code, TaskSpec

CONTRACT = str(Path(__file__).parents[1] / "integration" / "runtime" / "contract")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Run `function` of contract/tasks.py. `options` are the specification's. `cancel_after` seconds cancel it."""

    function: str
    arguments: dict[str, Any]
    options: dict[str, Any]
    cancel_after: float | None = None
    contract: str = CONTRACT
    lines: list[tuple[str, str]] = field(default_factory=list)


class Kind(Protocol):
    """An engine as the contract's tests use it.

    limits  are CPU and memory kept here? What is not kept is refused
    user    the user and group of a task that names none; None: numbers of no account
    """

    name: str
    limits: bool
    user: tuple[int, int] | None

    def run(self, request: Request) -> Finished: ...


def run(engine: Engine, request: Request) -> Finished:
    """Start the task, wait for its end, remove everything."""
    spec = TaskSpec(
        task=f"contract.{request.function}",
        code=Code(module="tasks", qualname=request.function, roots=(request.contract,)),
        **request.options,
    )

    def begun(running: Running) -> None:
        if request.cancel_after is not None:
            threading.Timer(request.cancel_after, running.cancel).start()

    exchange = make_exchange()
    try:
        exchange.write_call(call_document(spec, request.arguments, secrets={}))
        return execute(
            engine,
            spec,
            exchange,
            on_line=lambda stream, line: request.lines.append((stream, line)),
            on_running=begun,
        )
    finally:
        exchange.remove()


@dataclass(frozen=True)
class Here:
    """An engine of root in this process."""

    name: str
    engine: Engine
    limits: bool = True
    user: tuple[int, int] | None = None

    def run(self, request: Request) -> Finished:
        return run(self.engine, request)
