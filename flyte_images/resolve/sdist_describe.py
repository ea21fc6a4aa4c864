"""The metadata of a source distribution, made by its build backend in a container of the engine.

The container has the toolchain, the requirements of the build, and the source distribution: no network, no secret, no
setting of this machine. A second step, which runs no code of the package, reads the result.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from flyte_images_layers import digest
from flyte_images_layers.steps import EPOCH, Sdist, Wheel

from .. import llb
from ..bootstrap.base_image import BaseImage
from ..buildkit.build_context import BuildContext
from ..buildkit.client import Client
from ..buildkit.exporters import Files
from ..buildkit.failure import StepError
from ..errors import ResolveError
from ..image import Image
from ..plan.lower import Lowering, limits, program, run_program
from ..plan.model import Built, Plan, PlanStep
from ..plan.sources import SourceMap
from ..serving.serve import check_tags, engine_features, serve_sources, session_for
from ..store.leftovers import temporary_directory
from .sdist_metadata import HERE, Metadata
from .sdists import SourceDist, remedy

_OUT, _IN, _ENVIRONMENT = "/flyte-images/out", "/flyte-images/in", "/flyte-images/build/env"
_LIMITS = b"%d 1024 300" % (2 << 30)  # bytes of memory, processes, seconds
_TIMEOUT = 600.0  # seconds for all steps of one source distribution


@dataclass(frozen=True, slots=True, kw_only=True)
class MetadataBuilder:
    """Makes the metadata of source distributions in an engine; `needs` finds the wheels for a build environment."""

    image: Image
    toolchain: BaseImage
    platform: str
    context: BuildContext
    needs: Callable[[SourceDist, Sequence[str]], tuple[Wheel, ...]]

    def __call__(self, source: SourceDist) -> Metadata:
        """Return the metadata of `source`. Raise ResolveError if the backend fails, EngineError without an engine."""
        client = self._client(source)
        self.context.note(f"{source.filename} does not state its requirements: its build backend runs in the engine")
        found, wanted = self._ask(client, source, (), last=False)
        if found is None:
            found, wanted = self._ask(client, source, wanted, last=True)
        if found is None:
            raise ResolveError(f"the build backend of {source.filename} gives no metadata")
        return Metadata.parse(source, found, tuple(wanted))

    def _client(self, source: SourceDist) -> Client:
        try:
            return self.context.connect()
        except Exception as error:
            from ..errors import EngineError

            if isinstance(error, EngineError):
                raise EngineError(
                    f"{source.filename} does not state its requirements: its build backend must run in an engine, "
                    f"and no engine is available: {error}",
                    hint=f"start an engine; or {HERE}=1 lets uv run the code of such packages on this machine",
                ) from None
            raise

    def _ask(
        self, client: Client, source: SourceDist, more: Sequence[str], *, last: bool
    ) -> tuple[str | None, Sequence[str]]:
        fields = {name: getattr(source, name) for name in ("name", "version", "filename", "sha256", "size", "url")}
        sdist = Sdist(build=self.needs(source, more), **fields)
        plan = self._plan(sdist)
        features = engine_features(client.capabilities())
        check_tags(client, plan, features)
        try:
            source_map = serve_sources(self.image, plan, environ=self.context.environ, features=features)
            return self._solve(client, Lowering(features=features), sdist, source_map, plan.steps[0], last)
        except StepError as error:
            if not str(error).startswith("fetch "):
                raise self._error(source, error) from None
        source_map = serve_sources(self.image, plan, environ=self.context.environ, features=features, serve_all=True)
        try:
            return self._solve(client, Lowering(features=features), sdist, source_map, plan.steps[0], last)
        except StepError as error:
            raise self._error(source, error) from None

    def _plan(self, sdist: Sdist) -> Plan:
        """Return the plan of the build, from which the served sources follow."""
        base = self.toolchain
        body = Built(sdist=sdist, python=base.python, toolchain=base.digest, builder="", installer="")
        step = PlanStep(body=body, reads=(), digest=digest("describe", sdist.sha256), title=sdist.filename)
        return Plan(
            platform=self.platform, base=base, toolchain=base, steps=(step,), env=(), workdir="/", digest=step.digest
        )

    def _solve(
        self, client: Client, lowering: Lowering, sdist: Sdist, source_map: SourceMap, step: PlanStep, last: bool
    ) -> tuple[str | None, Sequence[str]]:
        state = described(lowering, sdist, self.toolchain, self.platform, source_map, step, last=last)
        with temporary_directory("metadata") as place:
            client.solve(
                llb.marshal(state).data,
                session=replace(
                    session_for(source_map, environ=self.context.environ), secrets={limits(step).id: _LIMITS}
                ),
                exporters=(Files(dest=Path(place)),),
                timeout=_TIMEOUT,
                internal=True,
            )
            answer = json.loads((Path(place) / "answer").read_text(encoding="utf-8"))
        return answer["metadata"], answer["requires"]

    def _error(self, source: SourceDist, error: StepError) -> ResolveError:
        log = f"\n{error.log.strip()}" if error.log else ""
        return ResolveError(
            f"the build backend of {source.filename} fails to list its requirements: {error}{log}",
            hint=remedy(error.log, self.toolchain.python_path),
        )


def described(
    lowering: Lowering,
    sdist: Sdist,
    toolchain: BaseImage,
    platform: str,
    source_map: SourceMap,
    step: PlanStep,
    *,
    last: bool,
) -> llb.State:
    """Return the state whose only file, `answer`, holds the metadata of `sdist`."""
    where, note = llb.Platform.parse(platform), llb.Note(name=f"what {sdist.filename} needs")
    root = lowering.base(toolchain, where, source_map)
    python = (f"python{toolchain.python}", "-I", "-S")
    mounts, paths = lowering.fetched(sdist.build, note, source_map)
    words = ("install_wheels.py", _OUT, "/env", str(EPOCH), *paths)
    env = run_program(root, python, words, note=note, platform=where, mounts=mounts)
    [mount], [path] = lowering.fetched([sdist], note, source_map)
    words = ("describe_sdist.py", _OUT, _ENVIRONMENT, path, "last" if last else "first")
    mounts = [
        mount,
        llb.bind(_ENVIRONMENT.rpartition("/")[0], env),
        program("build_wheel.py", place="/flyte-images/beside"),
    ]
    output = run_program(root, python, words, note=note, platform=where, mounts=mounts, most=limits(step))
    words = ("collect_metadata.py", _OUT, _IN)
    return run_program(root, python, words, note=note, platform=where, mounts=[llb.bind(_IN, output)])
