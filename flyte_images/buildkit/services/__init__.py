"""The gRPC services that this process offers to the engine during a build, one service per file.

Each service returns a mapping from the full paths of its methods to their handlers; the session announces these paths.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import grpc

Handlers: TypeAlias = "Mapping[str, grpc.RpcMethodHandler[Any, Any]]"  # each handler has its own message types
