"""The oci engine alone: its seccomp filter, images of many layers, and what is left after everything is killed."""

from __future__ import annotations

import json
import os
import queue
import re
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from flyte_images_runtime.cgroup import group_names
from flyte_images_runtime.engines.docker import DockerEngine
from flyte_images_runtime.engines.oci import OciEngine
from flyte_images_runtime.engines.oci.program import find
from flyte_images_runtime.errors import DiskFull, ImageCannotStart
from flyte_images_runtime.execution.execute import Finished, call_document, execute
from flyte_images_runtime.oci import snapshots
from flyte_images_runtime.oci.images import Images
from flyte_images_runtime.resources.limits import Limits
from flyte_images_runtime.task.engine import OnLine
from flyte_images_runtime.task.exchange import make_exchange
from flyte_images_runtime.task.spec import Code, Hardening, Mount, Network, TaskSpec

pytestmark = [pytest.mark.engine, pytest.mark.skipif(os.getuid() != 0, reason="the oci engine is for root")]
CONTRACT = str(Path(__file__).with_name("contract"))
PROGRAMS = [name for name in ("crun", "runc") if find([name])]


@pytest.fixture(autouse=True)
def nothing_is_kept(tmp_path: Path) -> Iterator[None]:
    """Let the engine collect the layers that a test has used."""
    yield
    Images(tmp_path / "store").release()


# For each call number, the answer to nonsense. e: not permitted, n: not implemented, x: anything else.
PROBE = r"""
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
int main(void) {
    for (long number = 0; number < 480; number++) {
        int ends[2];
        char told = 'x';
        if (pipe(ends)) return 1;
        pid_t child = fork();
        if (child == 0) {
            alarm(1);
            setpgid(0, 0);
            errno = 0;
            long result = syscall(number, -1L, -1L, -1L, -1L, -1L, -1L);
            if (result == -1) told = errno == EPERM ? 'e' : errno == ENOSYS ? 'n' : 'x';
            write(ends[1], &told, 1);
            _exit(0);
        }
        close(ends[1]);
        read(ends[0], &told, 1);
        close(ends[0]);
        kill(child, SIGKILL);
        waitpid(child, 0, 0);
        putchar(told);
    }
    return 0;
}
"""


def _engine(store: Path, docker: DockerEngine, program: str) -> OciEngine:
    return OciEngine(store, docker=docker.api, program=find([program]))


def _call(
    engine: DockerEngine | OciEngine,
    image: str,
    function: str,
    *,
    mounts: tuple[Mount, ...] = (),
    limits: Limits | None = None,
    hardening: Hardening | None = None,
    network: Network = "none",
    devices: tuple[str, ...] = (),
    on_line: OnLine | None = None,
    **arguments: object,
) -> Finished:
    spec = TaskSpec(
        task=function,
        image=image,
        code=Code(module="tasks", qualname=function, roots=(CONTRACT,)),
        network=network,
        devices=devices,
        limits=limits or Limits(cpu=Decimal(1), memory=256 << 20),
        mounts=mounts,
        hardening=hardening or Hardening(),
    )
    exchange = make_exchange()
    try:
        exchange.write_call(call_document(spec, arguments, secrets={}))
        return execute(engine, spec, exchange, on_line=on_line)
    finally:
        exchange.remove()


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_filter_answers_each_call_like_docker_s(
    engine: DockerEngine, image: str, tmp_path: Path, program: str
) -> None:
    (tmp_path / "probe.c").write_text(PROBE)
    subprocess.run(("gcc", "-static", "-O1", "-w", "-o", tmp_path / "probe", tmp_path / "probe.c"), check=True)
    numbers = subprocess.run(
        ("gcc", "-E", "-dM", "-"), input=b"#include <asm/unistd.h>", stdout=subprocess.PIPE, check=True
    )
    names = {
        int(number): name for name, number in re.findall(r"#define __NR_(\w+) (\d+)$", numbers.stdout.decode(), re.M)
    }
    tmp_path.chmod(0o755)
    mounts = (Mount(source=str(tmp_path), target="/probe"),)
    docker, ours = (
        _call(one, image, "run", mounts=mounts, argv=["/probe/probe"]).result
        for one in (engine, _engine(tmp_path / "store", engine, program))
    )
    assert len(docker) == len(ours) == 480
    different = {names[number]: (docker[number], ours[number]) for number in names if docker[number] != ours[number]}
    assert different.keys() <= {"personality"}  # another answer to a nonsensical argument
    unknown = {number for number in range(480) if number not in names and ours[number] != docker[number]}
    assert {ours[number] for number in unknown} <= {"n"}  # so that programs fall back to older calls


def test_an_image_of_many_layers_is_used_in_place(engine: DockerEngine, image: str, tmp_path: Path) -> None:
    name = f"flyte-images-test-layers:{secrets.token_hex(4)}"
    steps = "".join(f"COPY file /layer/{number}\n" for number in range(90))
    (tmp_path / "file").write_text("one of many")
    (tmp_path / "Dockerfile").write_text(f"FROM {image}\n{steps}")
    subprocess.run(("docker", "build", "-q", "-t", name, tmp_path), check=True, capture_output=True)
    try:
        oci = _engine(tmp_path / "store", engine, PROGRAMS[0])
        rootfs = oci.images.find(name)
        assert len(rootfs.layers) > 90
        assert all("/snapshots/" in layer for layer in rootfs.layers)  # no copy
        finished = _call(oci, name, "attempt", paths=["/layer/0", "/layer/89"], mode="rb")
        assert finished.result == ["ok 11", "ok 11"]
    finally:
        subprocess.run(("docker", "image", "rm", "-f", name), check=True, capture_output=True)


def test_a_record_with_missing_layers_is_made_again(engine: DockerEngine, image: str, tmp_path: Path) -> None:
    images = _engine(tmp_path / "store", engine, PROGRAMS[0]).images
    found = images.find(image)
    (record,) = (tmp_path / "store").glob("*.json")
    record.write_text(json.dumps({**json.loads(record.read_text()), "layers": ["/gone"]}))
    assert images.find(image) == found
    record.write_text("not a record")
    assert images.find(image) == found
    with pytest.raises(ImageCannotStart, match="is not an absolute path of a directory"):
        images.find("dir:/no/such/place")


def _small(engine: DockerEngine, place: Path) -> str:
    """Give an image of one file, which a test may remove."""
    (place / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /file\nENV WHO=me\n")
    name = f"flyte-images-test-small:{secrets.token_hex(4)}"
    subprocess.run(("docker", "build", "-q", "-t", name, place), check=True, capture_output=True)
    return name


def test_an_image_with_invisible_layers_is_copied(
    engine: DockerEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = _small(engine, tmp_path)
    images = _engine(tmp_path / "store", engine, PROGRAMS[0]).images
    try:
        monkeypatch.setattr(snapshots, "SOCKETS", ())
        rootfs = images.find(name)
        assert (Path(rootfs.layers[0]) / "file").read_text().startswith("FROM scratch")
        assert rootfs.layers[0].startswith(str(tmp_path / "store/layers"))
        assert "WHO=me" in rootfs.env
        assert images.find(name) == rootfs
        assert images.prune() == 0
    finally:
        subprocess.run(("docker", "image", "rm", "-f", name), check=True, capture_output=True)
    assert images.prune(grace=0) == 2  # the record and the layer
    assert not Path(rootfs.layers[0]).exists()


def test_images_that_docker_removed_are_released(engine: DockerEngine, tmp_path: Path) -> None:
    name = _small(engine, tmp_path)
    images = _engine(tmp_path / "store", engine, PROGRAMS[0]).images
    rootfs = images.find(name)
    assert _views(rootfs.kept)
    subprocess.run(("docker", "image", "rm", "-f", name), check=True, capture_output=True)
    assert rootfs.is_there()  # a task may be using it
    assert images.prune() == 1
    assert not _views(rootfs.kept)
    subprocess.run(("docker", "build", "-q", "-t", name, tmp_path), check=True, capture_output=True)
    try:
        assert images.find(name).is_there()
    finally:
        subprocess.run(("docker", "image", "rm", "-f", name), check=True, capture_output=True)
        images.prune()


def _views(key: str) -> list[str]:
    """Return what containerd keeps under that key."""
    found = []
    for socket_ in snapshots.reachable():
        argv = ("ctr", "-a", socket_, "-n", "moby", "snapshots", "ls")
        found += [line.split()[0] for line in subprocess.run(argv, capture_output=True, text=True).stdout.splitlines()]
    return [name for name in found if name == key]


def _pipe(argv: tuple[str, ...], place: Path) -> None:
    """Unpack the archive that a program writes."""
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        subprocess.run(("tar", "-x", "-C", place), stdin=process.stdout, check=True)
    assert process.returncode == 0


def _unpacked(image: str, place: Path) -> Path:
    """Give a directory with the image's files, as another tool would leave them."""
    name = f"flyte-images-test-{secrets.token_hex(4)}"
    subprocess.run(("docker", "create", "--name", name, image, "true"), check=True, capture_output=True)
    try:
        place.mkdir()
        _pipe(("docker", "export", name), place)
    finally:
        subprocess.run(("docker", "rm", name), check=True, capture_output=True)
    return place


@pytest.mark.parametrize("form", ["dir", "oci-layout"])
def test_images_need_no_docker(image: str, tmp_path: Path, form: str) -> None:
    if form == "dir":
        reference = f"dir:{_unpacked(image, tmp_path / 'root')}"
    else:
        (tmp_path / "layout").mkdir()
        _pipe(("docker", "save", image), tmp_path / "layout")
        reference = f"oci-layout:{tmp_path / 'layout'}"
    alone = OciEngine(tmp_path / "store", program=find(PROGRAMS[:1]))
    finished = _call(alone, reference, "add", one=20, other=22)
    assert finished.error is None, finished.error
    assert finished.result == 42


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_device_s_hooks_are_run(engine: DockerEngine, image: str, tmp_path: Path, program: str) -> None:
    """A hook as in NVIDIA's own specifications: a program of the maker that prepares the container's files."""
    kind = f"flyte-images.test/h{secrets.token_hex(4)}"
    script = tmp_path / "hook"
    script.write_text(f"#!/bin/sh\ncat >{tmp_path}/state\necho $1 $MADE_BY >{tmp_path}/ran\n")
    script.chmod(0o755)
    hook = {"hookName": "createContainer", "path": str(script), "args": ["hook", "prepare"], "env": ["MADE_BY=us"]}
    device = {"name": "0", "containerEdits": {"hooks": [hook]}}
    file = Path("/etc/cdi") / f"{kind.partition('/')[2]}.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({"cdiVersion": "0.5.0", "kind": kind, "devices": [device]}))
    try:
        done = _call(_engine(tmp_path / "store", engine, program), image, "add", devices=(f"{kind}=0",), one=1, other=2)
        assert done.result == 3
        assert (tmp_path / "ran").read_text() == "prepare us\n"
        assert json.loads((tmp_path / "state").read_text())["bundle"]
    finally:
        file.unlink()


def test_tasks_do_not_reach_each_other(engine: DockerEngine, image: str, tmp_path: Path) -> None:
    oci = _engine(tmp_path / "store", engine, PROGRAMS[0])
    addresses: queue.Queue[str] = queue.Queue()
    server = threading.Thread(
        target=lambda: _call(
            oci, image, "serve", network="outbound", on_line=lambda _, line: addresses.put(line), seconds=15
        )
    )
    server.start()
    try:
        address = addresses.get(timeout=60)
        with socket.socket() as link, pytest.raises(OSError):  # nor does the task answer to this machine
            link.settimeout(1)
            link.connect((address, 8080))
        assert _call(oci, image, "reach", network="outbound", host=address, port=8080).result != "hello"
    finally:
        server.join()


@pytest.mark.parametrize("read_only_root", [True, False])
def test_a_disk_has_the_requested_size(engine: DockerEngine, image: str, tmp_path: Path, read_only_root: bool) -> None:
    oci = _engine(tmp_path / "store", engine, PROGRAMS[0])
    options: dict[str, Any] = {
        "limits": Limits(cpu=Decimal(1), memory=256 << 20, disk=64 << 20),
        "hardening": Hardening(user="0:0", read_only_root=read_only_root),
    }
    place = "/tmp/file" if read_only_root else "/opt/file"
    assert _call(oci, image, "fill", path=place, mebibytes=40, **options).result == 40
    full = _call(oci, image, "fill", path=place, mebibytes=100, **options).error
    assert isinstance(full, DiskFull), full


CLIENT = """
import sys
from decimal import Decimal
from pathlib import Path
from flyte_images_runtime.engines.docker import DockerEngine
from flyte_images_runtime.engines.oci import OciEngine
from flyte_images_runtime.engines.oci.program import find
from flyte_images_runtime.task.exchange import make_exchange
from flyte_images_runtime.execution.execute import call_document, execute
from flyte_images_runtime.resources.limits import Limits
from flyte_images_runtime.system.process_id import current
from flyte_images_runtime.task.spec import Code, TaskSpec
store, program, image, contract, address = sys.argv[1:]
engine = OciEngine(Path(store), docker=DockerEngine(address).api, program=find([program]))
code = Code(module="tasks", qualname="sleep", roots=(contract,))
spec = TaskSpec(task="t", image=image, code=code, network="outbound", limits=Limits(cpu=Decimal(1), memory=256 << 20))
print(current(), flush=True)
while True:
    exchange = make_exchange()
    exchange.write_call(call_document(spec, {"seconds": 30}, secrets={}))
    execute(engine, spec, exchange)
"""


def _mounts() -> set[str]:
    """Return our mounts in this namespace, with their numbers, which stay the same as long as they exist.

    Mounts shown to other engines, below directories named by their user, are left out.
    """
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return {line for line in lines if "flyte-images" in line and "/flyte-images-" not in line.split()[4]}


def _of_owner(owner: str) -> list[str]:
    """Return the processes that run in a cgroup of the owner."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cgroup"):
        try:
            if owner in path.read_text():
                found.append(path.parent.name)
        except OSError:
            continue
    return found


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_killed_client_leaves_nothing(engine: DockerEngine, image: str, tmp_path: Path, program: str) -> None:
    from flyte_images_runtime.engines.reaper import sweep

    before = _mounts()
    for after in (0.0, 0.05, 0.15, 0.6):
        argv = (sys.executable, "-c", CLIENT, tmp_path / "store", program, image, CONTRACT, engine.api.address)
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        client = subprocess.Popen(argv, env=environ, stdout=subprocess.PIPE, text=True)
        assert client.stdout is not None
        owner = client.stdout.readline().strip()
        time.sleep(after)
        client.send_signal(signal.SIGKILL)
        client.communicate()
        quiet, deadline = 0, time.monotonic() + 60
        while quiet < 20 and time.monotonic() < deadline:  # a container that is being made appears a moment later
            quiet = 0 if _of_owner(owner) else quiet + 1
            time.sleep(0.05)
        assert _of_owner(owner) == []
        assert _mounts() - before == set()
        sweep(engine.api.address, owner)
        assert group_names(owner) == set()
