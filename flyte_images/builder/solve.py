"""Plan -> image: pack local files, lower the plan, and let the engine solve and export it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from .. import llb
from ..buildkit.client import Client
from ..buildkit.definition_index import find as find_step
from ..buildkit.events import Event, Vertex
from ..buildkit.export_image import Target, export_image
from ..buildkit.exporters import Packing
from ..buildkit.failure import StepError
from ..buildkit.load import find_store
from ..buildkit.redact import Masked, masked
from ..buildkit.session import Session
from ..buildkit.solve import SolveResult
from ..errors import BuildError, ResolveError
from ..image import Image
from ..plan.lower import Lowering, configuration, users_command, users_words
from ..plan.model import Built, Plan, packages
from ..plan.sources import EngineFeatures, SourceMap
from ..serving.host_settings import redactor_of
from ..serving.serve import check_tags, engine_features, moved_tag_error, serve_sources, session_for
from .output_spec import OutputSpec, cache, exporter

# The error of an engine that checks the digest of a tag in its own store (BuildKit 0.25).
_MOVED = re.compile(r"image digest (\S+) for (\S+) does not match expected checksum (\S+)")

_ENDED = "flyte-images ends the step: "  # printed by limited.sh and build_wheel.py
_NOT_FOUND = re.compile(r"(\S+): (?:command )?not found$", re.MULTILINE)  # printed by shells, with status 127


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The result of a solve: the manifest's digest, the plan, and whether no step had to run."""

    digest: str
    plan: Plan
    cached: bool


def solve_plan(
    image: Image,
    plan: Plan,
    ref: str,
    *,
    client: Client,
    lowering: Lowering,
    environ: Mapping[str, str],
    push: bool,
    wanted: OutputSpec | None,
    on_event: Callable[[Event], None],
) -> Outcome:
    """Solve `plan` and export it under `ref`; all images of a build share `lowering`.

    A package file that the engine cannot fetch is fetched and served by this machine, if this machine can fetch it.
    """
    capabilities = client.capabilities()
    capabilities.check_platform(plan.platform)
    features = engine_features(capabilities)
    check_tags(client, plan, features)
    source_map = serve_sources(image, plan, environ=environ, features=features)
    solve = _Solve(plan, ref, client, environ, push, wanted or OutputSpec(), on_event)
    try:
        return solve.run(lowering, source_map)
    except StepError as error:
        if match := _MOVED.search(str(error)):
            raise moved_tag_error(match[2], match[1], match[3]) from None
        if not solve.was_fetching(error):
            raise
        try:
            everything = _served(image, plan, environ, features)
        except ResolveError as reason:
            reason.location = error.location
            raise reason from None
    return solve.run(Lowering(features=features, no_cache=lowering.no_cache), everything)


def _served(image: Image, plan: Plan, environ: Mapping[str, str], features: EngineFeatures) -> SourceMap:
    """Fetch all package files on this machine, if necessary from the index's current addresses, and serve them."""
    try:
        return serve_sources(image, plan, environ=environ, features=features, serve_all=True)
    except ResolveError:
        from ..resolve.addresses import fresh

        now = fresh(plan, image, environ)
        if [file.url for file in packages(now)] == [file.url for file in packages(plan)]:
            raise
    return serve_sources(image, now, environ=environ, features=features, serve_all=True)


class _Solve:
    """The solve of one plan; `run` may be called again with other sources."""

    def __init__(
        self,
        plan: Plan,
        ref: str,
        client: Client,
        environ: Mapping[str, str],
        push: bool,
        wanted: OutputSpec,
        on_event: Callable[[Event], None],
    ) -> None:
        self.plan, self.client, self.environ, self.on_event = plan, client, environ, on_event
        packing = Packing(
            config=configuration(plan),
            base_config=plan.base.config,
            compression="zstd",
            compression_level=1,
            epoch=_created(plan),
        )
        names = (ref, *wanted.tags)
        self.target = Target(names=names, packing=packing, push=push, into=lambda: find_store(environ))
        self.outputs = [exporter(text, packing) for text in wanted.outputs]
        self.cache_imports = [cache(text) for text in wanted.cache_from]
        self.cache_exports = [cache(text) for text in wanted.cache_to]
        self.definition = b""

    def run(self, lowering: Lowering, source_map: SourceMap) -> Outcome:
        """Lower, solve and export. Raises the errors of `Client.solve`, with the user's command and without secrets."""
        self.definition = llb.marshal(lowering.lower(self.plan, source_map)).data
        redactor = redactor_of(self.plan, self.environ)
        watched = _Watched(Masked(self.on_event, redactor) if redactor else self.on_event)
        try:
            with masked(redactor):
                result = self._send(session_for(source_map, environ=self.environ, plan=self.plan), watched)
        except BuildError as error:
            error.command = users_command(error.command) if error.command else None
            error.log = users_words(error.log)
            error.hint = error.hint or self._remedy(error)
            raise
        answer = dict(result.exporter_response)
        digest = answer.get("containerimage.digest", "")
        if not digest and not self.outputs:
            raise BuildError(f"the engine's answer does not name the image: {answer}")
        return Outcome(digest=digest, plan=self.plan, cached=not watched.ran)

    def _send(self, session: Session, watched: _Watched) -> SolveResult:
        if not self.outputs:
            return export_image(
                self.client,
                self.definition,
                self.target,
                session=session,
                cache_imports=self.cache_imports,
                cache_exports=self.cache_exports,
                on_event=watched,
            )
        return self.client.solve(
            self.definition,
            session=session,
            exporters=self.outputs,
            cache_imports=self.cache_imports,
            cache_exports=self.cache_exports,
            on_event=watched,
            internal=True,
        )

    def _remedy(self, error: BuildError) -> str | None:
        """Return a hint for a step that a limit ended, or for a missing program of the system."""
        if _ENDED in error.log:
            return 'a command may have more: with_commands([...], limits=Resources(mem="16Gi"), timeout=4 * 3600)'
        if isinstance(error, StepError) and error.exit_status == 127 and (match := _NOT_FOUND.search(error.log)):
            return (
                f"the image has no `{match[1]}`: add .with_apt_packages(the Debian package of `{match[1]}`) "
                "before the command"
            )
        step = find_step(self.definition, error.vertex) if isinstance(error, StepError) else None
        built = {it.title for it in self.plan.steps if isinstance(it.body, Built)}
        if step is None or step.name not in built:
            return None
        from ..resolve.sdists import remedy

        return remedy(error.log, (self.plan.toolchain or self.plan.base).python_path)

    def was_fetching(self, error: StepError) -> bool:
        """Return whether the failed step is the engine's download of a package file.

        Older engines treat the text of a refusal as the file, and report a wrong digest.
        """
        step = find_step(self.definition, error.vertex)
        return step is not None and step.name.startswith("fetch ")


@dataclass(slots=True)
class _Watched:
    """Passes events on, and records in `ran` whether a step of the plan has run."""

    on_event: Callable[[Event], None]
    ran: bool = False
    _seen: set[str] = field(default_factory=set)

    def __call__(self, event: Event) -> None:
        if isinstance(event, Vertex) and event.group_id:
            if event.cached:
                self._seen.discard(event.digest)
            elif event.completed is not None:
                self._seen.add(event.digest)
            self.ran = bool(self._seen)
            if event.error:
                event = replace(event, error=users_words(event.error))
        self.on_event(event)


def _created(plan: Plan) -> int:
    """Return the creation time of the image, in seconds since 1970: that of the base, whenever the image is built."""
    text = str(plan.base.configuration.get("created") or "1980-01-01T00:00:00Z")
    return int(datetime.fromisoformat(re.sub(r"\.\d+", "", text).replace("Z", "+00:00")).timestamp())
