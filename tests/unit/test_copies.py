"""Copies of source trees are kept while somebody uses them, and never grow without end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from flyte_images.copies import forget, hold, note_size

HOUR = 3600.0


def copy(directory: Path, name: str, size: int, *, age: float) -> Path:
    place = directory / name
    place.mkdir()
    (place / "module.py").write_bytes(bytes(size))
    note_size(place, size)
    os.utime(place, (time.time() - age,) * 2)
    return place


def test_the_oldest_go_when_there_is_too_much_and_what_was_not_used_for_a_week(tmp_path: Path) -> None:
    newest, middle, oldest = (copy(tmp_path, f"{at}", 1000, age=at * HOUR) for at in (1, 2, 3))
    unused = copy(tmp_path, "unused", 1, age=8 * 24 * HOUR)
    killed = copy(tmp_path, ".1234", 1, age=2 * HOUR)
    forget(tmp_path, largest=2500)
    assert not killed.exists()
    (tmp_path / ".1234.size").unlink()
    assert newest.exists()
    assert middle.exists()
    assert not oldest.exists()
    assert not unused.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "1.size", "2", "2.size"]


def test_what_another_process_uses_stays_until_that_ends(tmp_path: Path) -> None:
    used = copy(tmp_path, "used", 1000, age=HOUR)
    program = "import sys; from pathlib import Path; from flyte_images.copies import hold\n"
    program += "print(hold(Path(sys.argv[1])), flush=True); sys.stdin.read()"
    argv = (sys.executable, "-c", program, str(used))
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        forget(tmp_path, largest=0)
        assert used.exists()
        process.kill()
    forget(tmp_path, largest=0)
    assert not used.exists()


def test_what_this_process_uses_is_used_again(tmp_path: Path) -> None:
    used = copy(tmp_path, "used", 1000, age=HOUR)
    assert hold(used)
    assert time.time() - used.stat().st_mtime < HOUR / 2
    forget(tmp_path, largest=0)
    assert hold(used)
    (used / "module.py").unlink()
    used.rmdir()
    assert not hold(used)


def test_copies_from_before_sizes_were_noted_are_counted(tmp_path: Path) -> None:
    old = copy(tmp_path, "old", 1000, age=HOUR)
    (tmp_path / "old.size").unlink()
    forget(tmp_path, largest=1500)
    assert old.exists()
    forget(tmp_path, largest=500)
    assert not old.exists()
