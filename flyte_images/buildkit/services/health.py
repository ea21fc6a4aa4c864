"""grpc.health.v1.Health: BuildKit drops a session that does not answer within five seconds."""

from __future__ import annotations

import grpc

from ..pb.session_pb2 import HealthRequest, HealthResponse
from . import Handlers

_SERVING = 1


def health() -> Handlers:
    """Answer that this process is serving."""
    return {
        "/grpc.health.v1.Health/Check": grpc.unary_unary_rpc_method_handler(
            lambda request, context: HealthResponse(status=_SERVING),
            request_deserializer=HealthRequest.FromString,
            response_serializer=HealthResponse.SerializeToString,
        )
    }
