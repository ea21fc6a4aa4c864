"""Both versions of cgroups, read from files and made in a directory in place of the kernel's."""

from __future__ import annotations

import shutil
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from flyte_images_runtime.cgroup import read_usage, remove_group
from flyte_images_runtime.cgroup.delegation import own_part
from flyte_images_runtime.cgroup.group import Group, make_group
from flyte_images_runtime.cgroup.hierarchies import Hierarchies, parse_mounts
from flyte_images_runtime.resources.limits import Limits
from flyte_images_runtime.resources.metrics import Usage

V2 = {
    "cpu.stat": "usage_usec 1500000\nuser_usec 1\nnr_periods 22\nnr_throttled 21\nthrottled_usec 1000000\n",
    "memory.peak": "45600000\n",
    "memory.events": "low 0\nhigh 0\nmax 9\noom 1\noom_kill 1\noom_group_kill 1\n",
    "pids.peak": "7\n",
    "io.stat": "8:0 rbytes=100 wbytes=20 rios=1 wios=1 dbytes=0 dios=0\n8:16 rbytes=1 wbytes=2\n",
}
V1 = {
    "cpu.stat": "nr_periods 22\nnr_throttled 21\nthrottled_time 1000000000\n",
    "cpuacct.usage": "1500000000\n",
    "memory.max_usage_in_bytes": "45600000\n",
    "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
    "pids.peak": "7\n",
    "blkio.throttle.io_service_bytes_recursive": "8:0 Read 100\n8:0 Write 20\n8:16 Read 1\n8:16 Write 2\nTotal 123\n",
}
USED = Usage(
    cpu=1.5,
    throttled=1.0,
    periods=22,
    throttled_periods=21,
    peak_memory=45_600_000,
    oom_kills=1,
    peak_pids=7,
    read_bytes=101,
    written_bytes=22,
)


@pytest.mark.parametrize("files", [V1, V2], ids=["v1", "v2"])
def test_both_versions_give_the_same_usage(files: dict[str, str]) -> None:
    usage = read_usage(files.get)
    assert usage.cpu == pytest.approx(1.5)
    assert Usage(**{**{name: getattr(usage, name) for name in USED.__slots__}, "cpu": 1.5, "throttled": 1.0}) == USED


def test_a_figure_that_the_kernel_lacks_is_none() -> None:
    assert read_usage({}.get) == Usage()
    assert read_usage({"memory.peak": "max\n", "cpu.stat": "rubbish"}.get) == Usage()
    assert Usage(cpu=1.0).or_else(Usage(cpu=2.0, peak_memory=3)) == Usage(cpu=1.0, peak_memory=3)


@pytest.fixture
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)


@pytest.mark.usefixtures("as_root")
def test_version_2_has_the_limits_in_one_directory(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    root = tmp_path / "cgroup"
    root.mkdir()
    mounts.write_text(f"cgroup2 {root} cgroup2 rw 0 0\n")
    group = make_group("task-1", Limits(cpu=Decimal("0.5"), memory=64 << 20), pids=100, mounts=str(mounts))
    assert group is not None
    own = root / "flyte-images" / "task-1"
    assert (own / "cpu.max").read_text() == "50000 100000"
    assert (own / "memory.max").read_text() == str(64 << 20)
    assert (own / "memory.swap.max").read_text() == "0"
    assert (own / "memory.oom.group").read_text() == "1"
    assert (own / "pids.max").read_text() == "100"
    (own / "memory.peak").write_text("4096")
    assert group.usage().peak_memory == 4096
    (own / "abc").mkdir()
    assert group.holds("abc")
    assert not group.holds("def")


@pytest.mark.usefixtures("as_root")
def test_version_1_has_the_limits_in_each_hierarchy(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    text = ""
    for controllers in ("cpu,cpuacct", "memory", "pids"):
        (tmp_path / controllers).mkdir()
        text += f"cgroup {tmp_path / controllers} cgroup rw,relatime,{controllers} 0 0\n"
    mounts.write_text(text)
    group = make_group("task-1", Limits(cpu=Decimal("1.5"), memory=64 << 20), pids=100, mounts=str(mounts))
    assert group is not None
    at = "flyte-images/task-1"
    assert (tmp_path / "cpu,cpuacct" / at / "cpu.cfs_quota_us").read_text() == "150000"
    assert (tmp_path / "memory" / at / "memory.limit_in_bytes").read_text() == str(64 << 20)
    assert (tmp_path / "memory" / at / "memory.memsw.limit_in_bytes").read_text() == str(64 << 20)
    assert (tmp_path / "pids" / at / "pids.max").read_text() == "100"
    (tmp_path / "cpu,cpuacct" / at / "cpuacct.usage").write_text("2000000000")
    assert group.usage().cpu == 2.0


def test_removal_goes_from_the_inside_out(tmp_path: Path) -> None:
    (tmp_path / "flyte-images" / "task-1" / "container").mkdir(parents=True)
    (tmp_path / "flyte-images" / "task-2").mkdir()
    hierarchies = Hierarchies(tmp_path, {})
    assert Group("task-1", hierarchies).remove()
    assert [path.name for path in (tmp_path / "flyte-images").iterdir()] == ["task-2"]
    assert remove_group("task-2", hierarchies)
    assert remove_group("never-was", hierarchies)
    assert list(tmp_path.iterdir()) == []


def test_a_hybrid_machine_is_version_1() -> None:
    found = parse_mounts(
        "cgroup /c/memory cgroup rw,memory 0 0\ncgroup /c/systemd cgroup rw,xattr,name=systemd 0 0\n"
        "cgroup2 /c/unified cgroup2 rw 0 0\n"
    )
    assert found.version == 1
    assert len(list(found.roots())) == 3


def test_a_user_without_a_delegated_part_makes_no_cgroup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert make_group("x", Limits(), pids=10) is None


def _delegated(place: Path, own: str) -> tuple[str, str]:
    """Write files like those of /proc, for a machine with version 2 mounted at `place`; return their paths."""
    (place / "mounts").write_text(f"cgroup2 {place}/fs cgroup2 rw 0 0\n")
    (place / "own").write_text(f"0::{own}\n")
    below = place / "fs" / own.lstrip("/")
    below.mkdir(parents=True)
    for name in ("cgroup.procs", "cgroup.subtree_control"):
        (below / name).touch()
    return str(place / "mounts"), str(place / "own")


def test_the_delegated_part_begins_at_the_own_cgroup(tmp_path: Path) -> None:
    found = own_part(*_delegated(tmp_path, "/user.slice/a.scope"))
    assert found is not None
    assert found.unified == tmp_path / "fs/user.slice/a.scope"
    assert found.version == 2


def test_version_1_has_no_delegated_part(tmp_path: Path) -> None:
    mounts, own = _delegated(tmp_path, "/")
    Path(mounts).write_text("cgroup /c/memory cgroup rw,memory 0 0\ncgroup2 /c/unified cgroup2 rw 0 0\n")
    assert own_part(mounts, own) is None


def test_a_part_without_a_needed_file_is_not_delegated(tmp_path: Path) -> None:
    mounts, own = _delegated(tmp_path, "/a.scope")
    (tmp_path / "fs/a.scope/cgroup.subtree_control").unlink()
    assert own_part(mounts, own) is None


def test_a_group_that_vanishes_while_it_is_read_has_no_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = Group("one", Hierarchies(tmp_path, {}))
    top = tmp_path / "flyte-images" / "one"
    for place, pids in ((top, ""), (top / "container", "7\n8\n"), (top / "container" / "inner", "9\n")):
        place.mkdir(parents=True)
        (place / "cgroup.procs").write_text(pids)
    assert sorted(group.processes()) == [7, 8, 9]
    read = Path.read_text

    def read_and_remove(self: Path, *args: Any, **kwargs: Any) -> str:
        text = read(self, *args, **kwargs)
        shutil.rmtree(top, ignore_errors=True)
        return text

    monkeypatch.setattr(Path, "read_text", read_and_remove)
    assert group.processes() == []
