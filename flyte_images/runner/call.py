"""One call of a task: image, specification, container, result; and another attempt if the task may be retried."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from flyte_images_runtime.execution.execute import Finished, call_document, execute
from flyte_images_runtime.resources.metrics import Metrics
from flyte_images_runtime.system.process_id import short
from flyte_images_runtime.task.code import locate
from flyte_images_runtime.task.deferred_writes import DeferredWrites
from flyte_images_runtime.task.engine import Running
from flyte_images_runtime.task.exchange import make_exchange
from flyte_images_runtime.task.redaction import Redactor
from flyte_images_runtime.task.spec import Code, TaskSpec
from flyte_images_runtime.values import Problem
from flyte_images_runtime.values.budget import Budget

from ..errors import Cancelled, DiskFull, Killed, OutOfMemory, Raised, SpecError, TaskError, TimedOut
from ..leftovers import watch_over
from .call_codec import CallCodec
from .call_output import CallOutput
from .current_container import CurrentContainer
from .gpu_lease import DeviceLease, lease_devices
from .history import record
from .model import ParentCall, Run, RunnerOptions
from .nested import NestedCallServer
from .nested_limits import has_own_share, within
from .nested_slots import Slots, check_count
from .pickling import pickle_function, write_function
from .result_cache import ResultCache, cache_key
from .secrets import redactor, write_secrets
from .task_spec import check_needs, egress_gate, make_spec
from .warm import warm_call

if TYPE_CHECKING:
    from ..task import Task

_RETRIED = (Raised, OutOfMemory, DiskFull, Killed, TimedOut)


class TaskCall:
    """A call of a task. `run` runs it once; `cancel`, from another thread, ends it."""

    def __init__(
        self,
        task: Task[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        options: RunnerOptions,
        *,
        parent: ParentCall | None = None,
        one_of_many: bool = False,
    ) -> None:
        self.task = task
        self.options = options
        self.parent = parent
        self.depth = 0 if parent is None else parent.depth + 1
        self.id = os.urandom(5).hex()
        self.python = "python3"
        self.limits = task.options.limits()
        self.group = ""
        """The cgroup of the parent's container, if the call counts against the parent's limits."""
        self._slots: Slots | None = None if parent is None else parent.slots
        self._one_of_many = one_of_many
        self._created = time.monotonic()
        self._image = ""
        self._attempts = 0
        self._finished: Finished | None = None
        self._codec = CallCodec(task, args, kwargs, options.environ)
        self._output = CallOutput(self.id, task.name, options)
        on_usage = options.on_usage
        self._container = CurrentContainer(
            task.name, None if on_usage is None else partial(on_usage, task.name, self.id)
        )

    def run(self) -> Run[Any]:
        """Run the call to its end and record it in the history. Raise the task's exception, or its other end."""
        try:
            return self._run_and_record()
        finally:
            self._output.close()

    def cancel(self) -> None:
        """End the call: `run` raises Cancelled."""
        self._container.cancel()

    def nested(self, task: Task[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], group: str = "") -> TaskCall:
        """Return a call that this call's task makes. `group` is the cgroup of this call's container."""
        call = TaskCall(task, args, kwargs, replace(self.options, as_is=True), parent=self)
        own = has_own_share(task, self)
        call.limits = within(call.limits, self.limits, own=own)
        call.group = "" if own else group
        return call

    @property
    def slots(self) -> Slots:
        """The slots that all nested calls below the first call share."""
        if self._slots is None:
            count = self.options.nested_calls
            self._slots = Slots(self.options.state.default_slots if count is None else check_count(count))
        return self._slots

    def discard_artifacts(self) -> None:
        """Remove the files of the result."""
        self._codec.discard_artifacts()

    @property
    def redactor(self) -> Redactor:
        """The function that removes the values of the task's secrets from a text."""
        return redactor(self.task.options.secrets, self.options.environ)

    def _run_and_record(self) -> Run[Any]:
        try:
            run = self._run_redacted()
        except Raised as error:
            self._record(error)
            if not self.options.as_is and (builtin := error.as_builtin()) is not None:
                raise builtin from error
            error.add_note(error.note)
            raise
        except TaskError as error:
            self._record(error)
            raise
        except KeyboardInterrupt:
            if self._attempts:
                self._record(Cancelled(f"task `{self.task.name}` was interrupted", task=self.task.name))
            raise
        self._record(None, run)
        return run

    def _run_redacted(self) -> Run[Any]:
        """Run the call. Remove the values of secrets from its error, wherever the error's text comes from."""
        try:
            return self._run()
        except TaskError as error:
            if self.redactor:
                error.args = (self.redactor(str(error)),)
                error.hint = error.hint and self.redactor(error.hint)
            raise

    def _record(self, error: TaskError | None, run: Run[Any] | None = None) -> None:
        record(
            self.options.environ,
            run=self.id,
            task=self.task.name,
            image=self._image,
            end="done" if error is None else type(error).__name__,
            message="" if error is None else self.redactor(str(error)),
            metrics=self._finished.metrics if self._finished is not None else run.metrics if run else None,
            attempts=self._attempts,
            cached=run is not None and run.cached,
        )

    def _run(self) -> Run[Any]:
        self._codec.check_arguments()
        spec = self._spec()
        self._image = spec.image
        if self.parent is not None:
            spec = replace(spec, limits=self.limits)
        if self.task.options.cache == "auto" and (run := self._cached(spec)) is not None:
            return run
        retries = self.task.options.retries
        while True:
            self._attempts += 1
            self._finished, result = self._attempt(spec)
            error = self._finished.error
            if error is None:
                return self._ended(self._finished, result)
            if not isinstance(error, _RETRIED) or self._attempts > retries.count:
                raise error
            self._output.add("stderr", f"attempt {self._attempts} of {retries.count + 1} failed: {error}")
            self._container.pause(retries.pause(self._attempts))

    def _ended(self, finished: Finished, result: Any, *, cached: bool = False) -> Run[Any]:
        return Run(
            id=self.id,
            task=self.task.name,
            result=result,
            logs=finished.log,
            metrics=finished.metrics,
            image=self._image,
            attempts=self._attempts,
            cached=cached,
            refused=self._output.refused,
        )

    def _cached(self, spec: TaskSpec) -> Run[Any] | None:
        """Return a Run with the result of an earlier one. Without one, have this call's result stored."""
        exchange = make_exchange()
        try:
            with exchange.input_files() as files:
                arguments = self._codec.encode(files)
            image = self.options.state.engines.image_store().image_digest(spec.image)
            key = cache_key(spec, image, arguments, exchange.inputs)
        finally:
            exchange.remove()
        self._codec.cache_key = key
        entry = ResultCache.of(self.options.environ).find(key)
        if entry is None:
            return None
        try:
            with entry[1] as files:
                result = self._codec.receive(entry[0], files)
        except Problem:  # another version of the annotations stored this result
            return None
        took = Metrics(total=time.monotonic() - self._created)
        return self._ended(Finished(result=entry[0], error=None, metrics=took), result, cached=True)

    def _attempt(self, spec: TaskSpec) -> tuple[Finished, Any]:
        policy = self.task.options.reusable
        if policy is not None and not self.group:  # a warm container outlives the call that it would count against
            finished, result = warm_call(
                self, spec, policy, codec=self._codec, output=self._output, container=self._container
            )
        else:
            finished, result = self._run_in_new_container(spec)
        return self._container.add_metrics(finished), result

    def _run_in_new_container(self, spec: TaskSpec) -> tuple[Finished, Any]:
        environ, engines = self.options.environ, self.options.state.engines
        exchange = make_exchange(
            run=self.id, within=self.group, large_pages=engines.attaches_large_pages(self.options.engine, spec)
        )
        try:
            with exchange.input_files() as files:
                jobs = files.later = []
                arguments = self._codec.encode(files)
            spec, variables = write_secrets(spec, self.task.options.secrets, exchange, environ)
            exchange.write_call(call_document(spec, arguments, secrets=variables))
            write_function(spec, exchange)
            budget = Budget.of(spec.limits, spec.max_result)
            late = DeferredWrites(jobs, failed=lambda error: self._codec.write_error(error, "arguments"))
            server, proxy = NestedCallServer(self, exchange), egress_gate(spec, exchange, environ)
            leased = lease_devices(spec, wait=self.task.options.gpu_wait, engines=engines, environ=environ)
            with server, proxy as gate, leased as lease, late:
                finished = execute(
                    engines.select(self.options.engine, lease.spec),
                    lease.spec,
                    exchange,
                    on_line=self._output.add,
                    on_running=lambda running: self._started(running, exchange.name, lease, late),
                    queue=time.monotonic() - self._created,
                    redactor=self.redactor,
                    budget=budget,
                )
                self._output.add_refused(gate, finished.log)
            result = None
            if finished.error is None:
                with exchange.output_files(budget=budget) as files:
                    result = self._codec.decode(finished.result, files)
            return finished, result
        finally:
            self._container.end()
            exchange.remove()

    def _started(self, running: Running, name: str, lease: DeviceLease, late: DeferredWrites) -> None:
        lease.extend_to(running)
        late.on_failure(running.cancel)
        self._output.set_container(short(name))
        self._container.begin(running, cards=lease.cards)

    def _spec(self) -> TaskSpec:
        if not self._one_of_many and self.task.options.reusable is None:
            return self._make_spec()
        key = (self.task.function, self.task.options, self.task.environment, self.options.builder)
        return self.options.state.specs.get(key, self._make_spec)

    def _make_spec(self) -> TaskSpec:
        options, state = self.options, self.options.state
        check_needs(self.task.options, options.environ)
        image = state.images.reference(
            self.task.environment.built_image, progress=options.progress, builder=options.builder
        )
        watch_over(state.engines.image_store().api.address, options.environ)
        return make_spec(
            self.task.name, self.task.options, image, self._code(), bundles=state.bundles, python=self.python
        )

    def _code(self) -> Code:
        try:
            return locate(self.task.function)
        except SpecError:  # no module holds the function
            return pickle_function(self.task)
