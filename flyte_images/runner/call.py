"""One call of a task on its way: image, exchange, engine, result; and again, if it may be tried again."""

from __future__ import annotations

import errno
import os
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from flyte_images_runtime.execution.execute import Finished, call_document, execute
from flyte_images_runtime.execution.meter import Meter
from flyte_images_runtime.resources.metrics import Metrics, Usage
from flyte_images_runtime.system.atomic import private_directory
from flyte_images_runtime.system.process_id import short
from flyte_images_runtime.task.code import locate
from flyte_images_runtime.task.deferred_writes import Late
from flyte_images_runtime.task.engine import Running, Stream
from flyte_images_runtime.task.exchange import make_exchange
from flyte_images_runtime.task.redaction import Redactor
from flyte_images_runtime.task.spec import Code, TaskSpec
from flyte_images_runtime.values import Files, Problem
from flyte_images_runtime.values.budget import Budget

from ..errors import (
    Cancelled,
    DiskFull,
    InvalidArgument,
    InvalidResult,
    Killed,
    OutOfMemory,
    Raised,
    SpecError,
    TaskError,
    TimedOut,
)
from ..leftovers import watch_over
from .artifacts import Arrival
from .engines import engine_for, image_store, passes_large_pages
from .gpu_lease import Lease, leased
from .history import note
from .nested import NestedCallServer
from .nested_limits import has_own_share, within
from .nested_slots import Slots, slots_for
from .pickling import by_value, write_function
from .result_cache import Results, key_of
from .run_logs import Keeper
from .secrets import exposed, redactor
from .task_spec import check_needs, specification, way_out
from .warm import warm_call

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flyte_images_runtime.egress.gate import Gate
    from flyte_images_runtime.gpu import Card
    from flyte_images_runtime.task.log import Log

    from ..task import Task
    from .runner import Run, Runner

_AGAIN = (Raised, OutOfMemory, DiskFull, Killed, TimedOut)
_FRESH: dict[Any, tuple[float, TaskSpec]] = {}
_FRESHNESS = 1.0  # seconds


class Call:
    """A call of a task. `run` does it; `cancel`, from another thread, ends it."""

    def __init__(
        self, task: Task[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], runner: Runner, *, depth: int = 0
    ) -> None:
        self.task = task
        self.args = args
        self.kwargs = kwargs
        self.runner = runner
        self.depth = depth
        self.outer: Call | None = None
        self.group = ""
        self.limits = task.options.limits()
        self._slots: Slots | None = None
        self.one_of_many = False
        self.asked = time.monotonic()
        self.id = os.urandom(5).hex()
        self.python = "python3"
        self._image = ""
        self._attempts = 0
        self.arrival: Arrival | None = None
        self._key: str | None = None
        self._finished: Finished | None = None
        self._cancelled = threading.Event()
        self._running: Running | None = None
        self._meter: Meter | None = None
        self._guard = threading.Lock()
        self._about: dict[str, str] = {"task": task.name}
        self._keeper: Keeper | None = None
        self._refused: dict[str, int] = {}

    def run(self) -> Run[Any]:
        """Run it to its end. Raises what the task raised, or how else it ended."""
        try:
            return self._run_and_note()
        finally:
            if self._keeper is not None:
                self._keeper.close()

    def _run_and_note(self) -> Run[Any]:
        try:
            done = self._run_masked()
        except Raised as error:
            self._note(error)
            if not self.runner.as_is and (builtin := error.as_builtin()) is not None:
                raise builtin from error
            error.add_note(error.note)
            raise
        except TaskError as error:
            self._note(error)
            raise
        except KeyboardInterrupt:
            if self._attempts:
                self._note(Cancelled(f"task `{self.task.name}` was interrupted", task=self.task.name))
            raise
        self._note(None, done)
        return done

    def _run_masked(self) -> Run[Any]:
        """An error says nothing of the values of secrets, whatever it was made from."""
        try:
            return self._run()
        except TaskError as error:
            if self.redactor:
                error.args = (self.redactor(str(error)),)
                error.hint = error.hint and self.redactor(error.hint)
            raise

    def _note(self, error: TaskError | None, done: Run[Any] | None = None) -> None:
        """Write the run down, as the last one of this machine."""
        note(
            os.environ,
            run=self.id,
            task=self.task.name,
            image=self._image,
            end="done" if error is None else type(error).__name__,
            message="" if error is None else self.redactor(str(error)),
            metrics=self._finished.metrics if self._finished is not None else done.metrics if done else None,
            attempts=self._attempts,
            cached=done is not None and done.cached,
        )

    def inner(self, task: Task[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], group: str = "") -> Call:
        """A call that this one's task makes. `group` is the cgroup of this one, against which it may have to count."""
        made = Call(task, args, kwargs, replace(self.runner, as_is=True), depth=self.depth + 1)
        made.outer = self
        own = has_own_share(task, self)
        made.limits = within(made.limits, self.limits, own=own)
        made.group = "" if own else group
        made._slots = self.slots
        return made

    @property
    def slots(self) -> Slots:
        """What the calls below this one share."""
        if self._slots is None:
            self._slots = slots_for(self.runner.nested_calls)
        return self._slots

    def cancel(self) -> None:
        """End it: `run` raises Cancelled."""
        with self._guard:
            self._cancelled.set()
            if self._running is not None:
                self._running.cancel()

    def still_wanted(self) -> None:
        """Raise Cancelled if it is not."""
        if self._cancelled.is_set():
            raise Cancelled(f"task `{self.task.name}` was cancelled", task=self.task.name)

    def _run(self) -> Run[Any]:
        self._bound()
        spec = self._fresh() if self.one_of_many or self.task.options.reusable is not None else self._spec()
        self._image = spec.image
        if self.outer is not None:
            spec = replace(spec, limits=self.limits)
        if self.task.options.cache == "auto" and (known := self._known(spec)) is not None:
            return known
        while True:
            self._attempts += 1
            self._finished, result = self._attempt(spec)
            error = self._finished.error
            if error is None:
                return self._done(self._finished, result)
            retries = self.task.options.retries
            if not isinstance(error, _AGAIN) or self._attempts > retries.count:
                raise error
            self._say("stderr", f"attempt {self._attempts} of {retries.count + 1} failed: {error}")
            self._cancelled.wait(retries.pause(self._attempts))
            self.still_wanted()

    def _done(self, finished: Finished, result: Any, *, cached: bool = False) -> Run[Any]:
        from .runner import Run

        return Run(
            id=self.id,
            task=self.task.name,
            result=result,
            logs=finished.log,
            metrics=finished.metrics,
            image=self._image,
            attempts=self._attempts,
            cached=cached,
            refused=self._refused,
        )

    def _known(self, spec: TaskSpec) -> Run[Any] | None:
        """The run that an earlier one makes unnecessary. Else remembers under which key this one's result is kept."""
        exchange = make_exchange()
        try:
            with exchange.input_files() as files:
                arguments = self.encoded(files)
            image = image_store().image_digest(spec.image)
            self._key = key_of(spec, image, arguments, exchange.inputs)
        finally:
            exchange.remove()
        found = Results.of(os.environ).find(self._key)
        if found is None:
            return None
        try:
            with found[1] as files:
                result = self._received(found[0], files)
        except Problem:  # kept by another version of the code that reads it
            return None
        took = Metrics(total=time.monotonic() - self.asked)
        return self._done(Finished(result=found[0], error=None, metrics=took), result, cached=True)

    def _bound(self) -> None:
        """Do the arguments fit the function at all? Asked before anything is built."""
        try:
            self.task.signature.signature.bind(*self.args, **self.kwargs)
        except TypeError as error:  # in Python's own words
            raise InvalidArgument(
                f"task `{self.task.name}`: {error}",
                task=self.task.name,
                hint=f"it takes {self.task.signature.signature}",
            ) from None

    def _attempt(self, spec: TaskSpec) -> tuple[Finished, Any]:
        policy = self.task.options.reusable
        if policy is not None and not self.group:  # a warm container outlives the call that it would count against
            finished, result = warm_call(
                self, spec, policy, engine=self.runner.engine, say=self._say, begun=self._now_running
            )
            return self._measured(finished), result
        exchange = make_exchange(
            run=self.id, within=self.group, large_pages=passes_large_pages(self.runner.engine, spec)
        )
        try:
            with exchange.input_files() as files:
                jobs = files.later = []
                arguments = self.encoded(files)
            spec, variables = exposed(spec, self.task.options.secrets, exchange)
            exchange.write_call(call_document(spec, arguments, secrets=variables))
            write_function(spec, exchange)
            budget = Budget.of(spec.limits, spec.max_result)
            late = Late(jobs, failed=lambda error: self._no_room(error, "arguments"))
            nested, gated = NestedCallServer(self, exchange), way_out(spec, exchange)
            with nested, gated as gate, leased(spec, wait=self.task.options.gpu_wait) as lease, late:
                finished = execute(
                    engine_for(self.runner.engine, lease.spec),
                    lease.spec,
                    exchange,
                    on_line=self._say,
                    on_running=lambda running: self._started(running, exchange.name, lease, late),
                    queue=time.monotonic() - self.asked,
                    redactor=self.redactor,
                    budget=budget,
                )
                self.tell_refused(gate, finished.log)
            result = None
            if finished.error is None:
                with exchange.output_files(budget=budget) as files:
                    result = self.decoded(finished.result, files)
            return self._measured(finished), result
        finally:
            self._now_running(None)
            exchange.remove()

    def tell_refused(self, gate: Gate | None, log: Log) -> None:
        """Keep what the way out has refused to the task, and say so in its log and on stderr."""
        refused = {} if gate is None else gate.take_refused()
        for name, count in refused.items():
            self._refused[name] = self._refused.get(name, 0) + count
        if refused:
            from flyte_images_runtime.egress.gate import told

            log.add("stderr", told(refused))
            self._say("stderr", told(refused))

    def _started(self, running: Running, name: str, lease: Lease, late: Late) -> None:
        lease.started(running)
        late.ends(running.cancel)
        self._now_running(running, name, lease.cards)

    def _now_running(
        self,
        running: Running | None,
        name: str = "",
        cards: Sequence[Card] = (),
        usage: Callable[[], Usage] | None = None,
    ) -> None:
        with self._guard:
            self._running = running
            if running is not None and self._cancelled.is_set():
                running.cancel()
        if self._meter is not None:
            self._meter.stop()
        if running is not None:
            told = self.runner.on_usage
            tell = None if told is None else lambda usage: told(self.task.name, self.id, usage)
            self._about["container"] = short(name)
            if cards or tell is not None:
                self._meter = Meter(usage or running.usage, cards=cards, tell=tell)

    def _measured(self, finished: Finished) -> Finished:
        """The same, with what the cards did."""
        if self._meter is None:
            return finished
        self._meter.stop()
        metrics = self._meter.added_to(finished.metrics)
        return finished if metrics is finished.metrics else replace(finished, metrics=metrics)

    @property
    def redactor(self) -> Redactor:
        """Takes the values of the task's secrets out of what it says."""
        return redactor(self.task.options.secrets)

    def _say(self, stream: Stream, line: str) -> None:
        if self._keeper is None:
            self._keeper = Keeper(os.environ, self.id, about=self._about)
        if line.endswith("\r"):
            self._keeper.state(stream, line[:-1])
            if self.runner.on_state is not None:
                self.runner.on_state(self.task.name, stream, line[:-1])
            return
        self._keeper.add(stream, line)
        if self.runner.on_line is not None:
            self.runner.on_line(self.task.name, stream, line)

    def _fresh(self) -> TaskSpec:
        """The specification, looked at anew once a second: to look at all source files is most of a short call."""
        # by process: a fork is watched over too
        key = (os.getpid(), self.task.function, self.task.options, self.task.environment, self.runner.builder)
        known = _FRESH.get(key)
        if known is not None and time.monotonic() - known[0] < _FRESHNESS:
            return known[1]
        spec = self._spec()
        if spec.code.value is None:  # what a function by value refers to can change from call to call
            _FRESH[key] = (time.monotonic(), spec)
        return spec

    def _spec(self) -> TaskSpec:
        check_needs(self.task.options)
        image = self.runner.image(self.task.environment.built_image)
        watch_over(image_store().api.address)
        return specification(self.task.name, self.task.options, image, self._code(), python=self.python)

    def _code(self) -> Code:
        try:
            return locate(self.task.function)
        except SpecError:
            return by_value(self.task)

    def encoded(self, files: Files) -> dict[str, Any]:
        """The arguments' JSON form; InvalidArgument for what the signature does not take."""
        try:
            return self.task.signature.encode(self.args, self.kwargs, files)
        except Problem as problem:
            raise InvalidArgument(
                f"task `{self.task.name}`: {problem.message}", task=self.task.name, hint=problem.hint
            ) from None
        except OSError as error:
            raise self._no_room(error, "arguments") from error

    def decoded(self, result: Any, files: Files) -> Any:
        """Return the result that the task left, and keep it if it is to be. InvalidResult: the signature refuses it."""
        try:
            made = self._received(result, files)
        except Problem as problem:
            raise InvalidResult(
                f"task `{self.task.name}`: {problem.message}", task=self.task.name, hint=problem.hint
            ) from None
        except OSError as error:
            raise self._no_room(error, "result") from error
        if self._key is not None:
            Results.of(os.environ).keep(self._key, result, files)
        return made

    def _no_room(self, error: OSError, what: str) -> Exception:
        """The error for what cannot be written on this machine."""
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            return error
        where = f" in {os.path.dirname(error.filename)}" if isinstance(error.filename, str) else ""  # noqa: PTH120
        return DiskFull(
            f"task `{self.task.name}`: there is no room for its {what} on this machine{where}: {error.strerror}",
            task=self.task.name,
            hint="make some, or let the task read and write large data by mounts=",
        )

    def _received(self, result: Any, files: Files) -> Any:
        """The result as a value; its files are in a directory of this run's own."""
        files.arrivals = self._arrives
        try:
            made = self.task.signature.decode_result(result, files)
        except BaseException:
            if self.arrival is not None:
                self.arrival.discard()
            raise
        if self.arrival is not None:
            self.arrival.whole()
        return made

    def _arrives(self) -> str:
        """The first file comes."""
        if self.arrival is None:
            self.arrival = Arrival.of(os.environ)
            private_directory(self.arrival.path)
        return str(self.arrival.path)


__all__ = ["Call", "TaskError"]
