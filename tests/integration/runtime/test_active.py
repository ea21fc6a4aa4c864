"""Another process sees and ends running tasks, on every engine."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from typing import Any

import pytest

import flyte_images as flyte
from flyte_images_runtime.execution.running_tasks import active

from . import tasks

pytestmark = pytest.mark.engine


def cli(*words: str) -> subprocess.CompletedProcess[str]:
    code = "import sys; from flyte_images.cli.main import main; sys.exit(main(sys.argv[1:]))"
    return subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)


@pytest.mark.parametrize("engine", ["docker", "oci"])
def test_a_running_task_is_listed_and_can_be_stopped(engine: str) -> None:
    ends: list[BaseException] = []
    begun = threading.Event()

    def call() -> None:
        try:
            flyte.run.using(engine=engine, on_line=lambda *line: begun.set())(tasks.talk_and_sleep)
        except flyte.TaskError as error:
            ends.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    assert begun.wait(60)
    shown = cli("ps", "--json")
    mine: list[Any] = [one for one in json.loads(shown.stdout) if one["task"] == "tests.talk_and_sleep"]
    assert [one["engine"] for one in mine] == [engine]
    assert mine[0]["cpu"] > 0
    assert "tests.talk_and_sleep" in cli("ps").stdout
    missing = cli("stop", "nothing-1")
    assert missing.returncode == 2
    assert "no task `nothing-1` is running" in missing.stderr
    stopped = cli("stop", mine[0]["id"])
    assert stopped.stdout.strip() == mine[0]["id"], stopped.stderr
    thread.join()
    assert isinstance(ends[0], flyte.Killed)
    assert "SIGTERM" in str(ends[0])
    assert not [one for one in active() if one.task == "tests.talk_and_sleep"]
