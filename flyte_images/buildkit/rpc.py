"""The gRPC methods of BuildKit that this client calls: their exact paths and message types."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

import grpc
from google.protobuf.message import Message

from .pb import content_pb2, control_pb2, gateway_pb2

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)
Metadata = tuple[tuple[str, str], ...]

MESSAGE_LIMIT = 16 << 20
"""Bytes in one message, both ways: the setting of BuildKit's servers. grpcio's own default is 4 MiB."""

OPTIONS: tuple[tuple[str, str | int], ...] = (
    ("grpc.max_receive_message_length", MESSAGE_LIMIT),
    ("grpc.max_send_message_length", MESSAGE_LIMIT),
    # The error of a failed step is a trailer that quotes the step and, if the graph contains it, the user's whole file.
    ("grpc.max_metadata_size", MESSAGE_LIMIT),
    ("grpc.absolute_max_metadata_size", MESSAGE_LIMIT),
    ("grpc.use_local_subchannel_pool", 1),  # otherwise channels to a reused path share their connections
    ("grpc.enable_http_proxy", 0),  # BuildKit's own clients dial without a proxy
    ("grpc.default_authority", "localhost"),
    ("grpc.initial_reconnect_backoff_ms", 100),  # the default, a second, is for many clients of one server
    ("grpc.max_reconnect_backoff_ms", 1000),
)


@dataclass(frozen=True, slots=True)
class Method(Generic[Request, Response]):
    """A method's path and the types of its messages."""

    path: str
    request: type[Request]
    response: type[Response]

    def call(
        self, channel: grpc.Channel, request: Request, *, timeout: float | None, metadata: Metadata = ()
    ) -> Response:
        """Call the method and wait for its one answer."""
        return self.future(channel, request, timeout=timeout, metadata=metadata).result()

    def future(
        self, channel: grpc.Channel, request: Request, *, timeout: float | None, metadata: Metadata = ()
    ) -> grpc._CallFuture[Response]:
        """Call the method without waiting."""
        stub = channel.unary_unary(
            self.path,
            request_serializer=self.request.SerializeToString,
            response_deserializer=self.response.FromString,
        )
        return stub.future(request, timeout=timeout, metadata=metadata)

    def stream(
        self, channel: grpc.Channel, request: Request, *, timeout: float | None, metadata: Metadata = ()
    ) -> grpc._CallIterator[Response]:
        """Call the method and return an iterator over its answers."""
        stub = channel.unary_stream(
            self.path,
            request_serializer=self.request.SerializeToString,
            response_deserializer=self.response.FromString,
        )
        return stub(request, timeout=timeout, metadata=metadata)

    def duplex(
        self, channel: grpc.Channel, requests: Iterable[Request], *, metadata: Metadata = ()
    ) -> grpc._CallIterator[Response]:
        """Call the method with a stream of requests and return an iterator over its answers."""
        stub = channel.stream_stream(
            self.path,
            request_serializer=self.request.SerializeToString,
            response_deserializer=self.response.FromString,
        )
        return stub(iter(requests), metadata=metadata)


_CONTROL = "/moby.buildkit.v1.Control"
INFO = Method(f"{_CONTROL}/Info", control_pb2.InfoRequest, control_pb2.InfoResponse)
LIST_WORKERS = Method(f"{_CONTROL}/ListWorkers", control_pb2.ListWorkersRequest, control_pb2.ListWorkersResponse)
SOLVE = Method(f"{_CONTROL}/Solve", control_pb2.SolveRequest, control_pb2.SolveResponse)
STATUS = Method(f"{_CONTROL}/Status", control_pb2.StatusRequest, control_pb2.StatusResponse)
SESSION = Method(f"{_CONTROL}/Session", control_pb2.BytesMessage, control_pb2.BytesMessage)
DISK_USAGE = Method(f"{_CONTROL}/DiskUsage", control_pb2.DiskUsageRequest, control_pb2.DiskUsageResponse)
PRUNE = Method(f"{_CONTROL}/Prune", control_pb2.PruneRequest, control_pb2.UsageRecord)

_GATEWAY = "/moby.buildkit.v1.frontend.LLBBridge"
PING = Method(f"{_GATEWAY}/Ping", gateway_pb2.PingRequest, gateway_pb2.PongResponse)
RESOLVE_IMAGE = Method(
    f"{_GATEWAY}/ResolveImageConfig", gateway_pb2.ResolveImageConfigRequest, gateway_pb2.ResolveImageConfigResponse
)

_CONTENT = "/containerd.services.content.v1.Content"
CONTENT_READ = Method(f"{_CONTENT}/Read", content_pb2.ReadRequest, content_pb2.ReadResponse)
