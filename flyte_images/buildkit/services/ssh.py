"""moby.sshforward.v1.SSH: lets a step use the user's ssh agent, never its keys."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import grpc

from ..pb.session_pb2 import BytesMessage, CheckAgentRequest, CheckAgentResponse
from . import Handlers

_SERVICE = "/moby.sshforward.v1.SSH"
_CHUNK = 1 << 15


def ssh(agents: Mapping[str, Path]) -> Handlers:
    """Forward to the agents' sockets by their ids; an empty id means `default`."""

    def check(request: CheckAgentRequest, context: grpc.ServicerContext) -> CheckAgentResponse:
        if (request.id or "default") not in agents:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no ssh agent is forwarded as {request.id or 'default'}")
        return CheckAgentResponse()

    def forward(requests: Iterator[BytesMessage], context: grpc.ServicerContext) -> Iterator[BytesMessage]:
        name = next((str(v) for k, v in context.invocation_metadata() if k == "buildkit.ssh.id"), "") or "default"
        if name not in agents:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no ssh agent is forwarded as {name}")
        with socket.socket(socket.AF_UNIX) as agent:
            try:
                agent.connect(str(agents[name]))
            except OSError as error:
                context.abort(grpc.StatusCode.UNAVAILABLE, f"the ssh agent does not answer: {error.strerror}")
            up = threading.Thread(target=_up, args=(requests, agent), name="flyte-images-ssh", daemon=True)
            up.start()
            context.add_callback(lambda: _shut(agent, socket.SHUT_RDWR))  # or `recv` outlives the call
            while data := _receive(agent):
                yield BytesMessage(data=data)

    return {
        f"{_SERVICE}/CheckAgent": grpc.unary_unary_rpc_method_handler(
            check,
            request_deserializer=CheckAgentRequest.FromString,
            response_serializer=CheckAgentResponse.SerializeToString,
        ),
        f"{_SERVICE}/ForwardAgent": grpc.stream_stream_rpc_method_handler(
            forward,
            request_deserializer=BytesMessage.FromString,
            response_serializer=BytesMessage.SerializeToString,
        ),
    }


def _up(requests: Iterator[BytesMessage], agent: socket.socket) -> None:
    with contextlib.suppress(OSError, grpc.RpcError):
        for request in requests:
            agent.sendall(request.data)
    _shut(agent, socket.SHUT_WR)


def _shut(agent: socket.socket, how: int) -> None:
    with contextlib.suppress(OSError):
        agent.shutdown(how)


def _receive(agent: socket.socket) -> bytes:
    try:
        return agent.recv(_CHUNK)
    except OSError:
        return b""
