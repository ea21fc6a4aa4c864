"""What there is: every BuildKit that the settings and the sockets lead to, tried; for `doctor`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ..errors import EngineError, SpecError
from .capabilities import Capabilities
from .client import Version, open_choice
from .discovery import Choice, candidates

_PATIENCE = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One place that was tried. Either `error` says why it cannot be used, or the others what it is.

    `chosen` is the one that a build takes. A daemon that would have to be started first is not started: neither is set.
    """

    where: str
    because: str
    chosen: bool
    version: Version | None = None
    capabilities: Capabilities | None = None
    error: EngineError | SpecError | None = None


def survey(given: str | None = None, *, environ: Mapping[str, str]) -> Iterator[Found]:
    """Try all that discovery.py knows, in its order; the first is what a build would use, whether it answers or not."""
    choices = candidates(given, environ=environ)
    first = True
    while True:
        try:
            choice = next(choices)
        except StopIteration:
            return
        except (EngineError, SpecError) as error:  # a setting that leads nowhere ends the search, as it ends a build
            yield Found(where="", because="settings", chosen=first, error=error)
            return
        yield _try(choice, chosen=first)
        first = False


def _try(choice: Choice, *, chosen: bool) -> Found:
    where = str(choice.address)
    if choice.daemon is not None:
        return Found(where=where, because=choice.because, chosen=chosen)
    try:
        with open_choice(choice, patience=_PATIENCE) as client:
            return Found(
                where=where,
                because=choice.because,
                chosen=chosen,
                version=client.info(),
                capabilities=client.capabilities(),
            )
    except EngineError as error:
        return Found(where=where, because=choice.because, chosen=chosen, error=error)
