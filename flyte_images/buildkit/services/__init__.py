"""What the engine may ask of this process during a build, one service a file.

Each gives its methods as a mapping from the method's full path to its handler; the session announces exactly those.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import grpc

Handlers: TypeAlias = "Mapping[str, grpc.RpcMethodHandler[Any, Any]]"  # each handler has its own message types
