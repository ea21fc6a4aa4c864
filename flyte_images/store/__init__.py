"""Everything below the cache directory: where it is, how it is written, and how it is removed."""

from .cache_dir import sweep

__all__ = ["sweep"]
