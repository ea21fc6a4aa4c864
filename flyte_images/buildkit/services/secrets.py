"""moby.buildkit.secrets.v1.Secrets: values for a step, which neither a layer nor a cache stores."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import grpc

from ..pb.session_pb2 import SecretRequest, SecretResponse
from . import Handlers

Secret = bytes | Callable[[], bytes]
"""A value, or a function that returns the value when a step asks for it."""


def secrets(values: Mapping[str, Secret]) -> Handlers:
    """Serve `values` by their ids. An unknown id is NOT_FOUND: a step runs without an optional secret."""

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
