"""A full disk is told with its place, though the system says only that there is no space."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from flyte_images.cli import full


def no_space(path: str | None = None) -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path) if path else OSError(errno.ENOSPC, "No space left")


def test_the_full_one_of_the_places_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """D32: ENOSPC of the cache was told as "no space left on device" and no more."""
    cache = str(tmp_path / "cache")
    monkeypatch.setattr(full, "_free", lambda place: 0 if place == cache else 1 << 30)
    error = full.full_disk(no_space(), {"FLYTE_IMAGES_CACHE": cache})
    assert error is not None and str(error) == f"no space left: `{cache}`"
    assert error.hint == "free space there, or set FLYTE_IMAGES_CACHE to a directory with more space"


def test_where_none_is_full_any_more_both_are_named(tmp_path: Path) -> None:
    error = full.full_disk(no_space(), {"FLYTE_IMAGES_CACHE": str(tmp_path / "cache")})
    assert error is not None and f"`{tmp_path / 'cache'}` or `" in str(error) and "TMPDIR" in str(error.hint)


def test_a_file_that_the_system_names_is_told() -> None:
    error = full.full_disk(no_space("/x/y"), {"HOME": "/nowhere"})
    assert error is not None and str(error).endswith(": `/x/y`") and error.hint == "free space there"


def test_another_error_is_not_one_of_space() -> None:
    assert full.full_disk(PermissionError(errno.EACCES, "Permission denied"), {"HOME": "/nowhere"}) is None
