"""Byte code is written beside its source, once; a file that cannot be compiled is skipped."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from flyte_images_runtime.task.bytecode import compile_beside, compile_package, loaded_below


def _cached(source: Path) -> Path:
    return Path(importlib.util.cache_from_source(str(source)))


def test_python_accepts_the_byte_code(tmp_path: Path) -> None:
    source = tmp_path / "one.py"
    source.write_text("value = 1\n")
    compile_beside([source])
    log = subprocess.run(
        [sys.executable, "-I", "-B", "-v", "-c", f"import sys; sys.path[:0] = [{str(tmp_path)!r}]; import one"],
        capture_output=True,
        text=True,
        check=True,
    ).stderr
    assert f"matches {source}" in log


def test_byte_code_is_made_again_only_for_a_changed_source(tmp_path: Path) -> None:
    source = tmp_path / "one.py"
    source.write_text("value = 1\n")
    compile_beside([source])
    first = _cached(source).stat()
    compile_beside([source])
    assert _cached(source).stat().st_ino == first.st_ino
    source.write_text("value = 22\n")
    compile_beside([source])
    assert _cached(source).stat().st_ino != first.st_ino


def test_a_file_that_cannot_be_compiled_is_skipped(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.py").write_text("def (\n")
    (tmp_path / "good.py").write_text("value = 1\n")
    compile_beside([tmp_path / name for name in ("bad.py", "missing.py", "good.py")])
    assert not _cached(tmp_path / "bad.py").exists()
    assert _cached(tmp_path / "good.py").exists()
    assert capfd.readouterr() == ("", "")


def test_the_named_parts_of_a_package_are_compiled(tmp_path: Path) -> None:
    for name in ("top.py", "worker/start.py", "engines/other.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("value = 1\n")
    compile_package(tmp_path, ("", "worker", "missing"))
    compiled = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.pyc"))
    tag = sys.implementation.cache_tag
    assert compiled == [f"__pycache__/top.{tag}.pyc", f"worker/__pycache__/start.{tag}.pyc"]


def test_the_loaded_modules_below_a_root_are_found_by_their_paths() -> None:
    assert f"task/{Path(__file__).name}" in loaded_below(str(Path(__file__).parents[1]))
    assert loaded_below("/nowhere") == []
