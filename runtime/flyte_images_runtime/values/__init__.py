"""Values that cross between the caller and the task: by the annotations, checked on both sides, never unpickled."""

from __future__ import annotations

from .codec import Codec, codec
from .files import Files, open_regular
from .paths import Dir, File
from .problem import Problem
from .signature import Signature

__all__ = ["Codec", "Dir", "File", "Files", "Problem", "Signature", "codec", "open_regular"]
