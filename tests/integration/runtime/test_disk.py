"""A task's disk: it has the requested size, goes with its last user, and is visible only to its engine."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flyte_images_runtime.engines.reaper import sweep
from flyte_images_runtime.task.disk import Disks, make_disk
from flyte_images_runtime.task.exchange import Exchange, make_exchange

pytestmark = pytest.mark.engine  # and root, as the oci engine
MI = 1 << 20


def backed(name: str) -> list[str]:
    """Return the loop devices whose backing file is in the directory of that name."""
    files = Path("/sys/block").glob("loop*/loop/backing_file")
    return [text for file in files if name in (text := file.read_text())]


def test_a_disk_has_the_size_and_goes_when_it_is_closed(tmp_path: Path) -> None:
    """D9: a disk refuses more than its size, and no file of the disk has a name."""
    made = make_disk(tmp_path, 64 * MI, programs=False)
    assert list(tmp_path.iterdir()) == []
    assert len(backed(tmp_path.name)) == 1
    with pytest.raises(OSError, match="No space") as full, (made.path / "out" / "file").open("wb") as file:
        for _ in range(65):
            file.write(os.urandom(MI))
    assert full.value.errno == errno.ENOSPC
    made.close()
    assert backed(tmp_path.name) == []


def test_two_tasks_never_have_the_same_disk(tmp_path: Path) -> None:
    disks = Disks(lambda: tmp_path)
    made = [disks.take(64 * MI, programs=False) for _ in range(4)]
    assert len({one.path.stat().st_dev for one in made}) == 4
    for one in made:
        one.close()


def test_a_killed_process_keeps_no_disk(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from flyte_images_runtime.task.disk import make_disk; "
        "make_disk(Path(sys.argv[1]), 64 << 20, programs=False); os.kill(os.getpid(), 9)"
    )
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run((sys.executable, "-c", code, str(tmp_path)), env=environ, check=False)
    assert backed(tmp_path.name) == []


def shown(exchange: Exchange) -> list[str]:
    lines = Path("/proc/self/mounts").read_text().splitlines()
    return [line.split()[1] for line in lines if exchange.name in line]


@pytest.mark.parametrize("swept", [False, True])
def test_mounts_shown_to_an_engine_are_removed(swept: bool) -> None:
    """D9, D34: both mounts ignore setuid bits, devices and programs, and stay until the task is removed."""
    exchange = make_exchange()
    assert exchange.make_disk(64 * MI, programs=False)
    exchange.show(8 * MI)
    (exchange.outputs / "file").write_text("content")
    assert Path(exchange.on_disk("out"), "file").read_text() == "content"
    assert len(shown(exchange)) == 2
    for place in shown(exchange):
        assert os.statvfs(place).f_flag & (os.ST_NOSUID | os.ST_NODEV | os.ST_NOEXEC) == 0xE
    if swept:
        sweep("unix:///nowhere", exchange.name.rpartition("-")[0])
        assert shown(exchange) == []
        assert not exchange.directory.exists()
    exchange._remove()
    assert shown(exchange) == []
    assert not exchange.directory.exists()
