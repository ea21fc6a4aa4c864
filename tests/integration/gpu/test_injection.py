"""A leased card reaches a container of the real engine, and no other card does: real CDI, real device cgroup."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from flyte_images_runtime.errors import DeviceError
from flyte_images_runtime.gpu import Allocation, Card, Inventory, allocate
from flyte_images_runtime.gpu.cdi_generate import Driver, nvidia_spec
from flyte_images_runtime.gpu.cdi_names import write_spec
from flyte_images_runtime.resources.accelerators import GPURequest

pytestmark = [pytest.mark.engine, pytest.mark.skipif(os.getuid() != 0, reason="device nodes and /etc/cdi are root's")]
CDI = Path("/etc/cdi")


class Machine:
    """Make two cards that the engine knows only by a specification of this test."""

    def __init__(self, dev: Path, place: Path) -> None:
        self.name = secrets.token_hex(6)
        self.environ = {"FLYTE_IMAGES_LEASES": str(place / "leases")}
        self.cards = tuple(
            Card(
                family="nvidia",
                index=f"{self.name}-{at}",
                name="NVIDIA H200",
                uuid=f"GPU-{self.name}-{at}",
                nodes=(str(dev / f"nvidia{at}"),),
            )
            for at in (0, 1)
        )
        library = place / "libcuda.so.580.1"
        library.write_text("the driver")
        driver = Driver(version="580.1", libraries=((str(library), "libcuda.so.1"),), nodes=(str(dev / "nvidiactl"),))
        self.spec = CDI / f"flyte-images-test-{self.name}.json"
        write_spec(nvidia_spec(self.cards, driver, machine="x86_64"), self.spec, "nvidia")

    def allocate(self, count: int = 1) -> Allocation:
        return allocate(
            GPURequest(count=count, family="nvidia", model="H200"),
            environ=self.environ,
            directories=[CDI],
            look=lambda _: Inventory(cards=self.cards),
        )


@pytest.fixture
def machine(dev: Path, tmp_path: Path) -> Iterator[Machine]:
    made = Machine(dev, tmp_path)
    yield made
    made.spec.unlink()


def _inside(image: str, gpus: Allocation, script: str, *options: str) -> str:
    devices = [f"--device={name}" for name in gpus.devices]
    argv = (
        "docker",
        "run",
        "--rm",
        "--network=none",
        "--pull=never",
        *devices,
        *options,
        image,
        "sh",
        "-c",
        f"({script}) 2>&1",
    )
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr  # the engine's own message too


HARDENED = ("--cap-drop=ALL", "--security-opt=no-new-privileges", "--read-only", "--user=1000:1000")


@pytest.mark.parametrize("options", [(), HARDENED], ids=["plain", "hardened"])
def test_only_the_leased_card_is_in_the_container(busybox: str, machine: Machine, options: tuple[str, ...]) -> None:
    with machine.allocate() as first, machine.allocate() as second:
        # allowed: ENXIO, since no driver answers
        assert "No such device or address" in _inside(busybox, first, "cat /dev/nvidia0", *options)
        assert "No such file or directory" in _inside(busybox, first, "cat /dev/nvidia1", *options)
        assert "No such device or address" in _inside(busybox, second, "cat /dev/nvidia1", *options)
        assert "No such file or directory" in _inside(busybox, second, "cat /dev/nvidia0", *options)
        assert "No such device or address" in _inside(busybox, first, "cat /dev/nvidiactl", *options)


def test_a_node_that_a_task_makes_itself_opens_nothing(busybox: str, machine: Machine) -> None:
    with machine.allocate() as gpus:
        told = _inside(busybox, gpus, "mknod /tmp-nvidia1 c 195 1; cat /tmp-nvidia1", "--cap-add=MKNOD")
    assert "Operation not permitted" in told
    assert "No such device or address" not in told


def test_the_driver_is_there_and_cannot_be_changed(busybox: str, machine: Machine) -> None:
    library = "/usr/lib/x86_64-linux-gnu/libcuda.so.1"
    with machine.allocate() as gpus:
        assert _inside(busybox, gpus, f"cat {library}") == "the driver"
        assert "Read-only file system" in _inside(busybox, gpus, f"echo x > {library}")
        assert "NVIDIA_VISIBLE_DEVICES=void" in _inside(busybox, gpus, "env")


def test_several_cards_come_together(busybox: str, machine: Machine) -> None:
    with machine.allocate(2) as gpus:
        assert _inside(busybox, gpus, "ls /dev/nvidia*").split() == ["/dev/nvidia0", "/dev/nvidia1", "/dev/nvidiactl"]
        with pytest.raises(DeviceError, match="0 of 2 free"):
            machine.allocate()


def test_the_lease_ends_with_the_container_after_the_client_s_death(busybox: str, machine: Machine) -> None:
    gpus = machine.allocate(2)
    name = f"flyte-images-test-{machine.name}"
    devices = [f"--device={device}" for device in gpus.devices]
    start = ("docker", "run", "--rm", "-d", "--network=none", f"--name={name}", *devices, busybox, "sleep", "60")
    subprocess.run(start, check=True, capture_output=True)
    try:
        ask = ("docker", "inspect", "-f", "{{.State.Pid}}", name)
        gpus.hold_while(int(subprocess.run(ask, check=True, capture_output=True, text=True).stdout))
        for fd in gpus.fds:  # as the kernel does for a killed client
            os.close(fd)
        with pytest.raises(DeviceError, match="0 of 2 free"):
            machine.allocate()
    finally:
        subprocess.run(("docker", "rm", "-f", name), check=True, capture_output=True)
    allocate(
        GPURequest(count=2, family="nvidia", model="H200"),
        environ=machine.environ,
        directories=[CDI],
        wait=20,
        look=lambda _: Inventory(cards=machine.cards),
    ).release()
