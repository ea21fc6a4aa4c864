"""One call of a task on its way: image, exchange, engine, result; and again, if it may be tried again."""

from __future__ import annotations

import contextlib
import os
import secrets as randomness
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from flyte_images_runtime.code import locate
from flyte_images_runtime.engine import Running, Stream
from flyte_images_runtime.errors import RuntimeSpecError
from flyte_images_runtime.exchange import Exchange, make_exchange
from flyte_images_runtime.execute import Finished, call_document, execute
from flyte_images_runtime.failures import (
    Cancelled,
    DiskFull,
    InvalidArgument,
    Killed,
    NotSerialisable,
    OutOfMemory,
    Raised,
    TaskError,
    TimedOut,
)
from flyte_images_runtime.orphans import watch_over
from flyte_images_runtime.spec import Mount, TaskSpec
from flyte_images_runtime.values import Problem

from .devices import Lease, leased
from .engines import docker_engine, engine_for
from .errors import SpecError
from .nested import Reception
from .shipping import ship

if TYPE_CHECKING:
    from collections.abc import Callable

    from .image import Image
    from .options import Options
    from .progress import Progress
    from .run import Run, Runner
    from .task import Task

_AGAIN = (Raised, OutOfMemory, DiskFull, Killed, TimedOut)
_READY: dict[str, str] = {}
_BUILDING = threading.Lock()


def ready_image(image: Image, *, progress: Progress | None = None, builder: str | None = None) -> str:
    """The reference of `image` in the engine. An image by name alone is taken as it is if the engine has it."""
    from flyte_images_layers import ReferenceBase

    if not image.layers and isinstance(image.base, ReferenceBase) and docker_engine().has_image(image.base.reference):
        return image.base.reference
    digest = image.digest
    with _BUILDING:
        if digest not in _READY:
            from .builder import build

            _READY[digest] = build(image, progress=progress, builder=builder).ref
        return _READY[digest]


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
        self.asked = time.monotonic()
        self._cancelled = threading.Event()
        self._running: Running | None = None
        self._guard = threading.Lock()

    def run(self) -> Run[Any]:
        """Run it to its end. Raises what the task raised, or how else it ended."""
        try:
            return self._run()
        except Raised as error:
            if not self.runner.as_is and (builtin := error.as_builtin()) is not None:
                raise builtin from error
            raise

    def inner(self, task: Task[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        """A call that this one's task makes."""
        return Call(task, args, kwargs, replace(self.runner, as_is=True), depth=self.depth + 1)

    def cancel(self) -> None:
        """End it: `run` raises Cancelled."""
        with self._guard:
            self._cancelled.set()
            if self._running is not None:
                self._running.cancel()

    def _run(self) -> Run[Any]:
        image = self.runner.image(self.task.environment.built_image)
        watch_over(docker_engine().api.address)
        attempt = 1
        while True:
            finished, result = self._attempt(image)
            if finished.error is None:
                return self._done(finished, result, image, attempt)
            retries = self.task.options.retries
            if not isinstance(finished.error, _AGAIN) or attempt > retries.count:
                raise finished.error
            self._say("stderr", f"attempt {attempt} of {retries.count + 1} failed: {finished.error}")
            if self._cancelled.wait(retries.pause(attempt)):
                raise Cancelled(f"task `{self.task.name}` was cancelled", task=self.task.name)
            attempt += 1

    def _done(self, finished: Finished, result: Any, image: str, attempt: int) -> Run[Any]:
        from .run import Run

        return Run(
            task=self.task.name,
            result=result,
            logs=finished.log,
            metrics=finished.metrics,
            image=image,
            attempts=attempt,
        )

    def _attempt(self, image: str) -> tuple[Finished, Any]:
        exchange = make_exchange()
        try:
            spec = self._prepare(self._spec(image), exchange)
            with Reception(self, exchange), leased(spec, wait=self.task.options.gpu_wait) as lease:
                finished = execute(
                    engine_for(self.runner.engine, lease.spec),
                    lease.spec,
                    exchange,
                    on_line=self._say,
                    on_running=lambda running: self._started(running, lease),
                    queue=time.monotonic() - self.asked,
                )
            result = self._result(exchange, finished) if finished.error is None else None
            return finished, result
        finally:
            with self._guard:
                self._running = None
            exchange.remove()

    def _started(self, running: Running, lease: Lease) -> None:
        lease.started(running)
        with self._guard:
            self._running = running
            if self._cancelled.is_set():
                running.cancel()

    def _say(self, stream: Stream, line: str) -> None:
        if self.runner.on_line is not None:
            self.runner.on_line(self.task.name, stream, line)

    def _spec(self, image: str) -> TaskSpec:
        options = self.task.options
        try:
            code = locate(self.task.function)
        except RuntimeSpecError as error:
            raise SpecError(str(error), hint=error.hint, location=self.task.location) from None
        copies = tuple(ship(root, environ=os.environ)[0] for root in code.roots)
        return TaskSpec(
            task=self.task.name,
            image=image,
            code=replace(code, copies=copies),
            limits=options.limits(),
            env=options.env_vars,
            timeout=options.timeout,
            network=options.network,
            mounts=options.mounts,
            workdir=options.workdir,
            hardening=options.hardening,
        )

    def _prepare(self, spec: TaskSpec, exchange: Exchange) -> TaskSpec:
        """Write the call into the exchange; what secrets mount goes into the specification."""
        try:
            with exchange.input_files() as files:
                arguments = self.task.signature.encode(self.args, self.kwargs, files)
        except Problem as problem:
            raise InvalidArgument(
                f"task `{self.task.name}`: {problem.message}", task=self.task.name, hint=problem.hint
            ) from None
        except TypeError as error:  # missing or too many arguments, in Python's own words
            raise InvalidArgument(
                f"task `{self.task.name}`: {error}",
                task=self.task.name,
                hint=f"it takes {self.task.signature.signature}",
            ) from None
        variables, mounts = _secrets(self.task.options, exchange)
        exchange.write_call(call_document(spec, arguments, secrets=variables))
        return _with_mounts(spec, mounts)

    def _result(self, exchange: Exchange, finished: Finished) -> Any:
        try:
            with exchange.output_files() as files:
                return self.task.signature.decode_result(finished.result, files)
        except Problem as problem:
            raise NotSerialisable(
                f"task `{self.task.name}`: {problem.message}", task=self.task.name, hint=problem.hint
            ) from None


def _with_mounts(spec: TaskSpec, mounts: tuple[Mount, ...]) -> TaskSpec:
    return replace(spec, mounts=(*spec.mounts, *mounts)) if mounts else spec


def _secrets(options: Options, exchange: Exchange) -> tuple[dict[str, str], tuple[Mount, ...]]:
    """Write the values where only this task sees them: in memory, below a directory that is the caller's alone."""
    variables: dict[str, str] = {}
    mounts: list[Mount] = []
    for secret in options.secrets:
        value = os.environ.get(secret.variable)
        if value is None:
            raise SpecError(
                f"there is no value for the secret `{secret.key}`",
                hint=f"set the variable {secret.variable} before you run the task",
            )
        name = f"secret-{randomness.token_hex(8)}"
        path = exchange.inputs / name
        path.write_text(value)
        path.chmod(0o644)
        if secret.mount is not None:
            mounts.append(Mount(source=str(path), target=secret.mount))
        else:
            variables[secret.variable] = name
    return variables, tuple(mounts)


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


__all__ = ["Call", "TaskError", "awaited", "ready_image"]
