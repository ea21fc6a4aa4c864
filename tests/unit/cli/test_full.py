"""The error of a full disk names the directory, which the system does not."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from flyte_images.cli import full


def no_space(path: str | None = None) -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path) if path else OSError(errno.ENOSPC, "No space left")


def test_the_full_directory_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """D32: the error of a full cache was only "no space left on device"."""
    cache = str(tmp_path / "cache")
    monkeypatch.setattr(full, "_free", lambda place: 0 if place == cache else 1 << 30)
    error = full.full_disk(no_space(), {"FLYTE_IMAGES_CACHE": cache})
    assert error is not None and str(error) == f"no space left: `{cache}`"
    assert error.hint == "free space there, or set FLYTE_IMAGES_CACHE to a directory with more space"


def test_both_directories_are_named_if_none_is_full_any_more(tmp_path: Path) -> None:
    error = full.full_disk(no_space(), {"FLYTE_IMAGES_CACHE": str(tmp_path / "cache")})
    assert error is not None and f"`{tmp_path / 'cache'}` or `" in str(error) and "TMPDIR" in str(error.hint)


def test_a_file_that_the_system_names_is_in_the_error() -> None:
    error = full.full_disk(no_space("/x/y"), {"HOME": "/nowhere"})
    assert error is not None and str(error).endswith(": `/x/y`") and error.hint == "free space there"


def test_other_errors_are_not_errors_of_space() -> None:
    assert full.full_disk(PermissionError(errno.EACCES, "Permission denied"), {"HOME": "/nowhere"}) is None
