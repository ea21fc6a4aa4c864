"""An ordinary user's containers: the map of users, the kernel's counts, and errors about missing parts."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyte_images_runtime.cgroup import Group
from flyte_images_runtime.cgroup.hierarchies import Hierarchies
from flyte_images_runtime.engines.oci.program import Program
from flyte_images_runtime.engines.oci.running import below
from flyte_images_runtime.engines.oci.settings import _container_group
from flyte_images_runtime.errors import EngineLost
from flyte_images_runtime.gpu.cdi import Edits, Node
from flyte_images_runtime.oci import rootless
from flyte_images_runtime.oci.config import Settings, bundle_config
from flyte_images_runtime.oci.rootfs import Rootfs
from flyte_images_runtime.oci.subid import Span, find_span, id_map
from flyte_images_runtime.task.exchange import Exchange, make_exchange
from flyte_images_runtime.task.spec import Code, Hardening, TaskSpec


@given(
    inside=st.integers(0, 70_000),
    caller=st.integers(1000, 60_000),
    start=st.integers(100_000, 1 << 20),
    count=st.integers(1, 65_536),
)
def test_each_user_inside_is_one_outside_and_the_task_s_is_the_caller(
    inside: int, caller: int, start: int, count: int
) -> None:
    numbers = list(map(int, id_map(inside, caller, Span(start, count))))
    rows = [numbers[at : at + 3] for at in range(0, len(numbers), 3)]
    assert [inside, caller, 1] in rows
    assert sum(row[2] for row in rows) == count + 1
    for column in (0, 1):
        spans = sorted((row[column], row[column] + row[2]) for row in rows)
        assert all(one[1] <= other[0] for one, other in itertools.pairwise(spans))
    assert {row[1] for row in rows if row[1] != caller} <= set(range(start, start + count))


def test_the_longest_span_is_taken_and_nonsense_is_not() -> None:
    text = "me:1:2\nme:x:9\nme:100:50\n1000:300:20\nother:5:999\nme\n"
    assert find_span(text, name="me", number=1000) == Span(100, 50)
    assert find_span(text, name="nobody", number=1000) == Span(300, 20)
    assert find_span("", name="me", number=1) is None


@pytest.fixture
def exchange() -> Iterator[Exchange]:
    made = make_exchange()
    yield made
    made.remove()


def _config(exchange: Exchange, **options: Any) -> dict[str, Any]:
    spec = TaskSpec(task="t", image="i", code=Code(module="m", qualname="f"), **options)
    settings = Settings(
        user=(1000, 1000), library="/lib", shm=1, cgroup="", environment={}, ordinary_user=True, processes=5000
    )
    return bundle_config(spec, exchange, Rootfs(layers=("/l",)), settings)


def test_processes_are_counted_without_a_cgroup(exchange: Exchange) -> None:
    config = _config(exchange, hardening=Hardening(pids=32))
    assert {"type": "RLIMIT_NPROC", "soft": 32, "hard": 32} in config["process"]["rlimits"]
    many = _config(exchange, hardening=Hardening(pids=9999))
    assert {"type": "RLIMIT_NPROC", "soft": 5000, "hard": 5000} in many["process"]["rlimits"]  # the caller's own limit
    assert "resources" not in config["linux"]
    assert "cgroupsPath" not in config["linux"]


def test_the_machine_s_network_shows_in_the_machine_s_own_sys(exchange: Exchange) -> None:
    def kind(network: str) -> tuple[str, list[str]]:
        (mount,) = (one for one in _config(exchange, network=network)["mounts"] if one["destination"] == "/sys")
        return mount["type"], mount["options"]

    assert kind("none")[0] == kind("outbound")[0] == "sysfs"
    assert kind("host")[0] == "bind"
    assert "ro" in kind("host")[1]


def test_a_user_s_runtime_makes_no_cgroup_with_limits() -> None:
    assert "--cgroup-manager=disabled" in Program("/usr/bin/crun").run(Path("/b"), "c", 3, ordinary_user=True)
    assert "--rootless=true" in Program("/usr/sbin/runc").run(Path("/b"), "c", 3, ordinary_user=True)
    assert "--rootless=true" not in Program("/usr/sbin/runc").run(Path("/b"), "c", 3)


@pytest.mark.parametrize(
    ("tools", "span", "told", "helps"),
    [
        ((), True, "program `newuidmap`", "uidmap"),
        (("newuidmap", "newgidmap"), False, "no range of ids for the user", "--add-subuids"),
        (("newuidmap", "newgidmap", "unshare"), True, "user namespaces to this user: not today", "max_user_namespaces"),
    ],
)
def test_an_error_names_a_user_s_missing_part_and_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tools: tuple[str, ...], span: bool, told: str, helps: str
) -> None:
    for tool in tools:
        (tmp_path / tool).write_text("#!/bin/sh\necho not today >&2\nexit 1\n")
        (tmp_path / tool).chmod(0o755)
    monkeypatch.setattr(rootless, "_PATH", str(tmp_path))
    monkeypatch.setattr(rootless, "_span_of", lambda _: Span(1, 1) if span else None)
    rootless.problem.cache_clear()
    try:
        found = rootless.problem()
    finally:
        rootless.problem.cache_clear()
    assert found is not None
    assert told in found[0]
    assert helps in found[1]


def test_descendants_of_a_process_are_found_at_any_depth() -> None:
    code = "import subprocess, sys; p = subprocess.Popen(['sleep', '300']); print(p.pid, flush=True); p.wait()"
    outer = subprocess.Popen(
        ("sh", "-c", f'{sys.executable} -c "$0"; true', code), stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert outer.stdout is not None
    try:
        sleeper = int(outer.stdout.readline())
        deadline = time.monotonic() + 20
        while sleeper not in below(outer.pid) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert sleeper in below(outer.pid)
        assert outer.pid not in below(outer.pid)
    finally:
        os.killpg(outer.pid, 9)
        outer.communicate()
    assert below(outer.pid) == []


def test_a_device_s_nodes_are_shown_and_not_made(exchange: Exchange) -> None:
    spec = TaskSpec(task="t", image="i", code=Code(module="m", qualname="f"))
    edits = Edits(nodes=(Node(path="/dev/in", host="/dev/out", permissions="rw"),))
    settings = Settings(
        user=(1000, 1000), library="/lib", shm=1, cgroup="", environment={}, ordinary_user=True, edits=edits
    )
    config = bundle_config(spec, exchange, Rootfs(layers=("/l",)), settings)
    assert config["linux"]["devices"] == []
    (shown,) = (one for one in config["mounts"] if one["destination"] == "/dev/in")
    assert (shown["type"], shown["source"]) == ("bind", "/dev/out")
    assert "rw" in shown["options"]


def test_the_cgroup_path_of_a_user_s_container_is_absolute() -> None:
    part = Hierarchies(Path("/sys/fs/cgroup/user.slice/a.scope"), {})
    place = _container_group(Group("name", part), ordinary_user=True)
    assert place == "/user.slice/a.scope/flyte-images/name/container"
    assert _container_group(Group("name", part), ordinary_user=False) == "/flyte-images/name/container"
    with pytest.raises(EngineLost, match="/odd/place"):
        _container_group(Group("name", Hierarchies(Path("/odd/place"), {})), ordinary_user=True)
