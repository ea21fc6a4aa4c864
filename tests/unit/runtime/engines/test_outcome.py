"""Every end of a task has its own error, for every combination of reports from the engine and the worker."""

from __future__ import annotations

import errno
from dataclasses import replace
from typing import Any

import pytest

from flyte_images_runtime.engines.outcome import Report, judge, killed_at_start, remote_of
from flyte_images_runtime.errors import (
    Cancelled,
    DiskFull,
    ImageCannotStart,
    InvalidArgument,
    InvalidResult,
    Killed,
    NotSerializable,
    OutOfMemory,
    Process,
    Raised,
    Remote,
    TimedOut,
)
from flyte_images_runtime.resources.limits import Limits
from flyte_images_runtime.resources.metrics import Usage
from flyte_images_runtime.task.engine import Ending
from flyte_images_runtime.task.spec import Code, TaskSpec
from flyte_images_runtime.values import Problem

MIB = 1 << 20
SPEC = TaskSpec(
    task="ml.train",
    image="train:1",
    code=Code(module="m", qualname="train"),
    limits=Limits(memory=256 * MIB),
    timeout=5.0,
)
GOOD = Report(result={"result": 1})


def error(**said: Any) -> Report:
    return Report(result={"error": said})


def test_a_result_is_not_an_error() -> None:
    assert judge(SPEC, Ending(exit_status=0), GOOD) is None
    # one child was killed, and the task went on without it
    assert judge(SPEC, Ending(exit_status=0, oom_killed=True), GOOD) is None


@pytest.mark.parametrize(
    ("ending", "report", "kind"),
    [
        (Ending(exit_status=137, oom_killed=True), Report(), OutOfMemory),
        (Ending(exit_status=137, usage=Usage(oom_kills=1)), Report(), OutOfMemory),
        (Ending(exit_status=137), Report(status=9, usage=Usage(peak_memory=256 * MIB)), OutOfMemory),
        (Ending(exit_status=137), Report(status=9, usage=Usage(peak_memory=100 * MIB)), Killed),
        (Ending(exit_status=137), Report(), Killed),
        (Ending(exit_status=1, oom_killed=True), error(type="ValueError", message="x"), Raised),
        (Ending(exit_status=1, oom_killed=True), Report(), OutOfMemory),
        (Ending(exit_status=137, timed_out=True), Report(), TimedOut),
        (Ending(exit_status=137, cancelled=True), Report(), Cancelled),
        (Ending(exit_status=137, timed_out=True), GOOD, TimedOut),
        (Ending(exit_status=1), error(type="app.Broken", message="x"), Raised),
        (Ending(exit_status=1), error(type="OSError", message="x", errno=errno.ENOSPC), DiskFull),
        (Ending(exit_status=1), error(type="app.Full", message="x", errno=errno.ENOSPC, bases=["OSError"]), DiskFull),
        (Ending(exit_status=1), error(unfit="result", message="x"), NotSerializable),
        (Ending(exit_status=1), error(unfit="argument", message="x"), InvalidArgument),
        (Ending(exit_status=0), Report(unreadable=Problem("it is a link")), InvalidResult),
        (Ending(exit_status=0), Report(), Killed),
        (Ending(exit_status=1), Report(), ImageCannotStart),
        (Ending(exit_status=4), Report(status=4), Killed),
        (Ending(exit_status=113), Report(), Killed),
        (Ending(exit_status=139), Report(status=11), Killed),
        (Ending(exit_status=143), Report(status=15), Killed),
        (Ending(exit_status=1), Report(result={"error": "nonsense"}), InvalidResult),
        (Ending(exit_status=3), Report(result={"result": 1}), Killed),
    ],
)
def test_each_end_has_its_error_class(ending: Ending, report: Report, kind: type[Exception]) -> None:
    found = judge(SPEC, ending, report)
    assert type(found) is kind
    assert "ml.train" in str(found)
    assert found.task == "ml.train"


@pytest.mark.parametrize(
    "said",
    [
        "read from the init process",
        "read from sync socket: Connection reset by peer",
        "OCI runtime start failed: cannot start a container that has stopped: unknown",
        "cannot start a stopped process: unknown",
        "runc create failed: unable to start container process: error during container init: %!w(<nil>): unknown",
        'error during container init: writing syncT "procResume": write init-p: broken pipe: unknown',
        "error running hook: stderr: bind-mount /proc/77/ns/net -> /run/netns/7: no such file or directory: unknown",
    ],
)
def test_a_kill_before_the_start_is_not_blamed_on_the_image(said: str) -> None:
    """D29: messages of crun and runc, as observed."""
    found = killed_at_start(said, SPEC, Usage(oom_kills=0))
    assert isinstance(found, Killed) and found.exit_status == 137 and said in str(found)
    assert isinstance(killed_at_start(said, SPEC, Usage(oom_kills=1)), OutOfMemory), "the kernel counts its own"


def test_an_image_that_cannot_start_has_its_error_class() -> None:
    """D29: an image that cannot start is not a fault of the task."""
    said = 'exec: "python3": executable file not found in $PATH: unknown'
    assert killed_at_start(said, SPEC, Usage()) is None
    assert killed_at_start("container init was OOM-killed (memory limit too low?)", SPEC, Usage()) is not None


def test_out_of_memory_names_the_limit_and_a_remedy() -> None:
    report = Report(status=9, largest=(Process(pid=7, memory=250 * MIB, command="python3 train"),))
    found = judge(SPEC, Ending(exit_status=137, oom_killed=True, usage=Usage(peak_memory=256 * MIB)), report)
    assert isinstance(found, OutOfMemory)
    itself = Report(status=9, largest=(Process(pid=7, memory=250 * MIB, command="python3 /x/worker/start.py"),))
    assert "(last seen: the task itself 250Mi)" in str(judge(SPEC, Ending(exit_status=137, oom_killed=True), itself))
    assert (found.limit, found.peak, found.suggested) == (256 * MIB, 256 * MIB, 512 * MIB)
    assert "256Mi" in str(found)
    assert "(last seen: `python3 train` 250Mi)" in str(found)
    many = Report(largest=tuple(Process(pid=at, memory=60 * MIB, command="sort") for at in (1, 2)), files=140 * MIB)
    told = judge(SPEC, Ending(exit_status=137, oom_killed=True), many)
    assert "(last seen: files in /tmp and /dev/shm 140Mi, 2 x `sort` of up to 60Mi each)" in str(told), "D29"
    assert isinstance(told, OutOfMemory)
    assert "a mount" in str(told.hint)
    assert found.hint is not None
    assert 'Resources(memory="512Mi")' in found.hint
    without = judge(replace(SPEC, limits=Limits()), Ending(exit_status=137, oom_killed=True), Report())
    assert without is not None
    assert "this host ran out" in str(without)


def test_an_image_that_cannot_begin_shows_its_output() -> None:
    for printed, told, hint in (
        ("exec /usr/bin/python3: exec format error", "another kind of processor", "platform"),
        ("SyntaxError: future feature annotations is not defined", "SyntaxError: future feature", "Python 3.8"),
        ("", "status 1 and printed nothing", "Python 3.8"),
    ):
        found = judge(SPEC, Ending(exit_status=1), Report(printed=printed))
        assert isinstance(found, ImageCannotStart)
        assert told in str(found)
        assert hint in str(found.hint)


@pytest.mark.parametrize(
    ("limits", "hint"),
    [
        (Limits(disk=32 * MIB), 'Resources(disk="64Mi")'),
        (Limits(shm=16 * MIB, memory=256 * MIB), 'Resources(shm="32Mi")'),
        (Limits(memory=256 * MIB), "raise memory="),
        (Limits(memory=256 * MIB), 'results take 16Gi at most: raise it with Resources(disk="32Gi")'),
    ],
)
def test_a_full_disk_names_its_limit(limits: Limits, hint: str) -> None:
    said = error(type="OSError", message="[Errno 28] No space left on device", errno=errno.ENOSPC)
    found = judge(replace(SPEC, limits=limits), Ending(exit_status=1), said)
    assert isinstance(found, DiskFull)
    assert isinstance(found, OSError)
    assert found.errno == errno.ENOSPC
    assert hint in str(found.hint)


def test_a_missing_module_names_the_layer_to_add() -> None:
    found = judge(
        SPEC, Ending(exit_status=1), error(type="ModuleNotFoundError", message="No module named 'pandas.core'")
    )
    assert found is not None
    assert found.hint is not None
    assert "`pandas`" in found.hint
    assert "with_pip_packages" in found.hint


def test_builtin_errors_keep_their_class_and_other_classes_are_not_made() -> None:
    def raised(name: str) -> Raised:
        found = judge(SPEC, Ending(exit_status=1), error(type=name, message="no data", traceback="File ...\n"))
        assert isinstance(found, Raised)
        return found

    value = raised("ValueError").as_builtin()
    assert type(value) is ValueError
    assert value.args == ("no data",)
    assert value.__cause__ is not None
    assert "File ..." in value.__notes__[0]
    for name in ("app.Broken", "os.system", "SystemExit", "KeyboardInterrupt", "eval", "__import__", "GeneratorExit"):
        assert raised(name).as_builtin() is None


def test_an_endless_chain_of_errors_is_cut() -> None:
    said: dict[str, Any] = {"type": "E", "message": ""}
    said["cause"] = said
    found = judge(SPEC, Ending(exit_status=1), Report(result={"error": said}))
    assert isinstance(found, Raised)


def test_a_task_s_error_has_bounds() -> None:
    """D10, D26: an error that a container wrote itself has only text, with bounds."""
    said = dict.fromkeys(("type", "message", "traceback"), "x" * 2000000)
    found = remote_of({**said, "bases": ["x" * 2_000_000] * 1000, "errno": 10**4000})
    sizes = (len(found.type), len(found.message), len(found.traceback), len(found.bases), len(found.bases[0]))
    assert sizes == (1_000, 100_000, 1_000_000, 100, 1_000)
    assert found.errno is None
    assert remote_of({"type": [1], "message": {}, "bases": {}}) == Remote(type="Exception", message="")
