"""Leftovers of killed processes are removed at the next start; those of running processes stay."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from flyte_images import store
from flyte_images.store.cache_dir import cache_dir
from flyte_images.store.leftovers import temporary_directory

WRITER = """
import os, sys
from flyte_images.store.cache_dir import layout_dir
from flyte_images.store.leftovers import temporary_directory
from flyte_images.store.oci_layout import CONFIG, Layout
def chunks():
    yield b"half"
    print("writing", flush=True)
    sys.stdin.read()
with temporary_directory("resolve") as place:
    open(place + "/answer", "w").close()
    Layout(layout_dir(os.environ)).put_chunks(chunks(), CONFIG)
"""
NEXT = "import os; from flyte_images.store.cache_dir import cache_dir; cache_dir(os.environ)"


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    return {"FLYTE_IMAGES_CACHE": str(tmp_path / "cache"), "TMPDIR": str(tmp_path / "tmp"), "PATH": "/usr/bin:/bin"}


def left(environ: dict[str, str]) -> list[str]:
    cache, temporary = Path(environ["FLYTE_IMAGES_CACHE"]), Path(environ["TMPDIR"])
    return [path.name for path in (*cache.rglob(".partial-*"), *temporary.iterdir())]


def test_the_next_start_removes_leftovers_of_a_killed_process(environ: dict[str, str]) -> None:
    """D27: half a blob and a temporary directory stayed forever after kill -9."""
    argv = (sys.executable, "-c", WRITER)
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "writing\n"
        assert len(left(environ)) == 2
        subprocess.run((sys.executable, "-c", NEXT), check=True, env=environ)
        assert len(left(environ)) == 2  # it works still
        writer.kill()
    assert len(left(environ)) == 2
    subprocess.run((sys.executable, "-c", NEXT), check=True, env=environ)
    assert left(environ) == []


def test_a_sweep_returns_the_number_of_leftovers(environ: dict[str, str]) -> None:
    """D27: `doctor --clean` does the same."""
    cache_dir(environ)
    (Path(environ["FLYTE_IMAGES_CACHE"]) / "results").mkdir(parents=True)
    code = "from flyte_images_runtime.system.process_id import new_name; print(new_name())"
    gone = subprocess.run((sys.executable, "-c", code), check=True, capture_output=True, text=True).stdout.strip()
    assert store.sweep(environ) == 0
    (Path(environ["FLYTE_IMAGES_CACHE"]) / "results" / f".partial-{gone}").mkdir()
    assert store.sweep(environ) == 1
    assert left(environ) == []


def test_a_temporary_directory_is_private_and_is_removed_at_the_end(environ: dict[str, str]) -> None:
    with temporary_directory("resolve") as place:
        assert Path(place).stat().st_mode & 0o777 == 0o700
        assert left(environ) == [Path(place).name]
    assert left(environ) == []
