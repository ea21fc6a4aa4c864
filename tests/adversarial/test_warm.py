"""A call of a warm container neither leaves anything for the next one, nor changes the process that serves it."""

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


def test_the_next_call_finds_nothing(run: Runner) -> None:
    """D23: what can be removed is; for what cannot (System V, limits, modes) the container is thrown away."""
    containers = []
    for what in ("queue", "exchange", "closed", "nothing", "ipc", "modes", "limits", "nothing"):
        found = run(tasks.leave, what).result
        assert (what, found["seen"]) == (what, [])
        assert found["files"] > 64
        containers.append(found["container"])
    assert [containers.index(container) for container in containers] == [0, 0, 0, 0, 0, 5, 6, 7]


def test_a_call_cannot_write_the_memory_of_the_server(run: Runner) -> None:
    """D23: nor that of the container's first process, which stays too; a call itself is as open as any process."""
    assert run(tasks.write_the_server).result == [
        "server mem",
        "server fd/3",
        "server environ",
        "first mem",
        "first fd/3",
        "first environ",
    ]
    assert run(tasks.mark).result == ("as the server has it", True)


def test_files_of_nested_calls_do_not_meet_those_of_the_call_before(run: Runner) -> None:
    """D23: each fork counts its calls from one."""
    for text in ("a", "bc"):
        assert run(tasks.nested_file, text).result == text
