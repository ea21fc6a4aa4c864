"""CDI files: the edits of devices, which file wins, and the file made for cards without one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flyte_images_runtime.errors import DeviceError
from flyte_images_runtime.gpu import cdi_names
from flyte_images_runtime.gpu.cdi import Edits, Hook, Mount, Node, parse, read
from flyte_images_runtime.gpu.cdi_generate import amd_spec, nvidia_spec, read_driver
from flyte_images_runtime.gpu.cdi_names import names_of
from flyte_images_runtime.gpu.device import Card

FULL = """
cdiVersion: 0.6.0
kind: acme.com/gpu
devices:
- name: "0"
  containerEdits:
    deviceNodes:
    - {path: /dev/acme0, hostPath: /host/acme0, permissions: rw, fileMode: 438, uid: 0, gid: 44}
- name: all
  containerEdits: {}
containerEdits:
  env: [ACME=1]
  mounts:
  - {hostPath: /opt/acme.so, containerPath: /usr/lib/acme.so, options: [ro, bind]}
  hooks:
  - {hookName: createContainer, path: /usr/bin/hook, args: [hook, update], env: [A=b], timeout: 5}
  additionalGids: [44]
"""
CARD = Card(family="nvidia", index="0", name="Tesla T4", uuid="GPU-1", nodes=("/dev/nvidia3",))


def _spec(kind: str, **devices: list[str]) -> str:
    listed = [
        {"name": name, "containerEdits": {"deviceNodes": [{"path": node} for node in nodes]}}
        for name, nodes in devices.items()
    ]
    return json.dumps({"cdiVersion": "0.5.0", "kind": kind, "devices": listed})


def test_every_field_of_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "acme.yaml").write_text(FULL)
    assert read([tmp_path]).edits(["acme.com/gpu=0"]) == Edits(
        env=("ACME=1",),
        nodes=(Node(path="/dev/acme0", host="/host/acme0", permissions="rw", mode=0o666, uid=0, gid=44),),
        mounts=(Mount(host="/opt/acme.so", path="/usr/lib/acme.so", options=("ro", "bind")),),
        hooks=(Hook(name="createContainer", path="/usr/bin/hook", args=("hook", "update"), env=("A=b",), timeout=5),),
        groups=(44,),
    )


def test_shared_edits_of_two_devices_come_once(tmp_path: Path) -> None:
    (tmp_path / "acme.yaml").write_text(FULL)
    assert read([tmp_path]).edits(["acme.com/gpu=0", "acme.com/gpu=all"]) == read([tmp_path]).edits(["acme.com/gpu=0"])


def test_of_two_files_with_one_name_the_later_directory_wins(tmp_path: Path) -> None:
    for directory, node in (("etc", "/dev/old"), ("run", "/dev/new")):
        (tmp_path / directory).mkdir()
        (tmp_path / directory / "acme.json").write_text(_spec("acme.com/gpu", one=[node]))
    registry = read([tmp_path / "etc", tmp_path / "run"])
    assert [node.path for node in registry.edits(["acme.com/gpu=one"]).nodes] == ["/dev/new"]
    assert [node.path for node in registry.names("acme.com/gpu")["one"].nodes] == ["/dev/new"]


def test_an_unknown_device_is_refused_with_the_directories(tmp_path: Path) -> None:
    with pytest.raises(DeviceError) as refused:
        read([tmp_path]).edits(["acme.com/gpu=7"])
    assert "acme.com/gpu=7" in str(refused.value)
    assert str(tmp_path) in (refused.value.hint or "")


@pytest.mark.parametrize(
    "text",
    ["", "[", "null", "{}", '{"kind": "a/b", "devices": []}', '{"cdiVersion": "0.5.0", "kind": "x", "devices": []}'],
)
def test_an_invalid_file_is_reported_and_does_not_hide_others(tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.json").write_text(text)
    (tmp_path / "bad.yaml").write_text(text)
    (tmp_path / "good.json").write_text(_spec("acme.com/gpu", one=[]))
    (tmp_path / "notes.txt").write_text("not one of them")
    registry = read([tmp_path, tmp_path / "absent"])
    assert [spec.path.name for spec in registry.specs] == ["good.json"]
    assert len(registry.problems) == 2


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("path: /dev/acme0, ", "", "acme.yaml:8: devices[0].containerEdits.deviceNodes[0].path: Field required"),
        ("fileMode: 438", "fileMode: rw", "acme.yaml:8: devices[0].containerEdits.deviceNodes[0].fileMode: "),
        ("env: [ACME=1]", "env: {}", "acme.yaml:12: containerEdits.env: Input should be a valid tuple, got {}"),
        ("kind: acme.com/gpu", "kind: acme", "acme.yaml:3: kind: "),
        ("devices:", "devices: [", "acme.yaml:5: not YAML: "),
    ],
)
def test_an_error_in_a_file_names_the_line_and_the_field(tmp_path: Path, old: str, new: str, problem: str) -> None:
    (tmp_path / "acme.yaml").write_text(FULL.replace(old, new))
    registry = read([tmp_path])
    assert registry.problems[0].startswith(f"{tmp_path}/{problem}")
    with pytest.raises(DeviceError) as refused:
        registry.edits(["acme.com/gpu=0"])
    assert problem in (refused.value.hint or "")


def test_a_json_file_has_lines_too(tmp_path: Path) -> None:
    (tmp_path / "acme.json").write_text('{"cdiVersion": "0.5.0",\n "kind": "a.b/c",\n "devices": [{"name": []}]}')
    (tmp_path / "bad.json").write_text('{"cdiVersion":\n')
    assert [problem.removeprefix(f"{tmp_path}/").partition(": ")[0] for problem in read([tmp_path]).problems] == [
        "acme.json:3",
        "bad.json:2",
    ]


def test_a_card_gets_a_name_that_still_means_this_card(tmp_path: Path) -> None:
    (tmp_path / "nvidia.json").write_text(_spec("nvidia.com/gpu", **{"0": ["/dev/nvidia3"], "GPU-1": ["/dev/nvidia3"]}))
    assert names_of([CARD], [tmp_path], write=False)[0] == {"GPU-1": "nvidia.com/gpu=GPU-1"}
    (tmp_path / "nvidia.json").write_text(_spec("nvidia.com/gpu", **{"0": ["/dev/nvidia3"]}))
    assert names_of([CARD], [tmp_path], write=False)[0] == {"GPU-1": "nvidia.com/gpu=0"}


def test_cards_can_be_used_without_the_right_to_write_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    document = json.loads(_spec("nvidia.com/gpu", **{"GPU-1": ["/dev/nvidia3"]}))
    monkeypatch.setattr(cdi_names, "specification", lambda family: document)
    names, registry = names_of([CARD], [tmp_path / "file" / "cdi"], write=True)
    assert names == {"GPU-1": "nvidia.com/gpu=GPU-1"}
    assert registry.edits(list(names.values())).nodes[0].host == "/dev/nvidia3"


def test_an_amd_card_is_found_by_its_node(tmp_path: Path) -> None:
    card = Card(family="amd", index="5", name="MI300X", uuid="AMD-1", nodes=("/dev/kfd", "/dev/dri/renderD129"))
    written = _spec(
        "amd.com/gpu", **{"0": ["/dev/kfd", "/dev/dri/renderD128"], "1": ["/dev/kfd", "/dev/dri/renderD129"]}
    )
    (tmp_path / "amd.json").write_text(written)
    assert names_of([card], [tmp_path], write=False)[0] == {"AMD-1": "amd.com/gpu=1"}


def _driver_files(root: Path) -> Path:
    libraries = root / "opt/driver/lib"
    libraries.mkdir(parents=True)
    for name in ("libcuda.so", "libnvidia-ml.so", "libnvidia-glcore.so"):
        (libraries / f"{name}.580.1").write_text(name)
    for link, target in (
        ("libcuda.so.1", "libcuda.so.580.1"),
        ("libcuda.so", "libcuda.so.1"),
        ("libnvidia-ml.so.1", "libnvidia-ml.so.580.1"),
    ):
        (libraries / link).symlink_to(target)
    (libraries / "libother.so.1").write_text("not the driver's")
    (libraries / "libold.so.570.9").write_text("another version's")
    for path in ("dev/nvidiactl", "dev/nvidia-uvm", "usr/bin/nvidia-smi", "lib/firmware/nvidia/580.1/gsp_ga10x.bin"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    return libraries


def test_a_made_file_has_the_driver_under_the_names_that_programs_load(tmp_path: Path) -> None:
    libraries = _driver_files(tmp_path)
    driver = read_driver("580.1", libraries, root=tmp_path)
    spec = parse(nvidia_spec([CARD], driver, machine="x86_64"), tmp_path / "made.json")
    assert [node.path for node in spec.devices["GPU-1"].nodes] == ["/dev/nvidia3"]
    assert set(spec.devices) == {"0", "GPU-1", "all"}
    assert [node.path for node in spec.common.nodes] == ["/dev/nvidiactl", "/dev/nvidia-uvm"]
    assert spec.common.env == ("NVIDIA_VISIBLE_DEVICES=void",)
    at = {mount.path: Path(mount.host).name for mount in spec.common.mounts}
    debian = "/usr/lib/x86_64-linux-gnu"
    assert (
        at[f"{debian}/libcuda.so.1"]
        == at["/usr/lib64/libcuda.so.1"]
        == at[f"{debian}/libcuda.so"]
        == "libcuda.so.580.1"
    )
    assert at[f"{debian}/libnvidia-glcore.so.580.1"] == "libnvidia-glcore.so.580.1"
    assert at["/usr/bin/nvidia-smi"] == "nvidia-smi"
    assert not [path for path in at if "other" in path or "old" in path]
    assert all("ro" in mount.options for mount in spec.common.mounts)


def test_a_made_file_for_amd_has_each_card(tmp_path: Path) -> None:
    cards = [
        Card(
            family="amd",
            index=str(at),
            name="MI300X",
            uuid=f"AMD-{at}",
            nodes=("/dev/kfd", f"/dev/dri/renderD{128 + at}"),
        )
        for at in (0, 1)
    ]
    spec = parse(amd_spec(cards), tmp_path / "amd.json")
    assert [node.path for node in spec.common.nodes] == ["/dev/kfd"]
    assert [node.path for node in spec.devices["AMD-1"].nodes] == ["/dev/dri/renderD129"]
