"""What comes from elsewhere commands no terminal and tells no secret; a stdout that is not there is a clean error."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from flyte_images.cli.table import columns

from ..integration.cli.conftest import PROGRAM, Shell
from ..integration.cli.terminal import Terminal

EVIL = "\x1b]0;owned\x07\x1b[2J\x1b[6n\x9b5n\u202e"
SHOWN = r"\x1b]0;owned\x07\x1b[2J\x1b[6n\x9b5n\u202e"

APP = f"""
import base64, os

EVIL = {EVIL!r}

env = flyte.TaskEnvironment(
    name="evil", limits=flyte.Resources(cpu="1", mem="128Mi"), network="none", secrets="evil-token"
)

@env.task
def talk() -> str:
    print(EVIL + "said")
    return EVIL + "result"

@env.task
def fail() -> None:
    raise type("Class" + EVIL, (Exception,), {{}})("message" + EVIL)

@env.task
def tell(*, how: str = "raise") -> None:
    token = os.environ["EVIL_TOKEN"]
    print("x" * 65530 + token)
    print(base64.b64encode(b"user:" + token.encode()).decode())
    raise LookupError(token)

built = flyte.Image.from_debian_base().with_commands(["printf '\\\\033[2Jbuilt\\\\n'; exit 3"])
"""


@pytest.fixture
def app(tmp_path: Path) -> Shell:
    made = Shell(tmp_path, {"EVIL_TOKEN": "hunter2-secret"})
    made.write("app.py", APP)
    return made


@pytest.fixture
def screens(app: Shell) -> Iterator[list[Terminal]]:
    opened: list[Terminal] = []
    yield opened
    for each in opened:
        each.close()


def on_terminal(app: Shell, screens: list[Terminal], *args: str) -> str:
    screen = Terminal(app, *args, columns=400)
    screens.append(screen)
    screen.end()
    for command in ("\x1b]0;", "\x1b[2J", "\x1b[6n", "\x9b", "\u202e", "\x07"):
        assert command not in screen.text, (command, args)
    return screen.text


@pytest.mark.engine
def test_a_task_commands_no_terminal(app: Shell, screens: list[Terminal]) -> None:
    """D24: prints as they come, string results, `logs`, exception classes, tracebacks, `runs`, names of files."""
    said = on_terminal(app, screens, "run", "app.py", "talk")
    assert f"{SHOWN}said" in said and f"{SHOWN}result" in said
    assert f"{SHOWN}said" in on_terminal(app, screens, "logs", "evil.talk")
    raised = on_terminal(app, screens, "run", "app.py", "fail")
    assert f"raised __main__.Class{SHOWN}: message{SHOWN}" in raised or f"Class{SHOWN}: message{SHOWN}" in raised
    assert raised.count(SHOWN) >= 4, "the traceback shows them too"
    assert SHOWN in on_terminal(app, screens, "runs", "-n", "1")
    assert SHOWN in on_terminal(app, screens, "run", f"{EVIL}.py", "talk")
    piped = app("run", "app.py", "talk")
    assert piped.stdout == f"{EVIL}result\n", "data is not changed"
    assert EVIL not in piped.stderr and SHOWN in piped.stderr
    assert app("logs", "evil.talk").stdout == f"{EVIL}said\n"


@pytest.mark.engine
def test_a_step_of_a_build_commands_no_terminal(app: Shell, screens: list[Terminal]) -> None:
    """D24: the log of a step as it comes, and in its error."""
    text = on_terminal(app, screens, "build", "app.py", "built")
    assert r"| \x1b[2Jbuilt" in text


def test_nothing_in_a_table_commands_a_terminal() -> None:
    """D24: `ps`, `runs`."""
    assert columns([[EVIL, "a\nb"]], ["id", "task"])[1] == f"{SHOWN}  a b"


@pytest.mark.engine
def test_secrets_are_in_no_output(app: Shell) -> None:
    """D28: neither live nor in the traceback, the error, the kept log or the history."""
    done = app("run", "app.py", "tell")
    assert done.returncode == 1 and "LookupError: ***" in done.stderr
    logs, runs = app("logs", "evil.tell").stdout, app("runs", "--json", "-n", "1").stdout
    for text in (done.stderr, logs, runs):
        assert "***" in text
        assert "hunter2" not in text and "-secret" not in text
    assert "dXNlcjp***" in logs


HELP = ["--help"]
VERBS = (HELP, ["runs", "--json"], ["ps", "--json"], ["base", "ls", "--json"], ["doctor", "--help"])
CLOSED = [(args, how, "") for args in VERBS for how in (">&-", "> /dev/full")]
CLOSED += [(HELP, ">&-", "1"), (HELP, "> /dev/full", "1"), (HELP, ">&- 2>&-", ""), (HELP, "<&- >&- 2>&-", "")]


@pytest.mark.parametrize(("args", "how", "unbuffered"), CLOSED)
def test_a_stdout_that_cannot_be_written_is_a_clean_error(
    tmp_path: Path, args: list[str], how: str, unbuffered: str
) -> None:
    """D25: for every verb that prints something."""
    shell = Shell(tmp_path)
    environ = shell.environ({"PYTHONUNBUFFERED": unbuffered})
    done = subprocess.run(
        ("sh", "-c", f'"$@" {how}', "sh", *PROGRAM, *args),
        cwd=tmp_path,
        env=environ,
        stderr=subprocess.PIPE,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert (
        "internal error" not in done.stderr
        and "Traceback" not in done.stderr
        and "Exception ignored" not in done.stderr
    )
    if "2>&-" not in how:
        why = "bad file descriptor" if how == ">&-" else "no space left on device"
        assert f"error: stdout cannot be written: {why}" in done.stderr


def test_a_reader_that_has_had_enough_is_no_error(tmp_path: Path) -> None:
    """D25"""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run((*PROGRAM, "run", "--help"), stdout=writer, stderr=-1, text=True, check=False)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.engine
def test_a_task_whose_result_cannot_be_printed_has_run(app: Shell) -> None:
    """D25: the engine's connections never become stdout, and the history knows the run."""
    argv = ("sh", "-c", '"$@" >&-', "sh", *PROGRAM, "run", "app.py", "talk")
    done = subprocess.run(argv, cwd=app.folder, env=app.environ({}), capture_output=True, text=True, timeout=300)
    assert done.returncode == 1 and "stdout cannot be written" in done.stderr
    assert json.loads(app("runs", "--json", "-n", "1").stdout)[0]["end"] == "done"
