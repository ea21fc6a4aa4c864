"""A task's process ends at once, but as a program ends: its buffers are written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import flyte_images_runtime

_ROOT = Path(flyte_images_runtime.__file__).parents[1]
_START = """
import os, sys
sys.path.insert(0, sys.argv[1])
from flyte_images_runtime.worker import process_exit
"""


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", _START + script, str(_ROOT), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def test_threads_end_then_handlers_run_then_output_is_flushed() -> None:
    done = run("""
import atexit, threading, time
atexit.register(print, "handler")
def late():
    time.sleep(0.1)
    print("thread")
sys.stdout.write("first ")
threading.Thread(target=late).start()
process_exit.end(3)
""")
    assert (done.stdout, done.returncode) == ("first thread\nhandler\n", 3)


@pytest.mark.parametrize("how", ["open(path, 'w')", "open(path, 'wb', 1 << 20)"])
def test_files_left_open_are_written(tmp_path: Path, how: str) -> None:
    path = tmp_path / "log"
    script = f"path = sys.argv[2]\nfile = {how}\nfile.write('a' if file.mode == 'w' else b'a')\nprocess_exit.end(0)"
    done = run(script, str(path))
    assert (path.read_text(), done.returncode, done.stderr) == ("a", 0, "")


def test_a_handler_that_fails_changes_nothing() -> None:
    done = run("import atexit\natexit.register(lambda: 1 / 0)\nprocess_exit.end(0)")
    assert done.returncode == 0
    assert "ZeroDivisionError" in done.stderr


def test_compiled_code_that_is_not_pythons_own_is_seen() -> None:
    script = """
import types, zipfile
print(process_exit.has_foreign_code())
sys.modules["theirs"] = module = types.ModuleType("theirs")
module.__file__ = "/venv/lib/site-packages/theirs.cpython-311-x86_64-linux-gnu.so"
print(process_exit.has_foreign_code())
"""
    assert run(script).stdout.split() == ["False", "True"]
