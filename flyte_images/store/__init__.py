"""Everything that is kept below the cache directory: where, how it is written, and how it goes."""

from .cache_dir import sweep

__all__ = ["sweep"]
