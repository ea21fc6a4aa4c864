"""Callers, builds and engines are killed at random points: at the next start nothing of them is left on the machine."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import flyte_images as flyte
from flyte_images.store.cache_dir import cache_dir
from flyte_images_runtime.cgroup import group_names
from flyte_images_runtime.engines.docker.api import Api
from flyte_images_runtime.oci import snapshots, views
from flyte_images_runtime.oci.images import Images
from flyte_images_runtime.system.process_id import current
from flyte_images_runtime.task.exchange import left_over

from ..fakes.engines import Engine, private_engine
from ..integration.cli.conftest import Shell

pytestmark = pytest.mark.engine

APP = """
import os, time

env = flyte.TaskEnvironment(name="kills", limits=flyte.Resources(cpu="1", mem="64Mi"), network="none")

@env.task
def work(seconds: float) -> float:
    print("begun", flush=True)
    time.sleep(seconds)
    return seconds

number = os.environ.get("NUMBER", "0")
built = flyte.Image.from_debian_base().with_source_file("app.py").with_commands([f"sleep 0.3; echo {number}"])
"""
_PATIENCE = 60.0


@pytest.fixture
def app(tmp_path: Path) -> Shell:
    """A cache and a TMPDIR of the test's own, with the bases that there are."""
    for name in ("tmp", "project"):
        (tmp_path / name).mkdir()
    made = Shell(
        tmp_path / "project",
        {"FLYTE_IMAGES_CACHE": str(new_cache(tmp_path / "cache")), "TMPDIR": str(tmp_path / "tmp")},
    )
    made.write("app.py", APP)
    return made


def new_cache(place: Path) -> Path:
    place.mkdir()
    for name in ("oci", "bases"):
        there = cache_dir(os.environ) / name
        if there.is_dir():
            shutil.copytree(there, place / name, copy_function=os.link)
    return place


def owner_of(pid: int) -> str:
    """The mark of a process on what it makes."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return f"{current().boot}-{current().space}-{pid}-{fields[19]}"


def left_of(owner: str, api: Api) -> list[str]:
    filters = json.dumps({"label": [f"io.flyte-images.owner={owner}"]})
    containers = api.call("GET", "/containers/json", all="true", filters=filters)
    mounts = Path("/proc/self/mountinfo").read_text()
    return [
        *(container["Id"] for container in containers),
        *group_names(owner),
        *map(str, left_over(owner)),
        *(["a mount"] if owner in mounts else []),
        *processes_of(owner),
    ]


def processes_of(owner: str) -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if owner.encode() in (entry / "cmdline").read_bytes():
                found.append(f"process {entry.name}")
        except OSError:
            continue
    return found


def becomes_empty(look: Callable[[], list[str]]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while (there := look()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert there == []


def sweep_is_due(app: Shell) -> None:
    """As after ten minutes."""
    os.utime(Path(app.env["FLYTE_IMAGES_CACHE"]) / "swept" / "last", (0, 0))


def kill_at_random(app: Shell, chance: random.Random, *args: str, most: float) -> str:
    """Start the command line, kill it and return its owner's mark."""
    process = app.start(*args)
    owner = owner_of(process.pid)
    try:
        process.communicate(timeout=chance.random() * most)
    except subprocess.TimeoutExpired:
        process.send_signal(chance.choice([signal.SIGKILL] * 4 + [signal.SIGTERM, signal.SIGHUP]))
        process.communicate()
    return owner


def temporary_of(app: Shell) -> list[str]:
    cache = Path(app.env["FLYTE_IMAGES_CACHE"])
    partial = [str(path) for path in cache.rglob("*") if re.match(r"\.(partial|new)-", path.name)]
    return [*map(str, Path(app.env["TMPDIR"]).iterdir()), *partial]


@pytest.mark.parametrize("kills", [5, pytest.param(120, marks=pytest.mark.adversarial)])
def test_killed_runs_leave_nothing(app: Shell, kills: int) -> None:
    """D14: whatever is killed at whatever point, on docker and oci."""
    chance = random.Random(14)
    assert app("run", "app.py", "work", "--seconds=0").returncode == 0
    owners = []
    for _ in range(kills):
        args = ("run", "--engine", chance.choice(["docker", "oci"]), "app.py", "work", "--seconds=60")
        owners.append(kill_at_random(app, chance, *args, most=2.0))
    sweep_is_due(app)
    assert app("run", "app.py", "work", "--seconds=0").returncode == 0
    becomes_empty(lambda: [one for owner in owners for one in left_of(owner, flyte.run.state.engines.docker().api)])
    becomes_empty(lambda: temporary_of(app))


@pytest.mark.parametrize("kills", [5, pytest.param(80, marks=pytest.mark.adversarial)])
def test_killed_builds_leave_nothing(app: Shell, kills: int) -> None:
    """D14, D27: the next build finds all in order, and what was half made is gone."""
    chance = random.Random(27)
    for number in range(kills):
        app.env["NUMBER"] = f"{app.folder}-{number}"
        kill_at_random(app, chance, "build", "app.py", "built", most=3.0)
    done = app("build", "app.py", "built")
    assert done.returncode == 0, done.stderr
    sweep_is_due(app)
    assert app("build", "app.py", "built").stdout == done.stdout
    becomes_empty(lambda: temporary_of(app))


@pytest.fixture
def private(tmp_path: Path, app: Shell) -> Iterator[Engine]:
    place = tmp_path / "engine"
    place.mkdir()
    with private_engine(place) as engine:
        app.env["DOCKER_HOST"] = engine.api
        yield engine


def begun(app: Shell) -> subprocess.Popen[str]:
    process = app.start("run", "--engine", "docker", "app.py", "work", "--seconds=300")
    assert process.stderr is not None
    seen = []
    while "begun" not in (line := process.stderr.readline()):
        assert line, f"it has ended: {seen}"
        seen.append(line)
    return process


def all_containers(engine: Engine) -> list[str]:
    return [one["Id"] for one in Api(engine.api).call("GET", "/containers/json", all="true")]


@pytest.mark.parametrize(
    "ways", [["SIGKILL"], pytest.param(["SIGTERM", "SIGKILL"] * 2, marks=pytest.mark.adversarial)], ids=len
)
def test_an_engine_that_crashes_keeps_no_container(app: Shell, private: Engine, ways: list[str]) -> None:
    """D14: 8 of 8 crashes left a container for ever. In the end all crash at once, as with the machine: the engine,
    the caller and the caller's keeper; nothing but the mark is left of them."""
    for how in ways:
        process = begun(app)
        private.stop(signal.Signals[how])
        _, said = process.communicate(timeout=120)
        assert process.returncode == 3 and "went away" in said, said
        private.start()
        assert app("run", "--engine", "docker", "app.py", "work", "--seconds=0").returncode == 0
        becomes_empty(lambda: all_containers(private))
    process = begun(app)
    owner = owner_of(process.pid)
    for victim in [process.pid, *(int(one.split()[1]) for one in processes_of(owner))]:
        os.kill(victim, signal.SIGKILL)
    private.stop(signal.SIGKILL)
    process.communicate()
    private.start()
    assert len(all_containers(private)) == 1
    sweep_is_due(app)  # as every stamp of an earlier boot is
    assert app("run", "--engine", "docker", "app.py", "work", "--seconds=0").returncode == 0
    becomes_empty(lambda: [*all_containers(private), *left_of(owner, Api(private.api))])


def test_a_cache_that_is_removed_keeps_no_layers(app: Shell) -> None:
    """D15: containerd kept the layers of an image for a store that was no longer there."""
    assert app("run", "--engine", "oci", "app.py", "work", "--seconds=0").returncode == 0
    store = Path(app.env["FLYTE_IMAGES_CACHE"]) / "rootfs"

    def kept() -> list[str]:
        found = snapshots.Snapshots(snapshots.reachable()[0]).labelled(views.STORE)
        return [key for key, labels in found.items() if labels[views.PATH] == str(store)]

    assert kept(), "as long as the store is there"
    shutil.rmtree(store.parent)
    app.env["FLYTE_IMAGES_CACHE"] = str(new_cache(store.parent.with_name("another")))
    assert app("build", "app.py", "built").returncode == 0  # any start of anything
    becomes_empty(kept)


def test_a_store_that_is_not_seen_from_here_keeps_its_layers(tmp_path: Path) -> None:
    """D15: a path says nothing in another mount namespace; there a store has a month from its last use."""
    here = views.labels(tmp_path)
    assert not views.is_abandoned(here, time.time() + 1e9), "it is there"
    there = {**here, views.STORE: "another", views.PLACE: "0a1b2c3d-4026531999"}
    assert not views.is_abandoned(there, time.time())
    assert views.is_abandoned(there, time.time() + 31 * 86400)
    assert views.is_abandoned({**there, views.PLACE: views.place()}, time.time())


def test_a_view_in_use_says_so_once_a_day(tmp_path: Path) -> None:
    """D15: the month is counted from the last use."""
    engine = flyte.run.state.engines.docker()
    [reference] = [one["Id"] for one in engine.api.call("GET", "/images/json")][:1]
    images = Images(tmp_path / "rootfs", inspect=lambda name: engine.api.call("GET", f"/images/{name}/json"))
    key = images.find(reference).kept
    one = snapshots.Snapshots(snapshots.reachable()[0])
    try:
        one.label(key, views.USED, "5")
        [record] = (tmp_path / "rootfs").glob("*.json")
        os.utime(record, (5, 5))
        images.recent.clear()
        images.find(reference)
        becomes_empty(lambda: [used for used in [one.labelled(views.STORE)[key][views.USED]] if used == "5"])
    finally:
        one.drop(key)
