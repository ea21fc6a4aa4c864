"""A call in a warm container: the pool's next one for this task, its limits, code and secrets; else a new one."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flyte_images_runtime.execution.execute import Finished, call_document
from flyte_images_runtime.execution.pool import Pool
from flyte_images_runtime.execution.warm import WarmContainer
from flyte_images_runtime.task.engine import Stream
from flyte_images_runtime.task.exchange import make_exchange
from flyte_images_runtime.task.log import Log
from flyte_images_runtime.task.spec import TaskSpec
from flyte_images_runtime.values.budget import Budget

from ..options import ReusePolicy
from .engines import EngineName, engine_for, passes_large_pages
from .gpu_lease import leased
from .nested import NestedCallServer
from .pickling import write_function
from .secrets import exposed, values
from .task_spec import way_out

if TYPE_CHECKING:
    from .call import Call

_POOL = Pool()


def warm_call(
    call: Call,
    spec: TaskSpec,
    policy: ReusePolicy,
    *,
    engine: EngineName,
    say: Callable[[Stream, str], None],
    begun: Callable[..., None],
) -> tuple[Finished, Any]:
    """Run the call in a warm container and return what came of it, and its result."""
    asked = time.monotonic()
    key = (spec, engine, tuple(values(call.task.options.secrets).items()), policy.fork)
    log = Log()

    def keep(stream: Stream, line: str) -> None:
        log.add(stream, line)
        say(stream, line)

    with _POOL.take(
        key,
        lambda: _start(call, spec, policy, engine),
        replicas=policy.replicas,
        idle_ttl=policy.idle_ttl,
        max_calls=policy.max_calls,
        check=call.still_wanted,
    ) as container:
        number = container.next_number()
        begun(container.running, container.exchange.name, container.attached["cards"], container.usage)
        try:
            with container.exchange.input_files(number) as files:
                arguments = call.encoded(files)
            _nested(container).serve(call)
            budget = Budget.of(spec.limits, spec.max_result)
            finished = container.call(
                arguments, number, on_line=keep, timeout=spec.timeout, log=log, since=asked, budget=budget
            )
            call.tell_refused(container.attached["gate"], log)
            result = None
            if finished.error is None:
                with container.exchange.output_files(number, budget=budget) as files:
                    result = call.decoded(finished.result, files)
        finally:
            begun(None)
            container.forget((number, *_nested(container).rest()))
    return finished, result


def _nested(container: WarmContainer) -> NestedCallServer:
    found: NestedCallServer = container.attached["nested"]
    return found


def _start(call: Call, spec: TaskSpec, policy: ReusePolicy, engine: EngineName) -> WarmContainer:
    """A container of its own, with its devices and its door for nested calls until it is closed."""
    exchange = make_exchange(large_pages=passes_large_pages(engine, spec))
    with contextlib.ExitStack() as stack:
        stack.callback(exchange.remove)
        lease = stack.enter_context(leased(spec, wait=call.task.options.gpu_wait))
        nested = stack.enter_context(NestedCallServer(call, exchange))
        gate = stack.enter_context(way_out(spec, exchange))
        final, variables = exposed(lease.spec, call.task.options.secrets, exchange)
        document = {**call_document(final, {}, secrets=variables), "fork": policy.fork}
        write_function(final, exchange)
        container = WarmContainer(engine_for(engine, final), final, exchange, document, redactor=call.redactor)
        lease.started(container.running)
        container.attached.update(nested=nested, gate=gate, cards=lease.cards)
        container.cleanups.append(stack.pop_all().close)
    return container
