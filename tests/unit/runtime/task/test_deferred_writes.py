"""Both sides wait for a deferred write, and a failed write is an error at the caller, not a hang."""

from __future__ import annotations

import errno
import threading
from pathlib import Path
from typing import BinaryIO

import pytest

from flyte_images_runtime.task.deferred_writes import DeferredWrites
from flyte_images_runtime.values import Files

LARGE = 64 << 20


def write(file: BinaryIO) -> None:
    file.write(b"content")


def test_a_reader_waits_for_a_deferred_file(tmp_path: Path) -> None:
    with Files(str(tmp_path)) as files:
        files.later = jobs = []
        name = files.put("bin", LARGE, write)
    assert not (tmp_path / name).exists()
    found: list[bytes] = []

    def read() -> None:
        with Files(str(tmp_path), waits=True) as files, files.open(name) as file:
            found.append(file.read())

    reader = threading.Thread(target=read)
    reader.start()
    with DeferredWrites(jobs):
        reader.join()
    assert found == [b"content"]
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_small_files_and_files_without_later_are_written_at_once(tmp_path: Path) -> None:
    with Files(str(tmp_path)) as files:
        files.put("bin", LARGE, write)
        files.later = []
        files.put("bin", 10, write)
        assert files.later == []
    assert {path.read_bytes() for path in tmp_path.iterdir()} == {b"content"}


def test_a_file_without_a_writer_is_not_waited_for(tmp_path: Path) -> None:
    with Files(str(tmp_path), waits=True) as files, pytest.raises(Exception, match="cannot be read"):
        files.open("1.bin")


@pytest.mark.parametrize("early", [True, False])
def test_a_failure_ends_the_task_and_is_raised_as_the_callers_error(early: bool) -> None:
    ended = threading.Event()
    go = threading.Event()

    def fail() -> None:
        go.wait()
        raise OSError(errno.ENOSPC, "no room")

    with pytest.raises(RuntimeError, match="no room for it"):  # noqa: SIM117 - raised at the end of the inner block
        with DeferredWrites([fail], failed=lambda error: RuntimeError(f"{error.strerror} for it")) as writes:
            if early:
                go.set()
                assert writes._thread is not None
                writes._thread.join()
            writes.on_failure(ended.set)
            go.set()
            assert ended.wait(30)


def test_an_interrupt_is_not_replaced_by_a_failure() -> None:
    def fail() -> None:
        raise OSError(errno.ENOSPC, "no room")

    with pytest.raises(KeyboardInterrupt), DeferredWrites([fail]):
        raise KeyboardInterrupt
