"""build(image) -> BuildResult: from a description to an image in the engine, in a registry, or both.

The cheapest work comes first: local files are checked, names are resolved (mostly from the cache), and the plan is
made. If the engine has the image of that plan, the build is done. Otherwise the plan is lowered and solved.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from flyte_images_layers.record import record
from flyte_images_runtime.system.image_ref import Digest, ImageRef
from flyte_images_runtime.system.interruptible import ending, together

from ..buildkit.address import Docker
from ..buildkit.build_context import BuildContext
from ..buildkit.discovery import Choice, choose, engine
from ..buildkit.engine_api import find_image
from ..errors import EngineError, FlyteImagesError, SpecError
from ..image import Image
from ..leftovers import sweep_at_times
from ..plan.model import LABEL, Plan
from ..progress import Progress
from ..store.blobs import using_layout
from ..store.cache_dir import cache_dir
from .prepare import prepare, with_addresses

if TYPE_CHECKING:
    from ..buildkit.client import Client
    from ..plan.lower import Lowering
    from .output_spec import OutputSpec

_DEFAULT_NAME = "flyte-images"
_AT_ONCE = 16  # images that are built at the same time; each has its own session


@record(kw_only=True)
class BuildResult:
    """An image that was built, or that existed already.

    name      the name that the image has in progress lines
    ref       the reference to run
    digest    the digest of the manifest, `sha256:...`
    plan      the digest of the plan, which covers everything that decides the image
    cached    True if no step had to run
    seconds   the time that the build took
    base      the base of the image, in words

    >>> str(BuildResult(name="app", ref="app:1", digest="", plan="", cached=True, seconds=0.1, base="Debian"))
    'app:1'
    """

    name: str
    ref: str
    digest: str
    plan: str
    cached: bool
    seconds: float
    base: str

    def __str__(self) -> str:
        return self.ref


def build(
    image: Image,
    *,
    builder: str | None = None,
    push: bool = False,
    no_cache: bool = False,
    upgrade: bool = False,
    wanted: OutputSpec | None = None,
    progress: Progress | None = None,
) -> BuildResult:
    """Build `image`, unless the engine has it already, and return its reference and digests.

    `builder` is the address of a BuildKit or the name of a buildx builder (default: the one that `flyte-images doctor`
    shows). `push` sends the image to its registry; `no_cache` runs every step again; `upgrade` resolves bases and
    packages again instead of reading earlier answers; `wanted` adds tags, or writes files instead of an image in the
    engine; `progress` shows the steps (default: nothing is shown).

    Raises:
        SpecError: A local file is missing, or the options contradict each other.
        ResolveError: A package, a base or an index cannot be resolved.
        BuildError: A step failed; `command` and `log` belong to it.
        EngineError: No engine answers, or it went away.

    >>> import flyte_images as flyte
    >>> built = flyte.build(flyte.Image.from_debian_base().with_env_vars({"MODE": "fast"}))
    >>> flyte.build(flyte.Image.from_debian_base().with_env_vars({"MODE": "fast"})).ref == built.ref
    True
    """
    name = image.name or _DEFAULT_NAME
    [result] = build_all(
        {name: image},
        builder=builder,
        push=push,
        no_cache=no_cache,
        upgrade=upgrade,
        wanted=wanted,
        progress=progress,
    )
    return result


def build_all(
    images: Mapping[str, Image] | Sequence[Image],
    *,
    builder: str | None = None,
    push: bool = False,
    no_cache: bool = False,
    upgrade: bool = False,
    wanted: OutputSpec | None = None,
    progress: Progress | None = None,
) -> list[BuildResult]:
    """Build several images at once and return their results in order; a step that they share runs once."""
    named = dict(images) if isinstance(images, Mapping) else _named(images)
    shown = progress or Progress("quiet", sys.stderr)
    sweep_at_times(os.environ)
    with using_layout(cache_dir(os.environ)), _Engine(builder, os.environ) as engine:
        options = _Options(no_cache, upgrade, push, wanted)
        jobs = [_Job(name, image, engine, shown, options) for name, image in named.items()]
        if len(jobs) == 1:
            return [jobs[0].run()]
        return _together(jobs, engine)


class _Options(NamedTuple):
    no_cache: bool
    upgrade: bool
    push: bool
    wanted: OutputSpec | None  # tags, files and caches besides the image in the engine


class _Engine:
    """The BuildKit of a build, which is connected at the first request."""

    def __init__(self, builder: str | None, environ: Mapping[str, str]) -> None:
        import threading

        self.environ = environ
        self._builder = builder
        self._choice: Choice | None = None
        self._client: Client | None = None
        self._lock = threading.Lock()
        self._closed = False
        self._lowering: Lowering | None = None

    def __enter__(self) -> _Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection, which cancels running builds. Later calls of `connect` raise EngineError."""
        self._closed = True  # a thread that is connecting now closes the new connection itself
        client, self._client = self._client, None
        if client is not None:
            client.close()

    @property
    def choice(self) -> Choice:
        """The BuildKit that the user's settings choose."""
        if self._choice is None:
            self._choice = choose(self._builder, environ=self.environ)
        return self._choice

    def warm(self) -> None:
        """Connect in the background; `connect` reports any failure."""
        import threading

        def connect() -> None:
            with contextlib.suppress(FlyteImagesError):
                self.connect()

        threading.Thread(target=connect, name="flyte-images-connect", daemon=True).start()

    def connect(self) -> Client:
        """Return the connected client. Raises EngineError if no BuildKit answers, or after `close`."""
        with self._lock:
            if self._client is None:
                from ..buildkit.client import open_choice

                self._client = open_choice(self.choice)
            client = self._client
            if self._closed:
                self.close()
                raise EngineError("the build was canceled")
            return client

    def context(self, *, note: Callable[[str], None], upgrade: bool) -> BuildContext:
        """Return the build's settings and engine for the packages below."""
        return BuildContext(environ=self.environ, connect=self.connect, warm=self.warm, note=note, upgrade=upgrade)

    def lowering(self, *, no_cache: bool) -> Lowering:
        """Return the Lowering that all images of this build share, so that shared steps are lowered once."""
        client = self.connect()
        with self._lock:
            if self._lowering is None:
                from ..plan.lower import Lowering
                from ..serving.serve import engine_features

                self._lowering = Lowering(features=engine_features(client.capabilities()), no_cache=no_cache)
            return self._lowering


class _Job:
    """The build of one image."""

    def __init__(self, name: str, image: Image, engine: _Engine, progress: Progress, options: _Options) -> None:
        self.name, self.image, self.engine, self.progress, self.options = name, image, engine, progress, options

    def run(self) -> BuildResult:
        """Build the image unless the engine has it, and return the result."""
        began = time.monotonic()
        if self.options.push and not self.image.registry:
            raise SpecError(
                f"the image `{self.name}` has no registry to push to",
                hint='Image.from_debian_base(registry="registry.example/team")',
                location=self.image.location,
            )
        context = self.engine.context(note=self.progress.note, upgrade=self.options.upgrade)
        plan = prepare(self.image, context)
        ref = reference(self.image, plan)
        is_plain = self.options.wanted is None and not self.options.push and not self.options.no_cache
        digest = self._existing(ref, plan) if is_plain else None
        cached = digest is not None
        if digest is None:
            from .solve import solve_plan

            outcome = solve_plan(
                self.image,
                with_addresses(self.image, plan, context),
                ref,
                client=context.connect(),
                lowering=self.engine.lowering(no_cache=self.options.no_cache),
                environ=context.environ,
                push=self.options.push,
                wanted=self.options.wanted,
                on_event=self.progress.image(self.name),
            )
            digest, plan, cached = outcome.digest, outcome.plan, outcome.cached
            ref = reference(self.image, plan)
        seconds = time.monotonic() - began
        self.progress.summary(self.name, reference=ref, seconds=seconds)
        return BuildResult(
            name=self.name,
            ref=ref,
            digest=digest,
            plan=plan.digest,
            cached=cached,
            seconds=seconds,
            base=plan.base.description,
        )

    def _existing(self, ref: str, plan: Plan) -> str | None:
        """Return the image's digest if the engine that runs tasks already has the image of this plan, else None."""
        address = self.engine.choice.address
        store = address if isinstance(address, Docker) else engine(environ=self.engine.environ)
        if store is None:
            return None
        stored = find_image(store, ref)
        if stored is None or stored.labels.get(LABEL) != plan.digest:
            return None
        return stored.id


def reference(image: Image, plan: Plan) -> str:
    """Return the full name of the image of a plan. The tag is the beginning of the plan's digest."""
    ref = ImageRef.parse(f"{image.registry or 'docker.io'}/{image.name or _DEFAULT_NAME}")
    return str(ref._replace(tag=Digest.parse(plan.digest).hex[:20]))


def _named(images: Sequence[Image]) -> dict[str, Image]:
    named: dict[str, Image] = {}
    for image in images:
        name, number = image.name or _DEFAULT_NAME, 2
        while name in named:
            name, number = f"{image.name or _DEFAULT_NAME}-{number}", number + 1
        named[name] = image
    return named


def _together(jobs: Sequence[_Job], engine: _Engine) -> list[BuildResult]:
    """Run all jobs at once. The first error ends the other jobs too; Ctrl-C ends all."""

    def run(job: _Job) -> BuildResult:
        with ending(engine.close):  # the engine cancels its builds when the connection is closed
            return job.run()

    return together([functools.partial(run, job) for job in jobs], _AT_ONCE)
