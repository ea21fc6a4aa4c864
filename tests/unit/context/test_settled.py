"""A change that does not change the times of a file is noticed: such a file is not taken from the index."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from flyte_images.context import Source, digest, file_index, settled


@pytest.fixture
def mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[mmap.mmap]:
    """A file that another program has mapped and has just written to."""
    monkeypatch.setattr(file_index, "RACY", 0)
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "data").write_bytes(bytes(8192))
    with (tmp_path / "project" / "data").open("r+b") as file, mmap.mmap(file.fileno(), 8192) as pages:
        pages[0:1] = b"a"
        yield pages


def edits_that_are_missed(tmp_path: Path, pages: mmap.mmap) -> int:
    missed, before = 0, ""
    for number in range(6):
        pages[1:2] = bytes((number + 1,))
        found = digest(Source(tmp_path / "project", "/app"), cache=tmp_path / "cache")
        missed += found == before
        before = found
    return missed


def test_an_edit_through_a_shared_mapping_is_noticed(tmp_path: Path, mapped: mmap.mmap) -> None:
    """D31: the file was in the index, and its page was dirty: a store did not change its status."""
    assert edits_that_are_missed(tmp_path, mapped) == 0


@pytest.mark.parametrize("limit", ["_BUDGET", "_IN_MEMORY"])
def test_a_file_that_cannot_be_settled_is_read_again(
    tmp_path: Path, mapped: mmap.mmap, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D31: too many files to wait for the disk, or no disk."""
    monkeypatch.setattr(settled, "_BUDGET", 0)
    monkeypatch.setattr(settled, "_is_in_memory", lambda device: limit == "_IN_MEMORY")
    assert edits_that_are_missed(tmp_path, mapped) == 0
    assert not (tmp_path / "cache").exists()


def test_a_file_that_changed_long_ago_is_settled_without_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fdatasync", None)  # not called
    monkeypatch.setattr(settled, "_is_in_memory", lambda device: False)
    monkeypatch.setattr(settled, "_horizon", lambda: -1_000_000_000)
    (tmp_path / "file").touch()
    with (tmp_path / "file").open("rb") as file:
        assert settled.Settling().settle(file.fileno(), os.fstat(file.fileno()))
