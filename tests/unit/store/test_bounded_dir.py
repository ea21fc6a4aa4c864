"""A bounded directory keeps its bounds, and the entries that are in use."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from flyte_images.store.bounded_dir import BoundedDirectory


def put(directory: Path, name: str, size: int, *, age: float) -> None:
    (directory / name).write_bytes(bytes(size))
    os.utime(directory / name, (time.time() - age,) * 2)


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_the_last_used_entries_stay(tmp_path: Path) -> None:
    for number in range(5):
        put(tmp_path, f"{number}", 100, age=number * 60)
    BoundedDirectory(path=tmp_path, largest=350).evict()
    assert names(tmp_path) == ["0", "1", "2"]
    BoundedDirectory(path=tmp_path, most=2).evict()
    assert names(tmp_path) == ["0", "1"]
    BoundedDirectory(path=tmp_path, unused=30).evict()
    assert names(tmp_path) == ["0"]
    BoundedDirectory(path=tmp_path / "nowhere", most=0).evict()


def test_entries_in_use_stay_and_do_not_count(tmp_path: Path) -> None:
    @contextlib.contextmanager
    def claim(path: Path) -> Iterator[bool]:
        yield path.name != "used"

    put(tmp_path, "used", 1000, age=0)
    put(tmp_path, "new", 100, age=60)
    put(tmp_path, "old", 100, age=120)
    BoundedDirectory(path=tmp_path, largest=150, claim=claim).evict()
    assert names(tmp_path) == ["new", "used"]


def test_an_entry_of_several_files_is_removed_as_one(tmp_path: Path) -> None:
    for name in ("a.0", "a.1", "b.0", ".hidden"):
        put(tmp_path, name, 100, age=0 if name == "a.1" else 60)
    bounded = BoundedDirectory(path=tmp_path, largest=200, entry_of=lambda name: name.partition(".")[0] or None)
    assert [(entry.name, entry.size, len(entry.paths)) for entry in bounded.entries()] == [("a", 200, 2), ("b", 100, 1)]
    bounded.evict()
    assert names(tmp_path) == [".hidden", "a.0", "a.1"]
