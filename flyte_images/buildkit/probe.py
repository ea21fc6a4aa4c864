"""Try every BuildKit that the settings and the sockets name, for `flyte-images doctor`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ..errors import EngineError, SpecError
from .capabilities import Capabilities
from .client import Version, open_choice
from .discovery import Choice, candidates

_PATIENCE = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbedEngine:
    """The result of one attempt: either `error`, or `version` and `capabilities`.

    `chosen` marks the engine that a build takes. A daemon that is not running is not started for this: then neither is
    set.
    """

    where: str
    because: str
    chosen: bool
    version: Version | None = None
    capabilities: Capabilities | None = None
    error: EngineError | SpecError | None = None


def survey(given: str | None = None, *, environ: Mapping[str, str]) -> Iterator[ProbedEngine]:
    """Try all choices of discovery.py, in its order; a build takes the first one, whether it answers or not."""
    choices = candidates(given, environ=environ)
    first = True
    while True:
        try:
            choice = next(choices)
        except StopIteration:
            return
        except (EngineError, SpecError) as error:  # a setting that cannot be used ends the search, as it ends a build
            yield ProbedEngine(where="", because="settings", chosen=first, error=error)
            return
        yield _try(choice, chosen=first)
        first = False


def _try(choice: Choice, *, chosen: bool) -> ProbedEngine:
    where = str(choice.address)
    if choice.daemon is not None:
        return ProbedEngine(where=where, because=choice.because, chosen=chosen)
    try:
        with open_choice(choice, patience=_PATIENCE) as client:
            return ProbedEngine(
                where=where,
                because=choice.because,
                chosen=chosen,
                version=client.info(),
                capabilities=client.capabilities(),
            )
    except EngineError as error:
        return ProbedEngine(where=where, because=choice.because, chosen=chosen, error=error)
