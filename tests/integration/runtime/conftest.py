"""One image for all tests, and after each test a check that nothing of it is left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import flyte_images as flyte
from flyte_images_runtime.cgroup import group_names
from flyte_images_runtime.engines.docker import DockerEngine
from flyte_images_runtime.system.process_id import current
from flyte_images_runtime.task.exchange import left_over


@dataclass(frozen=True)
class Left:
    """The containers, cgroups and directories of tasks on this machine."""

    containers: frozenset[str]
    groups: frozenset[str]
    directories: frozenset[str]


def left(owner: str = "") -> Left:
    label = "io.flyte-images.owner" + (f"={owner}" if owner else "")
    filters = json.dumps({"label": [label]})
    found = flyte.run.state.engines.docker().api.call("GET", "/containers/json", all="true", filters=filters)
    return Left(
        frozenset(container["Id"] for container in found),
        frozenset(group_names(owner)),
        frozenset(str(path) for path in left_over(owner)),
    )


NOTHING = Left(frozenset(), frozenset(), frozenset())


@pytest.fixture(scope="session")
def engine() -> DockerEngine:
    return flyte.run.state.engines.docker()


@pytest.fixture(scope="session")
def image() -> str:
    """Build the default image, as `flyte.run` does."""
    return flyte.build(flyte.Image.from_debian_base()).ref


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    """Check that no container, cgroup or directory of this process outlives a test."""
    yield
    flyte.run.close()
    deadline = time.monotonic() + 20  # a task's own calls may still be ending
    while left(str(current())) != NOTHING and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left(str(current())) == NOTHING


@pytest.fixture
def program(tmp_path: Path, image: str) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a user's program; `{image}` in its text stands for the image."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str, *argv: str, **options: object) -> subprocess.Popen[str]:
        file = tmp_path / "app.py"
        file.write_text(textwrap.dedent(code).replace("{image}", image))
        process = subprocess.Popen(
            [sys.executable, str(file), *argv],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            **options,  # type: ignore[call-overload]
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
