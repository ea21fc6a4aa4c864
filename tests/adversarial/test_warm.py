"""A hostile call in a warm container leaves nothing for the next call, and cannot change the server process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import flyte_images as flyte
from flyte_images.runner.runner import Runner
from tests.integration.runtime.conftest import nothing_stays

from . import warm_tasks as tasks

__all__ = ["nothing_stays"]

pytestmark = pytest.mark.engine


@pytest.fixture(params=["docker", "oci"])
def run(request: pytest.FixtureRequest) -> Iterator[Runner]:
    yield flyte.run.using(on_line=None, engine=request.param)
    flyte.run.close()


def test_the_next_call_finds_nothing_of_the_call_before(run: Runner) -> None:
    """D23: files and queues are removed; after System V objects, limits and modes the container is replaced."""
    containers = []
    for what in ("queue", "exchange", "closed", "nothing", "ipc", "modes", "limits", "nothing"):
        report = run(tasks.leave, what).result
        assert (what, report["seen"]) == (what, [])
        assert report["files"] > 64
        containers.append(report["container"])
    assert [containers.index(container) for container in containers] == [0, 0, 0, 0, 0, 5, 6, 7]


def test_a_call_cannot_write_the_memory_of_the_server(run: Runner) -> None:
    """D23: nor the memory of the container's first process. A call's own process is open, as any other."""
    assert run(tasks.write_the_server).result == [
        "server mem",
        "server fd/3",
        "server environ",
        "first mem",
        "first fd/3",
        "first environ",
    ]
    assert run(tasks.mark).result == ("as the server has it", True)


def test_files_of_nested_calls_are_apart_from_those_of_the_call_before(run: Runner) -> None:
    """D23: each fork numbers its nested calls from one."""
    for text in ("a", "bc"):
        assert run(tasks.nested_file, text).result == text
