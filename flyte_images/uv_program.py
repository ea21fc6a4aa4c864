"""Where the program uv is, which comes with this package."""

from __future__ import annotations

import os
import threading

from .errors import ResolveError

_FINDING = threading.Lock()  # it uses sysconfig, which gives half an answer to a second thread of the first call


def uv_program() -> str:
    """The path of uv; raises ResolveError if it is not there."""
    from uv import find_uv_bin

    try:
        with _FINDING:
            return os.fsdecode(find_uv_bin())
    except FileNotFoundError as error:
        raise ResolveError(f"uv is not there: {error}", hint="pip install uv") from None
