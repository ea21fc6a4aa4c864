"""A connected BuildKit: its version, workers and cache, and solving a graph."""

from __future__ import annotations

import contextlib
import os
import secrets
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TypeVar

import grpc

from flyte_images_runtime.system.diagnostics import timed
from flyte_images_runtime.system.platform import Platform

from ..errors import BuildError, EngineError
from .address import Address, Command
from .bridge import Bridge
from .caches import Cache
from .capabilities import Capabilities, Worker
from .dial import PATIENCE, dial
from .discovery import Choice, choose
from .events import Event
from .exporters import Exporter
from .failure import ConnectionLostError, engine_error, interrupted, stuck
from .local_daemon import start
from .partial_blobs import layouts_of, unstick
from .pb import content_pb2, control_pb2, gateway_pb2
from .request import Prepared, solve_request
from .rpc import (
    CONTENT_READ,
    DISK_USAGE,
    INFO,
    LIST_WORKERS,
    OPTIONS,
    PING,
    PRUNE,
    RESOLVE_IMAGE,
    SOLVE,
    Method,
    Request,
    Response,
)
from .session import OpenSession, Session
from .solve import STALL, SolveResult, Solving

_PAUSES = (0.1, 0.5, 2.0)  # seconds between attempts at a build that something other than the build has ended
_WORK = 600.0  # seconds for calls that need work: pruning, measuring, asking a registry

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """The engine's own name and version; for people, never for decisions."""

    package: str
    version: str
    revision: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One entry of the engine's build cache. Times are seconds since 1970."""

    id: str
    type: str
    description: str
    size: int
    in_use: bool
    shared: bool
    created: float
    last_used: float | None
    uses: int


def connect(address: str | None = None, *, patience: float = PATIENCE, stall: float = STALL) -> Client:
    """Connect to the BuildKit at `address` (or of that buildx builder), else to the one that discovery.py chooses.

    After `patience` seconds without an answer the engine counts as lost. A command of a build may be silent for any
    time while the engine answers; a build that waits for a registry or another server is canceled after `stall` seconds
    without progress. Use the client as a context manager. Raises EngineError unless a BuildKit answers.
    """
    return open_choice(choose(address, environ=os.environ), patience=patience, stall=stall)


def open_choice(choice: Choice, *, patience: float = PATIENCE, stall: float = STALL) -> Client:
    """Connect to a choice of discovery.py; start the daemon first if the choice names one."""
    with contextlib.ExitStack() as stack:
        held = stack.enter_context(start(choice.daemon)) if choice.daemon else contextlib.nullcontext()
        client = stack.enter_context(Client(choice.address, patience=patience, stall=stall, held=held))
        try:
            with timed("connecting to BuildKit at %s (%s)", choice.address, choice.because):
                client.info()
        except ConnectionLostError as error:
            raise EngineError(
                f"no BuildKit answers at {choice.address}: {error.reason}",
                hint=_silence_hint(choice.address),
            ) from None
        stack.pop_all()
    return client


class Client:
    """A connected BuildKit; a context manager. Its methods may be called from several threads at once.

    Every method raises EngineError when the engine does not answer or goes away.
    """

    def __init__(
        self,
        address: Address,
        *,
        patience: float = PATIENCE,
        stall: float = STALL,
        held: contextlib.AbstractContextManager[object] = contextlib.nullcontext(),  # noqa: B008 - has no state
    ) -> None:
        self.address = address
        self._held = held  # until the connection is closed
        self._patience, self._stall = patience, stall
        self._capabilities: Capabilities | None = None
        # This client dials every address: grpcio cannot dial all of them, and reports less about a failure.
        self._bridge = Bridge(lambda: dial(address, patience=patience))
        self._channel = grpc.insecure_channel(self._bridge.target, options=OPTIONS)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; running calls end with an error."""
        self._channel.close()
        self._bridge.close()
        self._held.__exit__(None, None, None)

    def info(self) -> Version:
        """Return the engine's own name and version."""
        version = self._call(INFO, control_pb2.InfoRequest()).buildkit_version
        return Version(package=version.package, version=version.version, revision=version.revision)

    def workers(self) -> tuple[Worker, ...]:
        """Return the engine's workers."""
        return tuple(map(_worker, self._call(LIST_WORKERS, control_pb2.ListWorkersRequest()).record))

    def capabilities(self) -> Capabilities:
        """Return the engine's capabilities. The engine is asked once per client."""
        if self._capabilities is None:
            with self._gateway() as metadata:
                pong = self._call(PING, gateway_pb2.PingRequest(), metadata=metadata)
            caps = [*pong.llb_caps, *pong.frontend_caps]
            self._capabilities = Capabilities(
                engine=str(self.address),
                features=frozenset(cap.id for cap in caps if cap.enabled),
                workers=tuple(map(_worker, pong.workers)) or self.workers(),
            )
        return self._capabilities

    def solve(
        self,
        definition: bytes,
        *,
        session: Session | None = None,
        exporters: Sequence[Exporter] = (),
        cache_imports: Sequence[Cache] = (),
        cache_exports: Sequence[Cache] = (),
        on_event: Callable[[Event], None] | None = None,
        timeout: float | None = None,
        internal: bool = False,
    ) -> SolveResult:
        """Build a graph (a serialized `pb.Definition`) and send its result to the exporters.

        `on_event` is called in the calling thread. If it raises, or on Ctrl-C, the build is canceled: the engine kills
        the running step. A build that loses its connection, or whose step another client has ended, is tried again, at
        most three times: the engine keeps finished steps. `timeout`, in seconds, is for each attempt.

        Raises BuildError (StepError for a failed step) when the build fails, and EngineError, before anything is sent,
        when the engine does not support the outputs or caches.
        """
        self._check(exporters, cache_imports, cache_exports)
        request = solve_request(
            definition,
            exporters=exporters,
            cache_imports=cache_imports,
            cache_exports=cache_exports,
            internal=internal,
        )
        session = session or Session()
        with contextlib.ExitStack() as until_done:
            for pause in _PAUSES:
                try:
                    with timed("solving a graph of %d bytes at %s", len(definition), self.address):
                        return self._solve(request, session, on_event, timeout, until_done)
                except (BuildError, EngineError) as error:
                    if not interrupted(error) and not stuck(error):
                        raise
                time.sleep(pause)
            return self._solve(request, session, on_event, timeout, until_done)

    def _solve(
        self,
        request: Prepared,
        session: Session,
        on_event: Callable[[Event], None] | None,
        timeout: float | None,
        until_done: contextlib.ExitStack,
    ) -> SolveResult:
        with OpenSession(self._channel, session, stores=request.stores, targets=request.targets) as opened:
            request.message.ref = opened.id
            request.message.session = opened.id
            solving = Solving(
                self._channel,
                request.message,
                timeout=timeout,
                alive=self._alive,
                patience=self._patience,
                engine=str(self.address),
                reason=self._bridge.reason,
                stall=self._stall,
            )
            try:
                response = solving.run(on_event)
            except BuildError as error:
                if stuck(error):
                    images = layouts_of(request.message.definition, session.stores, opened.readings.unread)
                    until_done.enter_context(unstick(self, images))
                raise
        request.finish(response.exporter_response)
        return response

    def resolve_image(
        self, ref: str, *, platform: str | None = None, session: Session | None = None, timeout: float = _WORK
    ) -> tuple[str, bytes]:
        """Let the engine ask a registry for an image; return the image's digest and configuration (JSON)."""
        request = gateway_pb2.ResolveImageConfigRequest(ref=ref, resolve_mode="pull", log_name=f"resolve {ref}")
        if platform is not None:
            wanted = Platform.parse(platform)
            request.platform.os, request.platform.architecture = wanted.os, wanted.architecture
            request.platform.variant = wanted.variant
        with (
            OpenSession(self._channel, session or Session(), stores={}, targets={}) as opened,
            self._gateway(opened.id) as metadata,
            timed("asking the registry of `%s` through the engine", ref),
        ):
            answer = self._call(RESOLVE_IMAGE, request, metadata=metadata, timeout=timeout)
        return answer.digest, answer.config

    def read_blob(self, digest: str) -> bytes:
        """Return a blob of the engine's content store: a manifest or a configuration."""
        stream = CONTENT_READ.stream(self._channel, content_pb2.ReadRequest(digest=digest), timeout=_WORK)
        return self._collect(lambda: b"".join(part.data for part in stream))

    def disk_usage(self, *filters: str) -> tuple[Record, ...]:
        """Return the entries of the engine's build cache. Filters have containerd's syntax (`type==source.local`)."""
        request = control_pb2.DiskUsageRequest(filter=filters)
        return tuple(map(_record, self._call(DISK_USAGE, request, timeout=_WORK).record))

    def prune(self, *filters: str, all: bool = False) -> tuple[Record, ...]:
        """Remove unused entries of the build cache that match a filter, and return the removed entries.

        With `all`, entries that the engine would keep for later builds are removed too.
        """
        request = control_pb2.PruneRequest(filter=filters, all=all)
        stream = PRUNE.stream(self._channel, request, timeout=_WORK)
        return self._collect(lambda: tuple(map(_record, stream)))

    def _check(self, exporters: Sequence[Exporter], imports: Sequence[Cache], exports: Sequence[Cache]) -> None:
        """Raise EngineError for an unsupported output or cache. Without outputs and caches the engine is not asked."""
        if exporters:
            self.capabilities().check_outputs(exporters)
        for cache in imports:
            self.capabilities().check_cache(cache, export=False)
        for cache in exports:
            self.capabilities().check_cache(cache, export=True)

    def _alive(self) -> None:
        """Raise EngineError unless the engine answers."""
        self._call(INFO, control_pb2.InfoRequest())

    def _call(
        self,
        method: Method[Request, Response],
        request: Request,
        *,
        metadata: tuple[tuple[str, str], ...] = (),
        timeout: float | None = None,
    ) -> Response:
        timeout = timeout or self._patience
        return self._collect(lambda: method.call(self._channel, request, timeout=timeout, metadata=metadata))

    def _collect(self, call: Callable[[], Result]) -> Result:
        try:
            return call()
        except grpc.RpcError as error:
            raise engine_error(error, str(self.address), reason=self._bridge.reason) from None

    @contextlib.contextmanager
    def _gateway(self, session: str = "") -> Iterator[tuple[tuple[str, str], ...]]:
        """Keep an empty solve open, which calls of the gateway need; yield the metadata that names the solve.

        The solve ends by cancellation. Never by the gateway's Return without a result: that crashes Docker Engine 26.
        """
        ref = secrets.token_hex(13)[:25]
        metadata = (("buildkit-controlapi-buildid", ref),)
        request = control_pb2.SolveRequest(ref=ref, session=session, internal=True)
        solve = SOLVE.future(self._channel, request, timeout=_WORK)
        try:
            yield metadata
        finally:
            solve.cancel()


def _silence_hint(address: Address) -> str:
    if isinstance(address, Command):
        builder = str(address).removeprefix("buildx builder ")
        start = f": `docker buildx inspect --bootstrap {builder}` starts it" if builder != str(address) else ""
        return f"does it run there{start}? Try `{shlex.join(address.argv)}`: it waits silently if the connection works"
    return "is it a BuildKit, and does it need TLS with a client certificate (cacert=, cert=, key=)?"


def _worker(record: control_pb2.WorkerRecord) -> Worker:
    platforms = ("/".join(filter(None, (it.os, it.architecture, it.variant))) for it in record.platforms)
    return Worker(id=record.id, labels=dict(record.labels), platforms=tuple(platforms))


def _record(record: control_pb2.UsageRecord) -> Record:
    return Record(
        id=record.id,
        type=record.record_type,
        description=record.description,
        size=record.size,
        in_use=record.in_use,
        shared=record.shared,
        created=record.created_at.ToNanoseconds() / 1e9,
        last_used=record.last_used_at.ToNanoseconds() / 1e9 if record.HasField("last_used_at") else None,
        uses=record.usage_count,
    )
