"""A call in a warm container: the pool's next one for this task, limits, code and secrets, or a new one."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

from flyte_images_runtime.execution.execute import Finished, call_document
from flyte_images_runtime.execution.warm import WarmContainer
from flyte_images_runtime.system.process_id import short
from flyte_images_runtime.task.engine import Stream
from flyte_images_runtime.task.exchange import make_exchange
from flyte_images_runtime.task.log import Log
from flyte_images_runtime.task.spec import TaskSpec
from flyte_images_runtime.values.budget import Budget

from ..options import ReusePolicy
from .call_codec import CallCodec
from .call_output import CallOutput
from .current_container import CurrentContainer
from .gpu_lease import lease_devices
from .nested import NestedCallServer
from .pickling import write_function
from .secrets import redactor, secret_values, write_secrets
from .task_spec import egress_gate

if TYPE_CHECKING:
    from .model import ParentCall


def warm_call(
    call: ParentCall,
    spec: TaskSpec,
    policy: ReusePolicy,
    *,
    codec: CallCodec,
    output: CallOutput,
    container: CurrentContainer,
) -> tuple[Finished, Any]:
    """Run the call in a warm container. Return how it ended, and its result."""
    began = time.monotonic()
    options = call.options
    values = tuple(secret_values(call.task.options.secrets, options.environ).items())
    log = Log()

    def add(stream: Stream, line: str) -> None:
        log.add(stream, line)
        output.add(stream, line)

    with options.state.warm_containers.take(
        (spec, options.engine, values, policy.fork),
        lambda: _start(call, spec, policy),
        replicas=policy.replicas,
        idle_ttl=policy.idle_ttl,
        max_calls=policy.max_calls,
        check=container.check_not_canceled,
    ) as warm:
        number = warm.next_number()
        output.set_container(short(warm.exchange.name))
        container.begin(warm.running, cards=warm.attached["cards"], usage=warm.usage)
        try:
            with warm.exchange.input_files(number) as files:
                arguments = codec.encode(files)
            _server(warm).serve(call)
            budget = Budget.of(spec.limits, spec.max_result)
            finished = warm.call(
                arguments, number, on_line=add, timeout=spec.timeout, log=log, since=began, budget=budget
            )
            output.add_refused(warm.attached["gate"], log)
            return finished, _result(warm, number, finished, codec, budget)
        finally:
            container.end()
            warm.forget((number, *_server(warm).end_calls()))


def _result(warm: WarmContainer, number: str, finished: Finished, codec: CallCodec, budget: Budget) -> Any:
    if finished.error is not None:
        return None
    with warm.exchange.output_files(number, budget=budget) as files:
        return codec.decode(finished.result, files)


def _server(warm: WarmContainer) -> NestedCallServer:
    server: NestedCallServer = warm.attached["nested"]
    return server


def _start(call: ParentCall, spec: TaskSpec, policy: ReusePolicy) -> WarmContainer:
    """Start a container, which keeps its devices, its proxy and its server for nested calls until it is closed."""
    options, secrets = call.options, call.task.options.secrets
    environ, engines = options.environ, options.state.engines
    exchange = make_exchange(large_pages=engines.attaches_large_pages(options.engine, spec))
    with contextlib.ExitStack() as stack:
        stack.callback(exchange.remove)
        lease = stack.enter_context(
            lease_devices(spec, wait=call.task.options.gpu_wait, engines=engines, environ=environ)
        )
        nested = stack.enter_context(NestedCallServer(call, exchange))
        gate = stack.enter_context(egress_gate(spec, exchange, environ))
        final, variables = write_secrets(lease.spec, secrets, exchange, environ)
        document = {**call_document(final, {}, secrets=variables), "fork": policy.fork}
        write_function(final, exchange)
        engine = engines.select(options.engine, final)
        warm = WarmContainer(engine, final, exchange, document, redactor=redactor(secrets, environ))
        lease.extend_to(warm.running)
        warm.attached.update(nested=nested, gate=gate, cards=lease.cards)
        warm.cleanups.append(stack.pop_all().close)
    return warm
