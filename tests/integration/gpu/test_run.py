"""`flyte.run` of a task with a GPU: the driver's library is a stand-in, everything else is real."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from flyte_images_runtime.gpu import Card
from flyte_images_runtime.gpu.cdi_generate import Driver, nvidia_spec
from flyte_images_runtime.gpu.cdi_names import write_spec
from tests.fakes.nvml import Driver as StandIn
from tests.fakes.nvml import make

pytestmark = pytest.mark.engine

PROGRAM = """
import errno, json, os, sys, time
import flyte_images as flyte

env = flyte.TaskEnvironment(
    name="cards",
    limits=flyte.Resources(cpu="1", memory="256Mi", gpu=sys.argv[1] if len(sys.argv) > 1 else "H200:1"),
    network="none",
    gpu_wait=float(os.environ.get("GPU_WAIT", "0")),
)

@env.task
def look(seconds: float) -> dict[str, str]:
    print("looking", flush=True)
    time.sleep(seconds)
    found = {}
    for name in ("nvidia0", "nvidia1", "nvidiactl"):
        try:
            os.close(os.open("/dev/" + name, os.O_RDWR))
            found[name] = "ok"
        except OSError as error:
            found[name] = errno.errorcode[error.errno]
    return found

if __name__ == "__main__":
    try:
        if "NO_CDI" in os.environ:  # an engine from before it, or where it is switched off
            flyte.run.state.engines.docker().facts["CDISpecDirs"] = None
        run = flyte.run.using(engine=os.environ.get("ENGINE", "auto"))
        done = run(look, seconds=float(sys.argv[2]))
        metrics = done.metrics
        use = {"memory": metrics.gpu_peak_memory, "share": metrics.gpu_utilisation}
        print(json.dumps(use if "METRICS" in os.environ else done.result))
    except Exception as error:
        print(json.dumps({"error": type(error).__name__, "message": str(error)}))
"""
# no driver answers for the nodes: ENXIO means that the process may open the device
FIRST = {"nvidia0": "ENXIO", "nvidia1": "ENOENT", "nvidiactl": "ENXIO"}
SECOND = {"nvidia0": "ENOENT", "nvidia1": "ENXIO", "nvidiactl": "ENXIO"}


@dataclass(frozen=True)
class Machine:
    """Set up a machine with two H200, for the driver's library and the engine's CDI files."""

    driver: StandIn
    program: Path
    leases: Path

    def start(self, gpu: str, seconds: float, **environ: str) -> subprocess.Popen[str]:
        settings = {**self.driver.environ(), **_home(), "FLYTE_IMAGES_LEASES": str(self.leases), **environ}
        argv = (sys.executable, str(self.program), gpu, str(seconds))
        return subprocess.Popen(argv, env=settings, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self, gpu: str, **environ: str) -> dict[str, str]:
        return answer(self.start(gpu, 0, **environ))


def _home() -> dict[str, str]:
    return {name: os.environ[name] for name in ("HOME", "DOCKER_HOST", "FLYTE_IMAGES_CACHE") if name in os.environ}


def answer(process: subprocess.Popen[str]) -> dict[str, str]:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    found: dict[str, str] = json.loads(out.strip().splitlines()[-1])
    return found


@pytest.fixture
def machine(dev: Path, tmp_path: Path) -> Iterator[Machine]:
    name = secrets.token_hex(4)
    uuids = [f"GPU-{name}-{at}" for at in (0, 1)]
    stand_in = make(tmp_path).cards(*(f"NVIDIA H200|{uuid}|{at}|143771||" for at, uuid in enumerate(uuids)))
    cards = [
        Card(family="nvidia", index=f"{name}-{at}", name="NVIDIA H200", uuid=uuid, nodes=(str(dev / f"nvidia{at}"),))
        for at, uuid in enumerate(uuids)
    ]
    spec = Path("/etc/cdi") / f"flyte-images-test-{name}.json"
    write_spec(nvidia_spec(cards, Driver(version="1", libraries=(), nodes=(str(dev / "nvidiactl"),))), spec, "nvidia")
    program = tmp_path / "program/program.py"  # alone in its directory, which goes into the container
    program.parent.mkdir()
    program.write_text(textwrap.dedent(PROGRAM))
    yield Machine(stand_in, program, tmp_path / "leases")
    spec.unlink()


@pytest.mark.parametrize("engine", ["docker", *(["oci"] if os.getuid() == 0 else [])])
def test_a_task_has_only_the_requested_card(machine: Machine, engine: str) -> None:
    assert machine.run("H200:1", ENGINE=engine) == FIRST
    assert machine.run("H200:2", ENGINE=engine) == {"nvidia0": "ENXIO", "nvidia1": "ENXIO", "nvidiactl": "ENXIO"}
    assert machine.run("0", ENGINE=engine) == {"nvidia0": "ENOENT", "nvidia1": "ENOENT", "nvidiactl": "ENOENT"}


def test_two_programs_never_share_a_card_and_a_third_gets_an_error(machine: Machine) -> None:
    first, second = machine.start("H200:1", 20), machine.start("H200:1", 20)
    try:
        for process in (first, second):
            assert process.stderr is not None
            while "looking" not in (line := process.stderr.readline()):
                assert line, "a program ended before its task began"
        refused = machine.run("H200:1")
        assert refused["error"] == "DeviceError"
        assert "0 of 2 free" in refused["message"]
        assert "cards.look" in refused["message"]
        waiting = machine.start("H200:1", 0, GPU_WAIT="120")
        found = [answer(process) for process in (first, second)]
        assert sorted(map(str, found)) == sorted(map(str, (FIRST, SECOND)))
        assert answer(waiting) in (FIRST, SECOND)
    finally:
        for process in (first, second):
            process.kill()
            process.communicate()


@pytest.mark.parametrize("engine", ["docker", *(["oci"] if os.getuid() == 0 else [])])
def test_the_cards_of_a_program_that_was_killed_are_free_again(machine: Machine, engine: str) -> None:
    killed = machine.start("H200:2", 600, ENGINE=engine)
    assert killed.stderr is not None
    while "looking" not in (line := killed.stderr.readline()):
        assert line, "the program ended before its task began"
    assert machine.run("H200:1", ENGINE=engine)["error"] == "DeviceError"
    killed.kill()
    killed.communicate()
    both = {"nvidia0": "ENXIO", "nvidia1": "ENXIO", "nvidiactl": "ENXIO"}
    assert machine.run("H200:2", ENGINE=engine, GPU_WAIT="120") == both


def test_an_error_about_a_missing_card_lists_the_present_cards(machine: Machine) -> None:
    refused = machine.run("A10G:1")
    assert refused["message"] == "asked for 1 x NVIDIA A10G; this host has 2 x NVIDIA H200"


def test_an_engine_without_cdi_gets_the_parts(machine: Machine) -> None:
    assert machine.run("H200:1", ENGINE="docker", NO_CDI="1") == FIRST
    assert machine.run("0", ENGINE="docker", NO_CDI="1")["nvidia0"] == "ENOENT"


@pytest.mark.parametrize("engine", ["docker", *(["oci"] if os.getuid() == 0 else [])])
def test_the_metrics_have_the_load_of_the_cards(machine: Machine, engine: str) -> None:
    use = machine.program.parent.parent / "use"
    use.write_text("".join(f"{line.split('|')[1]}|1000|50\n" for line in machine.driver.table.read_text().splitlines()))
    settings = {"ENGINE": engine, "METRICS": "1", "NVML_STAND_IN_USE": str(use)}
    assert answer(machine.start("H200:2", 1.0, **settings)) == {"memory": 2000 << 20, "share": 0.5}
    assert answer(machine.start("0", 0, **settings)) == {"memory": None, "share": None}


@pytest.mark.parametrize("engine", ["docker", *(["oci"] if os.getuid() == 0 else [])])
def test_a_shell_has_the_card_of_its_environment(machine: Machine, engine: str) -> None:
    app = machine.program.with_name("app.py")
    env = 'flyte.TaskEnvironment(name="cards", limits=flyte.Resources(gpu="H200:1"), network="none")'
    app.write_text(f"import flyte_images as flyte\nenv = {env}\n")
    code = "import sys; from flyte_images.cli.main import main; sys.exit(main())"
    options = ("shell", "--progress=quiet", "--engine", engine, str(app), "--")
    look = ("sh", "-c", "ls /dev | grep nvidia; : </dev/nvidia0")
    settings = {**machine.driver.environ(), **_home(), "FLYTE_IMAGES_LEASES": str(machine.leases)}
    done = subprocess.run((sys.executable, "-c", code, *options, *look), env=settings, capture_output=True, text=True)
    assert done.stdout == "nvidia0\nnvidiactl\n", done.stderr
    assert "No such device or address" in done.stderr, "it may be opened, and has no driver behind it"
