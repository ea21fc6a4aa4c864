"""moby.filesync.v1.Auth: the user's logins to registries, as Docker keeps them.

Only Credentials is served. BuildKit also knows a way in which this client would fetch the token itself; where that is
absent, the engine fetches it with these credentials, which works with every registry that answers Basic or Bearer.
"""

from __future__ import annotations

from collections.abc import Callable

import grpc

from ...errors import EngineError
from ..pb.session_pb2 import CredentialsRequest, CredentialsResponse
from ..registry_auth import Login
from . import Handlers


def auth(login: Callable[[str], Login | None]) -> Handlers:
    """Answer with what `login` knows of a host; nothing known means anonymous."""

    def credentials(request: CredentialsRequest, context: grpc.ServicerContext) -> CredentialsResponse:
        try:
            found = login(request.host)
        except EngineError as error:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"{error}{f' ({error.hint})' if error.hint else ''}")
        return CredentialsResponse(username=found.username, secret=found.secret) if found else CredentialsResponse()

    return {
        "/moby.filesync.v1.Auth/Credentials": grpc.unary_unary_rpc_method_handler(
            credentials,
            request_deserializer=CredentialsRequest.FromString,
            response_serializer=CredentialsResponse.SerializeToString,
        )
    }
