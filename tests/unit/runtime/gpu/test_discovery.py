"""NVIDIA cards through the real client library on a stand-in driver; AMD cards from the kernel's tables."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from flyte_images_runtime.gpu.amd import amd

from ....fakes.nvml import VERSION, Driver

H200 = "NVIDIA H200|GPU-11111111-0000-4000-8000-000000000001|0|143771||"
T4 = "Tesla T4|GPU-22222222-0000-4000-8000-000000000002|3|15360|4242 17|"
A100 = "NVIDIA A100-SXM4-40GB|GPU-33333333-0000-4000-8000-000000000003|1|40960||1g.5gb 2g.10gb"
GB10 = "NVIDIA GB10|GPU-44444444-0000-4000-8000-000000000004|2|0||"
LOOK = """
from dataclasses import asdict
from pathlib import Path
from flyte_images_runtime.gpu.nvml import nvidia
found = nvidia(proc=Path(sys.argv[1] if sys.argv[1:] else "/proc"))
answer(asdict(found))
"""


def test_each_card_is_found_with_the_nodes_for_a_container(driver: Driver) -> None:
    found = driver.cards(H200, T4, GB10).ask(LOOK)
    assert found["problems"] == []
    told = [
        (card["index"], card["name"], card["uuid"][:12], card["memory"] >> 20, card["nodes"]) for card in found["cards"]
    ]
    assert told == [
        ("0", "NVIDIA H200", "GPU-11111111", 143771, ["/dev/nvidia0"]),
        ("1", "Tesla T4", "GPU-22222222", 15360, ["/dev/nvidia3"]),  # the node has the minor number, not the index
        ("2", "NVIDIA GB10", "GPU-44444444", 0, ["/dev/nvidia2"]),
    ]
    assert found["cards"][1]["processes"] == [17, 4242]


def test_the_instances_of_a_partitioned_card_are_found(driver: Driver, tmp_path: Path) -> None:
    for instance, minor in ((7, 12), (8, 21)):
        below = tmp_path / f"driver/nvidia/capabilities/gpu1/mig/gi{instance}"
        (below / "ci0").mkdir(parents=True)
        (below / "access").write_text(f"DeviceFileMinor: {minor}\nDeviceFileMode: 292\n")
        (below / "ci0/access").write_text(f"DeviceFileMinor: {minor + 1}\nDeviceFileMode: 292\n")
    found = driver.cards(A100).ask(LOOK.replace('sys.argv[1] if sys.argv[1:] else "/proc"', repr(str(tmp_path))))
    parts = [(card["index"], card["partition"], card["memory"] >> 30, card["nodes"]) for card in found["cards"]]
    assert parts == [
        ("0:0", "1g.5gb", 5, ["/dev/nvidia1", "/dev/nvidia-caps/nvidia-cap12", "/dev/nvidia-caps/nvidia-cap13"]),
        ("0:1", "2g.10gb", 10, ["/dev/nvidia1", "/dev/nvidia-caps/nvidia-cap21", "/dev/nvidia-caps/nvidia-cap22"]),
    ]
    assert {card["parent"][:12] for card in found["cards"]} == {"GPU-33333333"}


def test_a_missing_driver_device_and_library_have_different_messages(driver: Driver, tmp_path: Path) -> None:
    assert driver.ask(LOOK)["problems"] == ["no NVIDIA GPU: the driver is not loaded"]
    assert driver.cards().ask(LOOK)["problems"] == ["no NVIDIA GPU: the driver has none"]
    assert driver.ask(LOOK, LD_LIBRARY_PATH="")["problems"] == ["no NVIDIA GPU: libnvidia-ml.so.1 not found"]
    without = "import sys\nsys.modules['pynvml'] = None\n"
    assert driver.ask(without + LOOK)["problems"] == ["no NVIDIA GPU: no driver is loaded"]
    (tmp_path / "driver/nvidia").mkdir(parents=True)
    (tmp_path / "driver/nvidia/version").touch()
    told = driver.ask(without + LOOK.replace('sys.argv[1] if sys.argv[1:] else "/proc"', repr(str(tmp_path))))[
        "problems"
    ]
    assert "pip install 'flyte-images[gpu]'" in told[0]


def test_the_driver_s_directory_is_where_its_library_was_loaded_from(driver: Driver) -> None:
    code = "from flyte_images_runtime.gpu.nvml import driver\nanswer(driver())"
    assert driver.cards(H200).ask(code) == [VERSION, str(driver.directory)]
    assert driver.ask(code, LD_LIBRARY_PATH="") is None


def test_the_client_library_is_loaded_on_first_use(driver: Driver) -> None:
    code = "import sys, flyte_images_runtime.gpu; sys.exit('pynvml' in sys.modules or 'yaml' in sys.modules)"
    assert subprocess.run((sys.executable, "-c", code), env=driver.environ()).returncode == 0


def _amd_machine(root: Path) -> None:
    nodes = root / "sys/class/kfd/kfd/topology/nodes"
    for number, gpu, minor in ((0, 0, 0), (1, 51234, 128), (2, 7001, 129)):
        (nodes / str(number)).mkdir(parents=True)
        (nodes / str(number) / "gpu_id").write_text(f"{gpu}\n")
        (nodes / str(number) / "properties").write_text(f"cpu_cores_count 0\ndrm_render_minor {minor}\nunique_id 0\n")
    for minor, bus in ((128, "0000:c1:00.0"), (129, "0000:c2:00.0")):
        device = root / "sys/devices" / bus
        (device / "drm" / f"card{minor - 127}").mkdir(parents=True)
        (device / "device").write_text("0x74a1\n")
        (device / "mem_info_vram_total").write_text(f"{192 << 30}\n")
        (root / f"sys/class/drm/renderD{minor}").mkdir(parents=True)
        (root / f"sys/class/drm/renderD{minor}/device").symlink_to(device)
    (root / "sys/devices/0000:c1:00.0/product_name").write_text("AMD Instinct MI300X OAM\n")
    (root / "sys/devices/0000:c1:00.0/unique_id").write_text("7bd8a1c2\n")
    used = root / "sys/class/kfd/kfd/proc/4242"
    used.mkdir(parents=True)
    (used / "vram_7001").write_text("1048576\n")
    (used / "vram_51234").write_text("0\n")


def test_amd_cards_come_from_the_kernel_s_tables(tmp_path: Path) -> None:
    _amd_machine(tmp_path)
    found = amd(sys=tmp_path / "sys")
    assert [(card.index, card.name, card.uuid, card.memory >> 30, card.processes) for card in found.cards] == [
        ("0", "AMD Instinct MI300X OAM", "AMD-7bd8a1c2", 192, ()),
        ("1", "AMD Instinct MI300X", "AMD-0000:c2:00.0", 192, (4242,)),
    ]
    assert found.cards[0].nodes == ("/dev/kfd", "/dev/dri/renderD128", "/dev/dri/card1")
    assert amd(sys=tmp_path / "none").problems == ("no AMD GPU: the driver amdgpu is not loaded",)


def test_a_search_works_on_any_machine() -> None:
    code = "from flyte_images_runtime.gpu import search; print(search())"
    done = subprocess.run(
        (sys.executable, "-c", code), env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, capture_output=True
    )
    assert done.returncode == 0
    assert done.stdout.strip()
