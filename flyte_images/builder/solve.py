"""Plan -> image: packs local files, lowers the plan, has the engine solve it, and says what came out."""

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
from ..plan.sources import Abilities, Places
from ..serving.host_settings import redactor_of
from ..serving.serve import check_tags, engine_features, moved_tag_error, serve_sources, session_for
from .output_spec import OutputSpec, cache, exporter

# Engines that hold a tag of their own store to a digest say so in these words (BuildKit 0.25).
_MOVED = re.compile(r"image digest (\S+) for (\S+) does not match expected checksum (\S+)")

_ENDED = "flyte-images ends the step: "  # as limited.sh and build_wheel.py say it
_NOT_FOUND = re.compile(r"(\S+): (?:command )?not found$", re.MULTILINE)  # as shells say it, with status 127


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a solve gave: the manifest's digest, and whether no step had to be run."""

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
    """Solve `plan` and export it under `ref`; `lowering` is one for all images of a build.

    A package file that the engine cannot fetch is fetched here and served, if it can be had at all.
    """
    capabilities = client.capabilities()
    capabilities.check_platform(plan.platform)
    abilities = engine_features(capabilities)
    check_tags(client, plan, abilities)
    places = serve_sources(image, plan, environ=environ, abilities=abilities)
    solve = _Solve(plan, ref, client, environ, push, wanted or OutputSpec(), on_event)
    try:
        return solve.run(lowering, places)
    except StepError as error:
        if found := _MOVED.search(str(error)):
            raise moved_tag_error(found[2], found[1], found[3]) from None
        if not solve.was_fetching(error):
            raise
        try:
            everything = _served(image, plan, environ, abilities)
        except ResolveError as reason:
            reason.location = error.location
            raise reason from None
    return solve.run(Lowering(abilities=abilities, no_cache=lowering.no_cache), everything)


def _served(image: Image, plan: Plan, environ: Mapping[str, str], abilities: Abilities) -> Places:
    """All package files, fetched by this machine, from where the index has them now if need be."""
    try:
        return serve_sources(image, plan, environ=environ, abilities=abilities, serve_all=True)
    except ResolveError:
        from ..resolve.addresses import fresh

        now = fresh(plan, image, environ)
        if [file.url for file in packages(now)] == [file.url for file in packages(plan)]:
            raise
    return serve_sources(image, now, environ=environ, abilities=abilities, serve_all=True)


class _Solve:
    """One plan on its way through the engine, a second time if need be."""

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

    def run(self, lowering: Lowering, places: Places) -> Outcome:
        """Lower, solve and export. Raises as the engine's client does."""
        self.definition = llb.marshal(lowering.lower(self.plan, places)).data
        redactor = redactor_of(self.plan, self.environ)
        watched = _Watched(Masked(self.on_event, redactor) if redactor else self.on_event)
        try:
            with masked(redactor):
                result = self._send(session_for(places, environ=self.environ, plan=self.plan), watched)
        except BuildError as error:
            error.command = users_command(error.command) if error.command else None
            error.log = users_words(error.log)
            error.hint = error.hint or self._remedy(error)
            raise
        said = dict(result.exporter_response)
        digest = said.get("containerimage.digest", "")
        if not digest and not self.outputs:
            raise BuildError(f"the engine says nothing of the image that it was to make: {said}")
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
        """What helps where a limit ended a step, or a program of the system is missing."""
        if _ENDED in error.log:
            return 'a command may name more: with_commands([...], limits=Resources(mem="16Gi"), timeout=4 * 3600)'
        if isinstance(error, StepError) and error.exit_status == 127 and (found := _NOT_FOUND.search(error.log)):
            return f"the image has no `{found[1]}`: .with_apt_packages(the Debian package that has it) above it"
        step = find_step(self.definition, error.vertex) if isinstance(error, StepError) else None
        sources = {it.title for it in self.plan.steps if isinstance(it.body, Built)}
        if step is None or step.name not in sources:
            return None
        from ..resolve.sdists import remedy

        return remedy(error.log, (self.plan.toolchain or self.plan.base).python_path)

    def was_fetching(self, error: StepError) -> bool:
        """Whether the step that failed is the engine's fetching of a package file.

        Older engines take the words of a refusal for the file, and say that its digest is another.
        """
        step = find_step(self.definition, error.vertex)
        return step is not None and step.name.startswith("fetch ")


@dataclass(slots=True)
class _Watched:
    """Passes events on, and notes whether any of our steps was run."""

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
    """When the image says that it was made, in seconds since 1970: when its base was, on whatever day it is built."""
    text = str(plan.base.configuration.get("created") or "1980-01-01T00:00:00Z")
    return int(datetime.fromisoformat(re.sub(r"\.\d+", "", text).replace("Z", "+00:00")).timestamp())
