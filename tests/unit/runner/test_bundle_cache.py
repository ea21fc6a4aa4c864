"""Copies of source trees are kept while somebody uses them, and never grow without end."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

from flyte_images.runner.bundle_cache import HeldBundles, bundles_in, is_unchanged, retire, seal

HOUR = 3600.0


def copy(directory: Path, name: str, size: int, *, age: float) -> Path:
    place = directory / name
    place.mkdir()
    (place / "module.py").write_bytes(bytes(size))
    seal(place)
    for path in (place, place.with_name(f"{name}.json")):
        os.utime(path, (time.time() - age,) * 2)
    return place


def test_the_oldest_go_when_there_is_too_much_and_what_was_not_used_for_a_week(tmp_path: Path) -> None:
    newest, middle, oldest = (copy(tmp_path, f"{at}", 1000, age=at * HOUR) for at in (1, 2, 3))
    unused = copy(tmp_path, "unused", 1, age=8 * 24 * HOUR)
    bundles_in(tmp_path, largest=2500).evict()
    assert newest.exists()
    assert middle.exists()
    assert not oldest.exists()
    assert not unused.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "1.json", "2", "2.json"]


def test_what_another_process_uses_stays_until_that_ends(tmp_path: Path) -> None:
    used = copy(tmp_path, "used", 1000, age=HOUR)
    program = "import sys; from pathlib import Path; from flyte_images.runner.bundle_cache import HeldBundles\n"
    program += "print(HeldBundles().acquire(Path(sys.argv[1])), flush=True); sys.stdin.read()"
    argv = (sys.executable, "-c", program, str(used))
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        bundles_in(tmp_path, largest=0).evict()
        assert used.exists()
        process.kill()
    bundles_in(tmp_path, largest=0).evict()
    assert not used.exists()


def test_what_this_process_uses_is_used_again(tmp_path: Path) -> None:
    used = copy(tmp_path, "used", 1000, age=HOUR)
    held = HeldBundles()
    assert held.acquire(used)
    assert time.time() - used.stat().st_mtime < HOUR / 2
    bundles_in(tmp_path, largest=0).evict()
    assert held.acquire(used)
    (used / "module.py").unlink()
    used.rmdir()
    assert not held.acquire(used)


def test_copies_without_a_seal_are_counted(tmp_path: Path) -> None:
    old = copy(tmp_path, "old", 1000, age=HOUR)
    (tmp_path / "old.json").unlink()
    bundles_in(tmp_path, largest=1500).evict()
    assert old.exists()
    bundles_in(tmp_path, largest=500).evict()
    assert not old.exists()


def test_a_copy_is_whole_as_long_as_nobody_writes_to_it(tmp_path: Path) -> None:
    """D17: a changed module, a module more or less is found; byte code that is not as it was sealed is removed."""
    place = copy(tmp_path, "a", 100, age=0)
    cached = place / "__pycache__" / "module.pyc"
    cached.parent.mkdir()
    cached.write_bytes(b"code")
    assert is_unchanged(place)
    assert not cached.exists()  # it was not sealed: another process may have written it, and nobody knows what
    cached.write_bytes(b"code")
    seal(place)
    assert is_unchanged(place)
    assert cached.exists()
    cached.write_bytes(b"CODE")
    assert is_unchanged(place)
    assert not cached.exists()
    for damage in (
        lambda: (place / "module.py").write_bytes(bytes(99) + b"x"),
        lambda: (place / "other.py").write_bytes(b""),
        lambda: (place / "module.py").unlink(),
        lambda: (tmp_path / "a.json").write_bytes(b"{}"),
    ):
        seal(place)
        damage()
        assert not is_unchanged(place)


def test_a_damaged_copy_leaves_its_name_and_stays_for_a_task_that_uses_it(tmp_path: Path) -> None:
    """D17: the next run makes the copy again; a task that runs keeps the files that it has."""
    place = copy(tmp_path, "a", 1, age=0)
    retire(place)
    assert list(tmp_path.iterdir()) == []
    place = copy(tmp_path, "a", 1, age=0)
    descriptor = os.open(place, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    retire(place)
    assert not place.exists()
    assert any((left / "module.py").exists() for left in tmp_path.iterdir())
    os.close(descriptor)


def test_processes_that_make_the_same_copy_at_once_all_get_a_whole_one(tmp_path: Path) -> None:
    """A process that found a copy which another had not sealed yet took it for damaged, and its files away."""
    project = tmp_path / "project"
    (project / "package").mkdir(parents=True)
    for number in range(40):
        (project / "package" / f"m{number}.py").write_text(f"x = {number}")
    code = f"import os, sys; sys.path.insert(0, {str(project)!r}); sys.dont_write_bytecode = True\n"
    code += "for n in range(40): __import__(f'package.m{n}')\nfrom flyte_images.runner.code_bundle import CodeBundles\n"
    code += f"place = CodeBundles(os.environ).bundle({str(project)!r}); print(len(os.listdir(place + '/package')))"
    environ = {"FLYTE_IMAGES_CACHE": str(tmp_path / "cache"), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    running = [
        subprocess.Popen((sys.executable, "-c", code), stdout=subprocess.PIPE, text=True, env=environ) for _ in range(6)
    ]
    assert [process.communicate()[0] for process in running] == ["41\n"] * 6
    left = {path.name for path in (tmp_path / "cache" / "code").iterdir() if not path.name.startswith(".")}
    assert len(left) == 2
