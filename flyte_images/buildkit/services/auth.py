"""moby.filesync.v1.Auth: the user's logins to registries, from Docker's settings.

Only Credentials is served. BuildKit also has methods with which the client would fetch a token; without them the engine
fetches the token with these credentials, which works with every registry that uses Basic or Bearer authentication.
"""

from __future__ import annotations

from collections.abc import Callable

import grpc

from ...errors import EngineError
from ..pb.session_pb2 import CredentialsRequest, CredentialsResponse
from ..registry_auth import Login
from . import Handlers


def auth(login: Callable[[str], Login | None]) -> Handlers:
    """Serve the logins that `login` returns for a host; None means an anonymous request."""

    def credentials(request: CredentialsRequest, context: grpc.ServicerContext) -> CredentialsResponse:
        try:
            credential = login(request.host)
        except EngineError as error:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"{error}{f' ({error.hint})' if error.hint else ''}")
        if credential is None:
            return CredentialsResponse()
        return CredentialsResponse(username=credential.username, secret=credential.secret)

    return {
        "/moby.filesync.v1.Auth/Credentials": grpc.unary_unary_rpc_method_handler(
            credentials,
            request_deserializer=CredentialsRequest.FromString,
            response_serializer=CredentialsResponse.SerializeToString,
        )
    }
