"""Every bad end has an error class, which says what happened with the task's own figures and lines."""

from __future__ import annotations

import errno
import mmap
import os
import time
from pathlib import Path

import pytest

import flyte_images as flyte
from flyte_images.runner.engines import EngineName
from flyte_images_runtime.engines.docker import DockerEngine
from flyte_images_runtime.errors import (
    DiskFull,
    EngineLost,
    ImageCannotStart,
    Killed,
    NotSerializable,
    OutOfMemory,
    Raised,
    TimedOut,
)

from . import tasks

pytestmark = pytest.mark.engine
quiet = flyte.run.using(on_line=None)


def test_a_task_is_killed_at_its_memory_limit_and_the_error_says_so() -> None:
    assert quiet(tasks.hog, 150).result == 150
    with pytest.raises(OutOfMemory) as caught:
        quiet(tasks.hog, 600)
    error = caught.value
    assert error.limit == 256 << 20
    assert error.peak is not None
    assert 250 << 20 < error.peak <= 256 << 20
    assert error.suggested == 512 << 20
    assert "memory limit of 256Mi" in str(error)
    assert "512Mi" in str(error.hint)


def kernel_log_is_readable() -> bool:
    try:
        log = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return False
    os.close(log)
    return True


@pytest.mark.skipif(not kernel_log_is_readable(), reason="the kernel's log is root's to read, and not in a container")
@pytest.mark.parametrize("name", ["docker", "oci"])
def test_the_kernel_says_who_had_the_memory(name: EngineName) -> None:
    run = quiet.using(engine=name)
    for told, task, arguments in (
        ("last seen: `python3` 2", tasks.hog, (600,)),
        ("files in /tmp and /dev/shm 2", tasks.fill, ("/tmp/x", 300)),
    ):
        for _ in range(5):  # the kernel writes at most ten reports in five seconds, for all processes
            with pytest.raises(OutOfMemory) as caught:
                run(task, *arguments)
            if told in str(caught.value):
                break
            time.sleep(5)
        assert told in str(caught.value)
    assert "a mount" in str(caught.value.hint)


def test_memory_has_no_swap_on_top_and_other_tasks_live_on() -> None:
    tight = tasks.hog.override(limits=flyte.Resources(memory="64Mi"))
    assert quiet(tight, 20).result == 20
    with pytest.raises(OutOfMemory):
        quiet(tight, 70)


def test_a_killed_child_does_not_end_the_task() -> None:
    assert quiet(tasks.hog_in_child, 600).result == -9


def test_two_cpus_are_two_and_half_a_cpu_is_half() -> None:
    half = quiet(tasks.burn.override(limits=flyte.Resources(cpu="0.5")), 3.0, 2)
    assert half.result < 0.65
    one = quiet(tasks.burn.override(limits=flyte.Resources(cpu=1)), 3.0, 2)
    assert one.result < 1.25


def test_a_time_limit_ends_the_task() -> None:
    with pytest.raises(TimedOut, match=r"time limit of 1\.5 s"):
        quiet(tasks.slow.override(timeout=1.5), 600)
    assert quiet(tasks.slow.override(timeout=600), 0.0, 7).result == 7
    with pytest.raises(TimeoutError):  # TimedOut is a TimeoutError
        quiet(tasks.slow.override(timeout=1), 600)


def test_builtin_errors_come_back_as_themselves_with_the_remote_lines() -> None:
    with pytest.raises(ValueError, match="no rows") as caught:
        quiet(tasks.fail, "value")
    assert type(caught.value) is ValueError
    cause = caught.value.__cause__
    assert isinstance(cause, Raised)
    lines = Path(tasks.__file__).read_text().splitlines()
    raised = lines.index('        raise ValueError("no rows")')
    called = lines.index("    deeper()", raised)
    places = [line.strip() for line in cause.remote.traceback.splitlines() if line.strip().startswith("File")]
    assert places == [
        f'File "{tasks.__file__}", line {called + 1}, in fail',
        f'File "{tasks.__file__}", line {raised + 1}, in deeper',
    ]
    assert 'raise ValueError("no rows")' in caught.value.__notes__[0]
    with pytest.raises(FileNotFoundError, match="/nowhere") as missing:
        quiet(tasks.fail, "os")
    assert missing.value.errno == errno.ENOENT


def test_an_error_of_the_users_own_class_keeps_its_name() -> None:
    with pytest.raises(Raised) as caught:
        quiet(tasks.fail, "own")
    assert caught.value.remote.type.endswith("tasks.OwnError")
    assert caught.value.remote.message == "no rows in a.csv"
    assert "no rows in a.csv" in str(caught.value)
    assert "in deeper" in caught.value.__notes__[0]


@pytest.mark.parametrize(
    ("how", "kind", "said"),
    [
        ("exit", Raised, "SystemExit: 3"),
        ("cancelled", Raised, "CancelledError: by itself"),
        ("hard", Killed, "before it returned a result"),
        ("hard137", Killed, "signal 9"),
        ("segfault", Killed, "signal 11 .SIGSEGV."),
        ("kill", Killed, "signal 9 .SIGKILL."),
    ],
)
def test_the_ways_a_process_can_end(how: str, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said):
        quiet(tasks.end, how)


def test_a_full_disk_is_an_error() -> None:
    with pytest.raises(DiskFull, match="No space left"):
        quiet(tasks.fill.override(limits=flyte.Resources(memory="512Mi", shm="16Mi")), "/dev/shm/x", 64)


def test_an_argument_too_large_for_this_machine(tmp_path: Path) -> None:
    huge = tmp_path / "huge"
    with huge.open("wb+") as file:
        file.truncate(1 << 42)  # a hole
        blob = memoryview(mmap.mmap(file.fileno(), 1 << 42, access=mmap.ACCESS_READ))
    with pytest.raises(DiskFull, match="this machine has no space for its arguments in /") as caught:
        quiet(tasks.noisy_blob, blob, 1)
    assert "mounts=" in str(caught.value.hint)


def test_a_missing_image_and_one_without_python(engine: DockerEngine) -> None:
    env = flyte.TaskEnvironment(name="bare", image="flyte-images-test-bare:1")
    task = flyte.environment.Task(tasks.end.function, env, env.options, tasks.end.location)
    _import_empty(engine, "flyte-images-test-bare", "1")
    try:
        with pytest.raises(ImageCannotStart, match="has no `python3`") as caught:
            quiet(task, "x")
        assert "Python 3.8" in str(caught.value.hint)
    finally:
        engine.api.call("DELETE", "/images/flyte-images-test-bare:1", force="true")


def _import_empty(engine: DockerEngine, repository: str, tag: str) -> None:
    """Make an image with one file and without a program."""
    import http.client
    import io
    import tarfile

    from flyte_images_runtime.engines.docker.api import connect

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("empty"))
    connection = http.client.HTTPConnection("docker")
    connection.sock = connect(engine.api.address, 60)
    connection.request(
        "POST",
        f"/images/create?fromSrc=-&repo={repository}&tag={tag}",
        body=buffer.getvalue(),
        headers={"Content-Type": "application/x-tar"},
    )
    assert connection.getresponse().status == 200
    connection.close()


def test_an_inapplicable_request_is_an_error_before_the_start(engine: DockerEngine) -> None:
    cores = engine.facts["NCPU"]
    docker = quiet.using(engine="docker")
    for limits, said in (
        (flyte.Resources(cpu=cores + 1), f"has {cores}"),
        (flyte.Resources(memory="64Ti"), "memory"),
        (flyte.Resources(disk="1Ki"), "too small for a file system"),
    ):
        with pytest.raises(EngineLost, match=said):
            docker(tasks.slow.override(limits=limits), 0.0)
    with pytest.raises(EngineLost, match="does not know the OCI runtime `nope`"):
        docker(tasks.slow.override(runtime="nope"), 0.0)


def test_a_result_behind_a_link_is_not_read(tmp_path_factory: pytest.TempPathFactory) -> None:
    secret = tmp_path_factory.mktemp("secret") / "x.json"
    secret.write_text('{"result": 42}')
    with pytest.raises(NotSerializable, match="cannot be read"):
        quiet(tasks.replace_result, str(secret))


def test_a_missing_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    env = flyte.TaskEnvironment(name="lost", image="x:1")
    task = flyte.environment.Task(tasks.end.function, env, env.options, tasks.end.location)
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    with pytest.raises((EngineLost, flyte.errors.EngineError)) as caught:
        quiet(task, "x")
    assert caught.value.exit_code == 3


def test_an_image_whose_python_is_too_old_or_none(image: str, tmp_path: Path) -> None:
    (tmp_path / "python3").write_text("#!/bin/sh\necho python 2 >&2\nexit 1\n")
    (tmp_path / "python3").chmod(0o755)
    pretending = tasks.end.override(mounts=[f"{tmp_path}/python3:/usr/local/sbin/python3"])
    for run in (quiet.using(engine="docker"), quiet.using(engine="oci")):
        found = run.call(pretending, ("x",), {})
        found.python = "/usr/local/sbin/python3"
        with pytest.raises(ImageCannotStart, match=r"ended with status 1: python 2") as caught:
            found.run()
        assert "Python 3.8" in str(caught.value.hint)
