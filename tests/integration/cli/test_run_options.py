"""flyte-images run with its options, its logs, and its display on a terminal."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from .conftest import HERE, Shell, document
from .terminal import Terminal

pytestmark = pytest.mark.engine
ENGINES = pytest.mark.parametrize("engine", ["docker", "oci"])

TASKS = """
import os, sys, time

env = flyte.TaskEnvironment(
    name="tiny", limits=flyte.Resources(cpu="1", mem="128Mi"), network="none", env_vars={"A": "own", "B": "own"},
    secrets="run-token",
)

@env.task
def variables(names: str) -> list[str | None]:
    return [os.environ.get(name) for name in names.split(",")]

@env.task
def talk(lines: int, *, json: bool = False) -> str:
    for number in range(lines):
        print(f"line {number}", file=sys.stderr if number % 2 else sys.stdout)
    print(os.environ["RUN_TOKEN"])
    return "json" if json else "plain"

@env.task
def wait(mark: str) -> None:
    print(mark, flush=True)
    time.sleep(300)

@env.task
def fail() -> None:
    for number in range(30):
        print("said", number)
    raise RuntimeError("with " + os.environ["RUN_TOKEN"])

@env.task
def bar() -> None:
    for number in range(11):
        print(f"\\r{number * 10:3}%|" + "#" * number, end="", file=sys.stderr, flush=True)
        time.sleep(0.2)
    print(file=sys.stderr)

@env.task
def burn(seconds: float) -> None:
    end = time.time() + seconds
    while time.time() < end:
        sum(range(10000))
"""

MAP = """
import time

env = flyte.TaskEnvironment(name="many", limits=flyte.Resources(cpu="0.5", mem="64Mi"), network="none")

@env.task
def one(number: int) -> int:
    time.sleep(0.2)
    if number == 3:
        print("three")
    if number == 7:
        raise ValueError("seven")
    return number

if __name__ == "__main__":
    flyte.run.map(one, range(8), concurrency=2, return_exceptions=True)
"""


@pytest.fixture
def tasks(shell: Shell) -> Shell:
    """The tasks, with an empty history."""
    shell.write("app.py", TASKS)
    shell.env["RUN_TOKEN"] = "sesame-9"
    return shell


@pytest.fixture
def screens(tasks: Shell) -> Iterator[list[Terminal]]:
    opened: list[Terminal] = []
    yield opened
    for each in opened:
        each.close()


@ENGINES
def test_variables_override_those_of_the_task(tasks: Shell, engine: str) -> None:
    given = ["--env", "A=mine", "--env", "C"]
    done = tasks("run", "--engine", engine, *given, "app.py", "variables", "--names", "A,B,C,D", C="callers")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ["mine", "own", "callers", None]


@ENGINES
def test_a_time_limit_ends_the_task(tasks: Shell, engine: str) -> None:
    done = tasks("run", f"--engine={engine}", "app.py", "wait", "--mark", "begun", "--timeout", "0m1s")
    assert (done.returncode, done.stdout) == (1, "")
    assert "`tiny.wait` was ended at its time limit of 1 s" in done.stderr and "begun" in done.stderr


def test_an_option_and_a_parameter_of_one_name(tasks: Shell) -> None:
    done = tasks("run", "app.py", "talk", "--lines", "0", "--json")
    assert (done.returncode, done.stdout) == (0, "json\n"), done.stderr
    done = tasks("run", "app.py", "--json", "talk", "--lines", "0")
    assert json.loads(done.stdout)["result"] == "plain"
    done = tasks("run", "app.py", "fail", "--help")
    assert done.returncode == 0 and "No arguments." in done.stdout and "--follow" in done.stdout


@ENGINES
def test_the_output_of_a_run_can_be_read_afterwards(tasks: Shell, engine: str) -> None:
    done = tasks("run", "--json", "--no-follow", "--engine", engine, "app.py", "talk", "--lines", "4")
    assert done.returncode == 0 and "line 0" not in done.stderr, done.stderr
    run = document("run", done.stdout)["id"]
    logs = tasks("logs", run)
    assert (logs.returncode, logs.stdout, logs.stderr) == (0, "line 0\nline 2\n***\n", "line 1\nline 3\n")
    last = tasks("logs", run[:7], "--json", "--tail", "2", "--stdout").stdout.splitlines()
    found = [(line["stream"], line["text"]) for line in (document("logs", text) for text in last)]
    assert found == [("stdout", "line 2"), ("stdout", "***")]
    history = document("runs", tasks("runs", "-n", "10000", "--json").stdout)
    [noted] = [entry for entry in history if entry["id"] == run]
    assert (noted["task"], noted["end"]) == ("tiny.talk", "done")
    assert run in tasks("runs", "-n", "10000").stdout


def test_a_failure_shows_its_last_lines_and_keeps_no_secret(tasks: Shell) -> None:
    done = tasks("run", "--no-follow", "app.py", "fail")
    assert done.returncode == 1
    assert "  | said 29" in done.stderr and "said 5\n" not in done.stderr and "raise RuntimeError" in done.stderr
    [noted] = [
        entry for entry in json.loads(tasks("runs", "-n", "10000", "--json").stdout) if entry["task"] == "tiny.fail"
    ][-1:]
    assert (noted["end"], noted["message"]) == ("Raised", "task `tiny.fail` raised RuntimeError: with ***")


@pytest.mark.parametrize("engine", HERE, indirect=True)
def test_a_running_task_is_listed_followed_and_stopped(tasks: Shell, engine: str) -> None:
    mark = f"begun-{engine}"
    with tasks.start("run", "--progress=plain", "--engine", engine, "app.py", "wait", "--mark", mark) as process:
        assert process.stderr is not None
        while (line := process.stderr.readline()) != f"{mark}\n":
            assert line, "the task ended before it began"
        running = [one for one in document("ps", tasks("ps", "--json").stdout) if one["task"] == "tiny.wait"]
        [run] = [one["id"] for one in running if one["engine"] == engine and mark in tasks("logs", one["id"]).stdout]
        assert re.search(rf"{run} +tiny\.wait +{engine} ", tasks("ps").stdout)
        with tasks.start("logs", "--follow", run) as following:
            assert following.stdout is not None
            assert following.stdout.readline() == f"{mark}\n"
            assert following.poll() is None
            assert tasks("stop", run[:8]).stdout == f"{run}\n"
            assert following.wait(60) == 0
        _, rest = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "was ended by signal 15 (SIGTERM)" in rest
    assert "no task" in tasks("stop", run).stderr


def test_a_terminal_shows_the_usage_of_a_task(tasks: Shell, screens: list[Terminal]) -> None:
    screens.append(screen := Terminal(tasks, "run", "app.py", "burn", "--seconds", "3"))
    screen.wait_for(r"tiny\.burn: [0-9.]+ s, CPU [0-9.]+ s \(\d+%\), memory [0-9.]+ MB of 134\.2 MB")
    screen.wait_for(r"\r\x1b\[Ktiny\.burn: done in ")
    assert screen.end() == 0


def test_a_terminal_shows_a_tasks_own_progress_bar(tasks: Shell, screens: list[Terminal]) -> None:
    screens.append(screen := Terminal(tasks, "run", "app.py", "bar"))
    screen.wait_for(r"\r\x1b\[K(\x1b\[2m)? *\d%\|#* .*tiny\.bar: ")
    screen.wait_for(r"\r\x1b\[K100%\|#+\r\n")
    assert screen.end() == 0
    piped = tasks("run", "--progress=plain", "app.py", "bar")
    assert "100%|##########\n" in piped.stderr and "\r" not in piped.stderr


def test_a_terminal_shows_the_progress_of_a_map(shell: Shell, screens: list[Terminal]) -> None:
    shell.write("app.py", MAP)
    screens.append(screen := Terminal(shell, "app.py", program=(sys.executable,)))
    screen.wait_for(r"\[#+-+\] many\.one: \d of 8 done, .*\d running, [0-9.]+ s, ~[0-9.]+ s left")
    screen.wait_for(r"\r\x1b\[Kmany\.one: 7 of 8 done, 1 failed in [0-9.]+ s\r\n")
    assert screen.end() == 0
    assert screen.text.count("[many.one] three") == 1
    with subprocess.Popen(
        (sys.executable, "app.py"), cwd=shell.folder, env=shell.environ({}), stderr=subprocess.PIPE, text=True
    ) as piped:
        _, err = piped.communicate(timeout=120)
    assert "\x1b" not in err and re.search(r"^many\.one: 7 of 8 done, 1 failed in ", err, re.M)


def test_ctrl_c_on_a_terminal_stops_the_task(tasks: Shell, screens: list[Terminal]) -> None:
    screens.append(screen := Terminal(tasks, "run", "app.py", "wait", "--mark", "begun"))
    screen.wait_for("begun")
    screen.type("\x03")
    screen.wait_for(r"\x1b\[K\r\nstopped: task tiny\.wait")
    assert screen.end() == 128 + signal.SIGINT
    [noted] = [
        entry for entry in json.loads(tasks("runs", "-n", "10000", "--json").stdout) if entry["task"] == "tiny.wait"
    ][-1:]
    assert noted["end"] == "Cancelled"


def test_errors_have_their_exit_codes(tasks: Shell) -> None:
    wrong = [
        (["run", "app.py", "wiat"], 2, "did you mean `wait`?"),
        (["run", "app.py", "wait", "--mark"], 2, "`--mark` has no value"),
        (["run", "app.py", "talk", "--lines", "many"], 2, "parameter `lines`"),
        (["run", "app.py", "talk", "3"], 2, "--lines 3"),
        (["run", "app.py", "--engine", "none", "wait"], 2, "`none` is not an engine; the engines are auto, docker"),
        (["run", "nothing.py", "wait"], 2, "the file `nothing.py` does not exist"),
    ]
    for words, code, message in wrong:
        done = tasks(*words)
        assert (done.returncode, done.stdout) == (code, "") and message in done.stderr, done.stderr
    gone = tasks("run", "app.py", "fail", DOCKER_HOST="unix:///nowhere.sock")
    assert gone.returncode == 3 and "hint: " in gone.stderr
    absent = tasks("run", "--engine=podman", "app.py", "fail", PATH="/nowhere", CONTAINER_HOST="")
    assert absent.returncode == 3 or "podman" not in absent.stderr, absent.stderr
