"""moby.buildkit.secrets.v1.Secrets: values that a step may see and nothing may keep."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import grpc

from ..pb.session_pb2 import SecretRequest, SecretResponse
from . import Handlers

Secret = bytes | Callable[[], bytes]
"""A value, or what gets it when, and only if, a step asks."""


def secrets(values: Mapping[str, Secret]) -> Handlers:
    """Serve `values` by their ids. An unknown id is NOT_FOUND, which is how an optional secret is absent."""

    def get(request: SecretRequest, context: grpc.ServicerContext) -> SecretResponse:
        value = values.get(request.id)
        if value is None:
            context.abort(grpc.StatusCode.NOT_FOUND, f"secret {request.id}: not found")
        return SecretResponse(data=value() if callable(value) else value)

    return {
        "/moby.buildkit.secrets.v1.Secrets/GetSecret": grpc.unary_unary_rpc_method_handler(
            get, request_deserializer=SecretRequest.FromString, response_serializer=SecretResponse.SerializeToString
        )
    }
