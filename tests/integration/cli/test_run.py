"""flyte-images run on the real engine: results, exit codes, documents and events."""

from __future__ import annotations

import json
import signal

import pytest

from .conftest import Shell, document

pytestmark = pytest.mark.engine

TASKS = """
import time

env = flyte.TaskEnvironment(name="tiny", limits=flyte.Resources(cpu="1", mem="128Mi"))

@env.task
def add(a: int, b: int = 2) -> dict[str, int]:
    print("adding")
    return {"sum": a + b}

@env.task
def fail(text: str) -> None:
    raise ValueError(text)

@env.task
def hog(mib: int) -> int:
    return len(b"x" * (mib << 20))

@env.task
def wait(mark: str) -> None:
    print(mark, flush=True)
    time.sleep(300)
"""


@pytest.fixture
def tasks(shell: Shell) -> Shell:
    shell.write("app.py", TASKS)
    return shell


def test_the_result_is_data_and_the_output_is_not(tasks: Shell) -> None:
    done = tasks("run", "app.py", "add", "--a", "40")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"sum": 42}
    assert "adding" in done.stderr.splitlines()


def test_a_program_gets_one_document_and_events(tasks: Shell) -> None:
    done = tasks("run", "--json", "--progress=json", "app.py", "tiny.add", "--a=1", "--b=1")
    assert done.returncode == 0, done.stderr
    printed = document("run", done.stdout)
    assert (printed["task"], printed["result"], printed["attempts"]) == ("tiny.add", {"sum": 2}, 1)
    assert printed["metrics"]["peak_memory"] > 1_000_000
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert {"event": "output", "task": "tiny.add", "stream": "stdout", "text": "adding"} in events
    assert events[-1]["event"] == "task" and events[-1]["metrics"] == printed["metrics"]


def test_an_exception_of_a_task_is_shown_with_the_users_line(tasks: Shell) -> None:
    done = tasks("run", "app.py", "fail", "--text", "no data")
    assert (done.returncode, done.stdout) == (1, "")
    assert "raise ValueError(text)" in done.stderr
    assert "error: task `tiny.fail` raised ValueError: no data" in done.stderr
    assert "flyte_images/" not in done.stderr, "our own frames are nothing for the user"


def test_out_of_memory_names_the_limit_and_the_remedy(tasks: Shell) -> None:
    done = tasks("run", "app.py", "hog", "--mib", "1000")
    assert (done.returncode, done.stdout) == (1, "")
    assert "memory limit of 128Mi" in done.stderr and "hint: " in done.stderr


def test_interrupt_ends_the_task(tasks: Shell) -> None:
    with tasks.start("run", "--progress=plain", "app.py", "wait", "--mark", "begun") as process:
        assert process.stderr is not None
        while (line := process.stderr.readline()) != "begun\n":
            assert line, "the task ended before it began"
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=30)
    assert process.returncode == 130
    assert rest.rstrip().endswith("stopped: task tiny.wait")
