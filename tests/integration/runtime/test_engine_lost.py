"""An engine that goes away under a task is an error at once. After its return the next task cleans up."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import flyte_images as flyte
from flyte_images_runtime.errors import EngineLost
from tests.fakes.faulty_proxy import Proxy

from . import tasks

pytestmark = pytest.mark.engine


class Way:
    """A connection to the engine that a test can cut."""

    def __init__(self, directory: Path) -> None:
        self.socket = directory / "engine.sock"
        self._proxy: Proxy | None = None
        self.open()

    def open(self) -> None:
        self._proxy = Proxy(self.socket, "/var/run/docker.sock")

    def close(self) -> None:
        """Close the listening socket and all connections."""
        self.socket.unlink(missing_ok=True)
        if self._proxy is not None:
            self._proxy.close()
            self._proxy = None


@pytest.fixture
def way(monkeypatch: pytest.MonkeyPatch) -> Iterator[Way]:
    assert flyte.run.state.engines.docker().api.address == "unix:///var/run/docker.sock"
    directory = Path(tempfile.mkdtemp(prefix="fi-"))  # short: a socket's path has a bound
    made = Way(directory)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{made.socket}")
    yield made
    made.close()
    shutil.rmtree(directory)


@pytest.mark.parametrize("reusable", [None, True], ids=["fresh", "warm"])
def test_the_engine_goes_away_during_a_task(way: Way, reusable: bool | None) -> None:
    def cut(task: str, stream: str, line: str) -> None:
        way.close()

    run = flyte.run.using(engine="docker", on_line=cut)
    task = tasks.say_and_sleep.override(reusable=reusable)
    with pytest.raises(EngineLost, match=r"went away while task `tests.say_and_sleep` ran"):
        run(task, 600.0)
    way.open()
    assert run.using(on_line=None)(task, 0.0).result == 0.0
    flyte.run.close()  # while the engine is reachable
