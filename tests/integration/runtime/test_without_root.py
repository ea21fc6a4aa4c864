"""A user who is not root but may use Docker runs tasks with the same limits, errors and metrics."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import packaging
import pytest

import flyte_images
import flyte_images_layers
import flyte_images_runtime
from flyte_images_runtime.cgroup.hierarchies import parse_mounts
from flyte_images_runtime.engines.docker import DockerEngine

from ...fakes.user import copy_packages, made_up, python_of_users
from ...fakes.user_engines import podman_settings

pytestmark = pytest.mark.engine

NOBODY = 65534
PROGRAM = """
import json, os, sys
import flyte_images as flyte

env = flyte.TaskEnvironment(
    name="mine", image=sys.argv[1], limits=flyte.Resources(cpu="0.5", memory="64Mi"), network="none",
    reusable=("warm" in sys.argv) or None,
)

@env.task
def who(text: str) -> tuple[int, str]:
    return os.getuid(), text

@env.task
def hog(size: int) -> int:
    return len(bytearray(b"x" * size))

if __name__ == "__main__":
    run = flyte.run.using(on_line=None)
    done = run(who, "ü")
    try:
        run(hog, 200 << 20)
    except flyte.OutOfMemory as error:
        print(json.dumps([done.result, done.metrics.cpu, done.metrics.peak_memory, str(error)]))
"""


@pytest.fixture
def home() -> Iterator[Path]:
    """Give a directory that every user can read."""
    with tempfile.TemporaryDirectory(prefix="fi-", dir="/var/tmp") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


@pytest.mark.parametrize("kind", ["cold", "warm"])
def test_a_user_who_is_not_root(engine: DockerEngine, image: str, home: Path, kind: str) -> None:
    address = engine.api.address.removeprefix("unix://")
    program = next(path for path in ("/usr/bin/python3", sys.executable) if os.access(path, os.X_OK))
    for package in (flyte_images, flyte_images_layers, flyte_images_runtime, packaging):
        place = Path(str(package.__file__)).parent
        shutil.copytree(place, home / place.name, ignore=shutil.ignore_patterns("__pycache__"))
    (home / "main.py").write_text(PROGRAM)
    for path in (home, *home.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    done = subprocess.run(
        [program, "main.py", image, kind],
        cwd=home,
        env={"HOME": str(home), "PYTHONPATH": str(home), "PATH": "/usr/bin:/bin", "DOCKER_HOST": f"unix://{address}"},
        user=NOBODY,
        group=NOBODY,
        extra_groups=[Path(address).stat().st_gid],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    result, cpu, peak, error = json.loads(done.stdout)
    assert result == [NOBODY, "ü"]
    assert cpu > 0
    assert 4 << 20 < peak <= 64 << 20
    assert "memory limit of 64Mi" in error
    assert not list(Path("/dev/shm").glob(f"flyte-images-*-{NOBODY}"))
    assert not list(Path("/var/tmp").glob(f"flyte-images-*-{NOBODY}"))


ALONE = """
import json, os, sys, time
import flyte_images as flyte
from flyte_images.runner.engine_report import report_engines

env = flyte.TaskEnvironment(name="mine", image=sys.argv[1], network="none")

@env.task
def who() -> int:
    return os.getuid()

@env.task(limits=flyte.Resources(memory="64Mi"))
def limited() -> int:
    return os.getuid()

@env.task(network="outbound")
def sleep() -> None:
    print("asleep", flush=True)
    time.sleep(300)

if __name__ == "__main__" and sys.argv[2:] == ["sleep"]:
    flyte.run.using(on_line=lambda task, stream, line: print(line, flush=True), engine="oci")(sleep)
elif __name__ == "__main__":
    engines = flyte.run.state.engines
    found = {"store": engines.image_store().name}
    chosen = engines.select
    def noted(name, spec):
        engine = chosen(name, spec)
        found.setdefault("engines", []).append(engine.name)
        return engine
    engines.select = noted
    for name in ("auto", "oci", "podman"):
        found[name] = flyte.run.using(on_line=None, engine=name)(who).result
    try:
        flyte.run.using(on_line=None)(limited)
    except flyte.EngineLost as error:
        found["refused"] = [str(error), error.hint]
    found["looks"] = {one.name: one.state for one in report_engines(os.environ)}
    print(json.dumps(found))
"""


@pytest.mark.skipif(os.getuid() != 0, reason="makes a user")
@pytest.mark.skipif(
    parse_mounts(Path("/proc/self/mounts").read_text()).version == 2, reason="here users can be given limits"
)
def test_a_user_with_only_podman(image: str) -> None:
    """Without Docker, images in the user's Podman run with crun; a request with limits is refused on cgroup v1."""
    python = python_of_users()
    with made_up() as user:
        copy_packages(user.home, flyte_images, flyte_images_layers)
        (user.home / "main.py").write_text(ALONE)
        environ = {**user.environ(), **podman_settings(user.home), "PYTHONPATH": str(user.home)}
        theirs = {"user": user.uid, "group": user.gid, "extra_groups": [], "cwd": user.home, "env": environ}
        with subprocess.Popen(("docker", "save", image), stdout=subprocess.PIPE) as saving:
            subprocess.run(
                ("podman", "load", "--quiet"), stdin=saving.stdout, check=True, capture_output=True, **theirs
            )
        done = subprocess.run((python, "main.py", image), capture_output=True, text=True, check=False, **theirs)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        user.is_clear()
        before = set(user.processes())  # Podman's own
        with subprocess.Popen((python, "main.py", image, "sleep"), stdout=subprocess.PIPE, text=True, **theirs) as told:
            assert told.stdout is not None
            assert told.stdout.readline() == "asleep\n"
            told.kill()
        deadline = time.monotonic() + 60
        while set(user.processes()) - before and time.monotonic() < deadline:
            time.sleep(0.1)
        assert set(user.processes()) <= before
        user.is_clear()
    assert found["store"] == "podman"
    assert found["engines"] == ["oci", "oci", "podman", "podman"]  # at the last not even crun could keep the limit
    assert found["auto"] == found["oci"] == found["podman"] == user.uid
    message, hint = found["refused"]
    assert "memory limit" in message
    assert "root" in hint
    assert {**found["looks"], "nerdctl": ""} == {"docker": "failed", "podman": "ok", "nerdctl": "", "oci": "ok"}
