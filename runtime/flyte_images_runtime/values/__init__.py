"""Values that cross between the caller and the task: by their annotations, checked on both sides, never unpickled."""

from __future__ import annotations

from .base import Codec
from .codec import codec
from .errors import Problem
from .files import Files, open_regular
from .signature import Signature

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .paths import Dir, File

__all__ = ["Codec", "Dir", "File", "Files", "Problem", "Signature", "codec", "open_regular"]


def __getattr__(name: str) -> Any:
    if name not in ("Dir", "File"):  # few tasks need these
        raise AttributeError(name)
    from . import paths

    return getattr(paths, name)
