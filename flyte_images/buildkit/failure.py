"""What grpc says of a failed call -> one of our errors, with the step, its command and the user's line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

import grpc

from ..errors import BuildError, EngineError, FlyteImagesError, Location
from .error_hints import hint_for, step_message
from .pb.gateway_pb2 import ErrorStatus

_DETAILS = "grpc-status-details-bin"
_INTERRUPTED = r"context canceled|code = (Canceled|Unavailable)|no active session"
_UNHEARD = r"^(?!.*(https?://|dial |lookup )).*\bcontext deadline exceeded$"  # of a session, not of some server
_RACED = r'image "[^"]+": already exists'

_STUCK = "unsupported offset"

_LOST = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.INTERNAL)


class StepError(BuildError):
    """A step of the graph failed. `vertex` is its digest, `exit_status` what its command returned if it ran."""

    def __init__(
        self,
        message: str,
        *,
        vertex: str,
        exit_status: int | None = None,
        hint: str | None = None,
        location: Location | None = None,
        command: str | None = None,
        log: str = "",
    ) -> None:
        super().__init__(message, hint=hint, location=location, command=command, log=log)
        self.vertex = vertex
        self.exit_status = exit_status


class ConnectionLostError(EngineError):
    """The engine went away during a call. Whether it is gone for good, only another call can tell."""

    def __init__(self, engine: str, reason: str) -> None:
        super().__init__(
            f"the connection to the BuildKit at {engine} is gone: {reason}",
            hint="was it stopped or restarted? When it is back, build again: finished steps are kept",
        )
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    """What BuildKit adds to an error."""

    vertex: str = ""
    exit_status: int | None = None
    location: Location | None = None


def details_of(error: grpc.RpcError) -> Details:
    """Read the trailer of a failed call.

    The values are JSON even though the wrapping is protobuf.
    """
    found = {}
    for item in error.trailing_metadata() or ():
        if item.key == _DETAILS:
            for detail in ErrorStatus.FromString(item.value).details:
                if detail.type_url.endswith("+json"):
                    found[detail.type_url.rsplit(".", 1)[-1].removesuffix("+json")] = json.loads(detail.value)
    exit_status = found.get("ExitMessage", {}).get("Code")
    return Details(
        vertex=found.get("Vertex", {}).get("digest", ""),
        exit_status=exit_status,
        location=_location(found.get("Source", {})),
    )


def _location(source: dict[str, object]) -> Location | None:
    match source:
        case {"info": {"filename": str(file)}, "ranges": [{"start": {"line": int(line)}}, *_]}:
            return Location(file, line)
    return None


def engine_error(error: grpc.RpcError, engine: str, *, said: Callable[[], str] = str) -> EngineError:
    """The error of a call that is no build: `engine` is its address, `said` gets what its connection told."""
    code, text = error.code(), _text(error)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return EngineError(
            f"the BuildKit at {engine} does not answer", hint="is it overloaded, or has the connection stalled?"
        )
    if code in _LOST:
        return ConnectionLostError(engine, said() or text)
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return EngineError(f"what answers at {engine} is no BuildKit, or one too old: {text}")
    return EngineError(f"the BuildKit at {engine} refused: {text}", hint=hint_for(text))


def build_error(error: grpc.RpcError, engine: str, *, said: Callable[[], str] = str) -> FlyteImagesError:
    """The error of a failed solve, not yet with what only the graph and its events know: command and log."""
    details, text = details_of(error), _text(error)
    if details.vertex:
        return StepError(
            step_message(text),
            vertex=details.vertex,
            exit_status=details.exit_status,
            location=details.location,
            hint=None if details.exit_status else hint_for(text),
        )
    if error.code() in (*_LOST, grpc.StatusCode.UNIMPLEMENTED):
        return engine_error(error, engine, said=said)
    if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return BuildError(
            f"the engine refused: {text}",
            hint="large contents belong into files of a source layer, or its disk is full",
        )
    return BuildError(step_message(text), hint=hint_for(text))


def interrupted(error: FlyteImagesError) -> bool:
    """Did something else than the build itself end it, so that the same build may well work now?

    That is the connection, or a session that the engine waited for in vain; and another client: BuildKit runs equal
    steps of several builds once, with the session of any of them, so when that client is killed, or loses its
    connection, the others see their step cancelled. And when two write an image of the same name at the same moment,
    the engine's store has one of them fail.
    """
    if isinstance(error, StepError) and error.exit_status is not None:
        return False
    return isinstance(error, ConnectionLostError) or bool(re.search(f"{_INTERRUPTED}|{_RACED}|{_UNHEARD}", str(error)))


def stuck(error: FlyteImagesError) -> bool:
    """Does the engine hold the first part of a blob, from a transfer that broke off, and cannot go on from there?"""
    return _STUCK in str(error)


def _text(error: grpc.RpcError) -> str:
    """What was said; grpc's words on our own bridge mean that the other end closed the connection."""
    text = error.details() or str(error)
    return "it closed the connection" if "unix-abstract:" in text or "Socket closed" in text else text
