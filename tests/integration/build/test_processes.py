"""Several processes build the same image at once; the steps of a killed or interrupted process end."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.fakes.package_index import Index

from .conftest import WORD, Builds, debian, docker, run_in

pytestmark = pytest.mark.engine

PROGRAM = """
import flyte_images, sys
result = flyte_images.build(flyte_images.Image.from_debian_base("3.11", name={name!r}){layers})
print(result.ref, result.digest, result.plan)
"""


def start(name: str, layers: str) -> subprocess.Popen[str]:
    argv = (sys.executable, "-c", PROGRAM.format(name=f"{WORD}-{name}", layers=layers))
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_processes_that_build_the_same_image_get_the_same_digest(builds: Builds, index: Index) -> None:
    filename = index.add(f"{WORD}-crowd", "1.0")
    layers = f".with_pip_packages('{WORD}-crowd', '{WORD}-alpha').with_commands(['echo {WORD} crowd >/made'])"
    running = [start("crowd", layers) for _ in range(4)]
    done = [(it.communicate(timeout=120), it.returncode) for it in running]
    assert {code for _, code in done} == {0}, [err for (_, err), _ in done]
    (said,) = {out for (out, _), _ in done}
    ref, _, _ = said.split()
    assert run_in(ref, "cat", "/made") == f"{WORD} crowd\n"
    assert index.fetched.count(filename) == 1


def is_running(word: str) -> bool:
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended since
            if word.encode() in (process / "cmdline").read_bytes().split(b"\0"):
                return True
    return False


def wait_until(what: str, state: bool) -> None:
    deadline = time.monotonic() + 60
    while is_running(what) is not state:
        assert time.monotonic() < deadline, f"{what} {'does not start' if state else 'does not end'}"
        time.sleep(0.1)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_steps_of_an_ended_build_end(builds: Builds, how: signal.Signals) -> None:
    seconds = f"98{secrets.randbelow(10**6):06}"  # a word that no other process has
    process = start("ended", f".with_commands([['sleep', '{seconds}']])")
    wait_until(seconds, True)
    process.send_signal(how)
    _, said = process.communicate(timeout=30)
    assert process.returncode != 0
    assert how is signal.SIGKILL or "during handling" not in said.lower(), said
    wait_until(seconds, False)
    assert f"{WORD}-ended" not in docker("image", "ls", "--format", "{{.Repository}}")
    result, _ = builds(debian("after").with_commands([f"echo {WORD} after"]))
    assert result.digest


def test_an_interrupted_build_leaves_no_temporary_file(tmp_path: Path) -> None:
    seconds = f"98{secrets.randbelow(10**6):06}"
    source = tmp_path / "src"
    source.mkdir()
    (source / "a").write_text("a")
    own = tmp_path / "temporary"
    own.mkdir()
    before = set(Path(tempfile.gettempdir()).iterdir())
    layers = f".with_source_folder({str(source)!r}, '/app').with_commands([['sleep', '{seconds}']])"
    argv = (sys.executable, "-c", PROGRAM.format(name=f"{WORD}-ended", layers=layers))
    process = subprocess.Popen(argv, env={**os.environ, "TMPDIR": str(own)}, stderr=subprocess.PIPE, text=True)
    wait_until(seconds, True)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    wait_until(seconds, False)
    assert list(own.iterdir()) == []
    assert set(Path(tempfile.gettempdir()).iterdir()) == before
