"""flyte-images shell on several engines, with and without a terminal; it leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

import flyte_images as flyte
from flyte_images_runtime.cgroup import group_names
from flyte_images_runtime.system.process_id import parse
from flyte_images_runtime.task.exchange import left_over

from .conftest import HERE, PROGRAM, Shell
from .terminal import Terminal

pytestmark = [pytest.mark.engine]
ENGINES = pytest.mark.parametrize("engine", ["docker", "oci"])

APP = """
env = flyte.TaskEnvironment(
    name="tiny", limits=flyte.Resources(cpu="1", mem="96Mi"), env_vars={"MODE": "fast"}, secrets="shell-token",
    mounts="given:/given:rw", timeout=0.5, network="none",
)

@env.task
def nothing() -> None: ...
"""

# Prints its arguments, waits for a change of the terminal, then for Ctrl-C.
SEEN = """
import os, signal, sys, time
print("terminal", *map(os.isatty, (0, 1, 2)), os.ttyname(0), *os.get_terminal_size(), os.environ["TERM"])
signal.signal(signal.SIGWINCH, lambda *_: print("now", *os.get_terminal_size(), flush=True))
try:
    print("ready", flush=True)
    while True: time.sleep(0.05)
except KeyboardInterrupt:
    print("interrupted", flush=True)
print("said", input("say: "), flush=True)
sys.exit(5)
"""


@pytest.fixture
def app(shell: Shell) -> Shell:
    (shell.folder / "given").mkdir(mode=0o777)
    (shell.folder / "given").chmod(0o777)
    shell.write("app.py", APP)
    shell.env["SHELL_TOKEN"] = "sesame"
    return shell


@pytest.fixture
def terminal(app: Shell) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def start(*args: str, **size: int) -> Terminal:
        opened.append(Terminal(app, *args, **size))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


def nothing_of(pid: int) -> bool:
    """Return whether a process of that id has left nothing."""
    filters = json.dumps({"label": ["io.flyte-images.owner"]})
    found = flyte.run.state.engines.docker().api.call("GET", "/containers/json", all="true", filters=filters)
    names = [str(container["Labels"]["io.flyte-images.owner"]) for container in found]
    names += [*group_names(""), *(path.name for path in left_over(""))]
    return not any(owner.pid == pid for owner in map(parse, names) if owner is not None)


def gone(pid: int) -> bool:
    deadline = time.monotonic() + 60
    while not nothing_of(pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    return nothing_of(pid)


@pytest.mark.parametrize("engine", HERE, indirect=True)
def test_without_a_terminal_the_streams_are_the_callers(app: Shell, engine: str) -> None:
    text = "echo $MODE $SHELL_TOKEN; echo wrong >&2; echo x > /given/made; test -t 0 || echo piped; sleep 0.6; exit 7"
    argv = (*PROGRAM, "shell", "--progress", "quiet", "--engine", engine, "app.py")
    done = subprocess.run(argv, cwd=app.folder, env=app.environ({}), input=text, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (7, "fast sesame\npiped\n", "wrong\n")
    assert (app.folder / "given/made").read_text() == "x\n"


@ENGINES
def test_a_command_has_the_limits_of_a_task_and_bytes_are_not_changed(app: Shell, engine: str) -> None:
    content = os.urandom(5_000_000)
    argv = (*PROGRAM, "shell", "--progress=quiet", f"--engine={engine}", "app.py", "tiny", "--", "cat", "-u", "-")
    done = subprocess.run(argv, cwd=app.folder, env=app.environ({}), input=content, capture_output=True)
    assert (done.returncode, done.stdout == content, done.stderr) == (0, True, b"")
    hog = app("shell", "--progress=quiet", "--engine", engine, "app.py", "--", "python3", "-c", "b'x' * (500 << 20)")
    assert hog.returncode == 137 and "memory limit of 96Mi" in hog.stderr and "hint: raise the limit" in hog.stderr
    held = app("shell", "--progress=quiet", f"--engine={engine}", "app.py", "--", "sh", "-c", "id -u; touch /usr/x")
    assert held.returncode != 0 and held.stdout != "0\n" and "ead-only file system" in held.stderr


@pytest.mark.parametrize("engine", HERE, indirect=True)
def test_on_a_terminal_the_shell_gets_a_terminal(terminal: Callable[..., Terminal], engine: str) -> None:
    screen = terminal("shell", "--engine", engine, "app.py", "--", "python3", "-c", SEEN, rows=40, columns=120)
    before = screen.settings
    seen = screen.wait_for(r"terminal True True True (/dev/pts/\d+) (\d+) (\d+) xterm")
    assert seen.groups()[1:] == ("120", "40")
    screen.wait_for("ready")
    assert screen.settings != before, "keys are the shell's"
    screen.resize(50, 132)
    screen.wait_for("now 132 50")
    screen.type("\x03")
    screen.wait_for("interrupted")
    screen.wait_for("say: ")
    screen.type("hello\r")
    screen.wait_for("said hello")
    assert screen.end() == 5
    assert screen.settings == before
    assert gone(screen.process.pid)


def test_the_best_shell_of_the_image_greets_with_the_environments_name(terminal: Callable[..., Terminal]) -> None:
    screen = terminal("shell", "app.py")
    screen.wait_for(r"tiny:/\$ ")
    screen.type("exit 3\r")
    assert screen.end() == 3


@ENGINES
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_a_shell_whose_caller_is_killed_leaves_nothing(
    terminal: Callable[..., Terminal], engine: str, number: signal.Signals
) -> None:
    screen = terminal("shell", "--engine", engine, "app.py", "--", "sh", "-c", "echo begun; sleep 1000")
    before = screen.settings
    screen.wait_for("begun")
    assert not nothing_of(screen.process.pid)
    screen.process.send_signal(number)
    assert screen.end() == (128 + number if number == signal.SIGTERM else -number)
    if number == signal.SIGTERM:
        assert screen.settings == before
    assert gone(screen.process.pid)


def test_wrong_use_is_an_error_before_the_start(app: Shell) -> None:
    unknown = app("shell", "app.py", "tniy")
    assert unknown.returncode == 2 and "has no environment `tniy`" in unknown.stderr and "`tiny`?" in unknown.stderr
    del app.env["SHELL_TOKEN"]
    bare = app("shell", "app.py", SHELL_TOKEN="") if "SHELL_TOKEN" in os.environ else app("shell", "app.py")
    assert bare.returncode == 2 and "there is no value for the secret `shell-token`" in bare.stderr
    app.env["SHELL_TOKEN"] = "x"
    missing = app("shell", "--progress=quiet", "app.py", "--", "no-such-program", "--json")
    assert (missing.returncode, missing.stdout) == (127, "")
    assert "`no-such-program` cannot be run in this image" in missing.stderr
    engine = app("shell", "app.py", "--engine", "dokcer")
    assert engine.returncode == 2 and "`dokcer` is not an engine" in engine.stderr
    app.write("several.py", 'a = flyte.TaskEnvironment(name="a")\nb = flyte.TaskEnvironment(name="b")')
    several = app("shell", "several.py")
    assert several.returncode == 2 and "2 environments: `a`, `b`" in several.stderr


def test_a_reader_that_closes_stdout_ends_the_shell(app: Shell) -> None:
    argv = (*PROGRAM, "shell", "--progress=quiet", "app.py", "--", "yes")
    with subprocess.Popen(argv, cwd=app.folder, env=app.environ({}), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"y\n"
        process.stdout.close()
        assert process.wait(60) == 1
    assert gone(process.pid)


def test_a_shell_is_listed_and_can_be_stopped(app: Shell) -> None:
    argv = (*PROGRAM, "shell", "--progress=quiet", "app.py", "--", "sh", "-c", "echo begun; sleep 1000")
    with subprocess.Popen(argv, cwd=app.folder, env=app.environ({}), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        running = json.loads(app("ps", "--json").stdout)
        [mine] = [one for one in running if one["id"].startswith(f"{process.pid}-")]
        assert mine["task"] == "tiny.shell"
        assert app("stop", mine["id"]).stdout == mine["id"] + "\n"
        assert process.wait(60) == 128 + signal.SIGTERM
