"""A failed gRPC call -> an error of this package, with the step, its command and the user's line."""

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
_UNHEARD = r"^(?!.*(https?://|dial |lookup )).*\bcontext deadline exceeded$"  # the session's timeout, not a server's
_RACED = r'image "[^"]+": already exists'

_STUCK = "unsupported offset"

_LOST = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.INTERNAL)


class StepError(BuildError):
    """A step of the graph failed. `vertex` is its digest, `exit_status` the exit status of its command, if it ran."""

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
    """The connection to the engine was lost during a call. Only another call can show whether the engine is gone."""

    def __init__(self, engine: str, reason: str) -> None:
        super().__init__(
            f"the connection to the BuildKit at {engine} is lost: {reason}",
            hint="was the engine stopped or restarted? When it runs, build again: finished steps are kept",
        )
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    """The details that BuildKit adds to an error."""

    vertex: str = ""
    exit_status: int | None = None
    location: Location | None = None


def details_of(error: grpc.RpcError) -> Details:
    """Return the details in the trailer of a failed call: JSON values inside a protobuf message."""
    details = {}
    for item in error.trailing_metadata() or ():
        if item.key == _DETAILS:
            for detail in ErrorStatus.FromString(item.value).details:
                if detail.type_url.endswith("+json"):
                    details[detail.type_url.rsplit(".", 1)[-1].removesuffix("+json")] = json.loads(detail.value)
    exit_status = details.get("ExitMessage", {}).get("Code")
    return Details(
        vertex=details.get("Vertex", {}).get("digest", ""),
        exit_status=exit_status,
        location=_location(details.get("Source", {})),
    )


def _location(source: dict[str, object]) -> Location | None:
    match source:
        case {"info": {"filename": str(file)}, "ranges": [{"start": {"line": int(line)}}, *_]}:
            return Location(file, line)
    return None


def engine_error(error: grpc.RpcError, engine: str, *, reason: Callable[[], str] = str) -> EngineError:
    """Return the error of a call other than a solve.

    `engine` is the engine's address; `reason` returns the connection's report of why it was lost, or "".
    """
    code, text = error.code(), _text(error)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return EngineError(
            f"the BuildKit at {engine} does not answer", hint="is it overloaded, or has the connection stalled?"
        )
    if code in _LOST:
        return ConnectionLostError(engine, reason() or text)
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return EngineError(f"the server at {engine} is not a BuildKit, or is too old: {text}")
    return EngineError(f"the BuildKit at {engine} refused: {text}", hint=hint_for(text))


def build_error(error: grpc.RpcError, engine: str, *, reason: Callable[[], str] = str) -> FlyteImagesError:
    """Return the error of a failed solve. The caller adds command and log, from the graph and its events."""
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
        return engine_error(error, engine, reason=reason)
    if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return BuildError(
            f"the engine refused: {text}",
            hint="large contents belong in files of a source layer; or is the engine's disk full?",
        )
    return BuildError(step_message(text), hint=hint_for(text))


def interrupted(error: FlyteImagesError) -> bool:
    """Return whether something other than the build ended the build, so that the same build may work now.

    Such causes are a lost connection, a session that did not answer the engine, and another client: BuildKit runs equal
    steps of several builds once, with the session of any of them, so when that client is killed or loses its
    connection, the other builds see their step canceled. And when two builds write an image of the same name at the
    same moment, the engine's store makes one of them fail.
    """
    if isinstance(error, StepError) and error.exit_status is not None:
        return False
    return isinstance(error, ConnectionLostError) or bool(re.search(f"{_INTERRUPTED}|{_RACED}|{_UNHEARD}", str(error)))


def stuck(error: FlyteImagesError) -> bool:
    """Return whether the engine has the first part of a blob, from a broken transfer, and cannot continue."""
    return _STUCK in str(error)


def _text(error: grpc.RpcError) -> str:
    """Return the error text; grpc's texts about this client's bridge mean that the other end closed the connection."""
    text = error.details() or str(error)
    return "it closed the connection" if "unix-abstract:" in text or "Socket closed" in text else text
