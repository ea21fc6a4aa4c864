"""The load of a task's cards comes from the driver's library, or from the kernel's files."""

from __future__ import annotations

from pathlib import Path

from flyte_images_runtime.gpu import Card
from flyte_images_runtime.gpu.utilization import watching

from ....fakes.nvml import Driver

LOOK = """
from flyte_images_runtime.gpu import Card
from flyte_images_runtime.gpu.utilization import watching
from pathlib import Path

cards = [Card(family="nvidia", index="0", name="", uuid=uuid) for uuid in UUIDS]
found = []
with watching(cards) as look:
    for use in USES:
        Path(PLACE).write_text(use)
        found.append(look())
answer(found)
"""


def test_nvidia_cards_are_asked_again_each_time(driver: Driver, tmp_path: Path) -> None:
    driver.cards("NVIDIA H200|GPU-a|0|143771||", "NVIDIA H200|GPU-b|1|143771||")
    uses = ["GPU-a|100|50\nGPU-b|20|100\n", "GPU-a|300|0\n"]
    code = f"UUIDS = ['GPU-a', 'GPU-b']\nUSES = {uses!r}\nPLACE = {str(tmp_path / 'use')!r}\n" + LOOK
    found = driver.ask(code, NVML_STAND_IN_USE=str(tmp_path / "use"))
    assert found == [[120 << 20, 0.75], [300 << 20, 0.0]]


def test_a_partition_reports_only_its_memory(driver: Driver, tmp_path: Path) -> None:
    driver.cards("NVIDIA H200|GPU-a|0|143771||1g.18gb 2g.35gb")
    code = f"UUIDS = ['MIG-a-1']\nUSES = ['MIG-a-1|7|9']\nPLACE = {str(tmp_path / 'use')!r}\n" + LOOK
    assert driver.ask(code, NVML_STAND_IN_USE=str(tmp_path / "use")) == [[7 << 20, None]]


def test_a_lost_card_and_a_lost_driver_report_nothing(driver: Driver, tmp_path: Path) -> None:
    driver.cards("NVIDIA H200|GPU-a|0|143771||")
    code = f"UUIDS = ['GPU-gone']\nUSES = ['']\nPLACE = {str(tmp_path / 'use')!r}\n" + LOOK
    assert driver.ask(code) == [[None, None]]
    assert driver.ask(code, NVML_STAND_IN=str(tmp_path / "nowhere")) == [[None, None]]


def test_amd_cards_are_read_from_the_kernel(tmp_path: Path) -> None:
    device = tmp_path / "class/drm/renderD128/device"
    device.mkdir(parents=True)
    (device / "mem_info_vram_used").write_text("4096\n")
    (device / "gpu_busy_percent").write_text("25\n")
    nodes = ("/dev/kfd", "/dev/dri/renderD128", "/dev/dri/card0")
    card = Card(family="amd", index="0", name="AMD Instinct MI300X", uuid="AMD-1", nodes=nodes)
    with watching([card], sys=tmp_path) as look:
        assert look() == (4096, 0.25)
        (device / "gpu_busy_percent").unlink()
        assert look() == (4096, None)
