"""Code bundles stay while a process uses them, their total size is bounded, and a changed bundle is noticed."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

from flyte_images.runner.bundle_cache import HeldBundles, bundles_in, is_unchanged, retire, seal

HOUR = 3600.0


def make_bundle(directory: Path, name: str, size: int, *, age: float) -> Path:
    bundle = directory / name
    bundle.mkdir()
    (bundle / "module.py").write_bytes(bytes(size))
    seal(bundle)
    for path in (bundle, bundle.with_name(f"{name}.json")):
        os.utime(path, (time.time() - age,) * 2)
    return bundle


def test_bundles_beyond_the_size_go_oldest_first_and_unused_ones_after_a_week(tmp_path: Path) -> None:
    newest, middle, oldest = (make_bundle(tmp_path, f"{at}", 1000, age=at * HOUR) for at in (1, 2, 3))
    unused = make_bundle(tmp_path, "unused", 1, age=8 * 24 * HOUR)
    bundles_in(tmp_path, largest=2500).evict()
    assert newest.exists()
    assert middle.exists()
    assert not oldest.exists()
    assert not unused.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "1.json", "2", "2.json"]


def test_a_bundle_that_another_process_uses_stays_until_the_process_ends(tmp_path: Path) -> None:
    used = make_bundle(tmp_path, "used", 1000, age=HOUR)
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


def test_a_bundle_that_this_process_holds_stays(tmp_path: Path) -> None:
    used = make_bundle(tmp_path, "used", 1000, age=HOUR)
    held = HeldBundles()
    assert held.acquire(used)
    assert time.time() - used.stat().st_mtime < HOUR / 2
    bundles_in(tmp_path, largest=0).evict()
    assert held.acquire(used)
    (used / "module.py").unlink()
    used.rmdir()
    assert not held.acquire(used)


def test_the_size_of_bundles_without_a_seal_counts(tmp_path: Path) -> None:
    old = make_bundle(tmp_path, "old", 1000, age=HOUR)
    (tmp_path / "old.json").unlink()
    bundles_in(tmp_path, largest=1500).evict()
    assert old.exists()
    bundles_in(tmp_path, largest=500).evict()
    assert not old.exists()


def test_a_bundle_is_unchanged_until_a_file_is_written_added_or_removed(tmp_path: Path) -> None:
    """D17: a changed, added or removed module is noticed; byte code that differs from the seal is removed."""
    bundle = make_bundle(tmp_path, "a", 100, age=0)
    cached = bundle / "__pycache__" / "module.pyc"
    cached.parent.mkdir()
    cached.write_bytes(b"code")
    assert is_unchanged(bundle)
    assert not cached.exists()  # without a seal, any process may have written the byte code
    cached.write_bytes(b"code")
    seal(bundle)
    assert is_unchanged(bundle)
    assert cached.exists()
    cached.write_bytes(b"CODE")
    assert is_unchanged(bundle)
    assert not cached.exists()
    for damage in (
        lambda: (bundle / "module.py").write_bytes(bytes(99) + b"x"),
        lambda: (bundle / "other.py").write_bytes(b""),
        lambda: (bundle / "module.py").unlink(),
        lambda: (tmp_path / "a.json").write_bytes(b"{}"),
    ):
        seal(bundle)
        damage()
        assert not is_unchanged(bundle)


def test_a_damaged_bundle_is_renamed_while_a_task_uses_it(tmp_path: Path) -> None:
    """D17: the next run makes the bundle again; a task that runs keeps its files."""
    bundle = make_bundle(tmp_path, "a", 1, age=0)
    retire(bundle)
    assert list(tmp_path.iterdir()) == []
    bundle = make_bundle(tmp_path, "a", 1, age=0)
    descriptor = os.open(bundle, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    retire(bundle)
    assert not bundle.exists()
    assert any((path / "module.py").exists() for path in tmp_path.iterdir())
    os.close(descriptor)


def test_processes_that_make_the_same_bundle_at_once_all_get_a_complete_one(tmp_path: Path) -> None:
    """A process must not take a bundle for damaged while another process has yet to seal the bundle."""
    project = tmp_path / "project"
    (project / "package").mkdir(parents=True)
    for number in range(40):
        (project / "package" / f"m{number}.py").write_text(f"x = {number}")
    code = f"import os, sys; sys.path.insert(0, {str(project)!r}); sys.dont_write_bytecode = True\n"
    code += "for n in range(40): __import__(f'package.m{n}')\nfrom flyte_images.runner.code_bundle import CodeBundles\n"
    code += f"bundle = CodeBundles(os.environ).bundle({str(project)!r}); print(len(os.listdir(bundle + '/package')))"
    environ = {"FLYTE_IMAGES_CACHE": str(tmp_path / "cache"), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    running = [
        subprocess.Popen((sys.executable, "-c", code), stdout=subprocess.PIPE, text=True, env=environ) for _ in range(6)
    ]
    assert [process.communicate()[0] for process in running] == ["41\n"] * 6
    names = {path.name for path in (tmp_path / "cache" / "code").iterdir() if not path.name.startswith(".")}
    assert len(names) == 2  # the bundle and its seal
