"""A daemon on demand: a fake buildkitd of these tests forwards to the engine under test."""

from __future__ import annotations

import os
import signal
import stat
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from flyte_images.buildkit.address import Unix
from flyte_images.buildkit.client import Client, open_choice
from flyte_images.buildkit.discovery import Choice, choose
from flyte_images.buildkit.local_daemon import Daemon, answers, start
from flyte_images.buildkit.probe import survey
from flyte_images.errors import EngineError

from ...fakes.clock import eventually

pytestmark = pytest.mark.engine

PROGRAM = """#!{python}
import os, socket, sys
sys.path.insert(0, {here!r})
from flyte_images.buildkit.bridge import Splice
from flyte_images.buildkit.dial import dial
from flyte_images.buildkit.discovery import choose
if {broken!r}: sys.exit("no such snapshotter")
path = sys.argv[sys.argv.index("--addr") + 1].removeprefix("unix://")
if os.path.exists(path): os.unlink(path)
with open(path + ".started", "a") as file: print(os.getpid(), file=file)
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
listener.listen(16)
while True: Splice(listener.accept()[0], dial(choose(None, environ=os.environ).address))
"""


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Callable[..., Daemon]]:
    def make(*, broken: bool = False, name: str = "") -> Daemon:
        program = tmp_path / "buildkitd"
        here = str(Path(__file__).parents[3])
        program.write_text(PROGRAM.format(python=sys.executable, here=here, broken=broken))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        return Daemon(program=str(program), state=tmp_path / f"state{name}", run=tmp_path / f"run{name}")

    yield make
    eventually(lambda: not started(tmp_path / "run"))


def started(run: Path) -> list[int]:
    """The process ids of daemons that still run."""
    note = run / "buildkitd.sock.started"
    pids = [int(line) for line in note.read_text().split()] if note.exists() else []
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def use(daemon: Daemon) -> Client:
    return Client(Unix(str(daemon.socket)), held=start(daemon, idle=1.0))


def test_a_daemon_is_started_once_and_stopped_after_the_last_client(daemon: Callable[..., Daemon]) -> None:
    it = daemon()
    with ThreadPoolExecutor(8) as pool:
        clients = list(pool.map(lambda _: use(it), range(8)))
    assert len(started(it.run)) == 1
    other = daemon(name="-other")
    use(other).close()
    eventually(lambda: not started(other.run))  # it was started later and may idle as long, but has no client
    assert all(client.workers() for client in clients)
    for client in clients:
        client.close()
    eventually(lambda: not started(it.run))
    with use(it) as client:
        assert client.workers()


def test_a_killed_daemon_is_started_again(daemon: Callable[..., Daemon]) -> None:
    it = daemon()
    with use(it):
        os.kill(started(it.run)[0], signal.SIGKILL)
        eventually(lambda: not answers(it.socket))
        with use(it) as client:
            assert client.workers()


def test_the_error_contains_the_log_of_a_daemon_that_does_not_start(daemon: Callable[..., Daemon]) -> None:
    it = daemon(broken=True)
    choice = Choice(address=Unix(str(it.socket)), because="test", daemon=it)
    with pytest.raises(EngineError, match="did not start: no such snapshotter"):
        open_choice(choice)


def test_doctor_sees_what_a_build_would_use() -> None:
    first, *others = survey(environ=os.environ)
    assert first.chosen
    assert first.where == str(choose(None, environ=os.environ).address)
    assert first.capabilities is not None
    assert not any(found.chosen for found in others)
    wrong, *_ = survey(environ={"BUILDKIT_HOST": "unix:///run/none.sock", "HOME": "/nonexistent", "PATH": ""})
    assert wrong.error is not None
    assert wrong.error.hint
