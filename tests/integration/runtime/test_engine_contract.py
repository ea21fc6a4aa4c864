"""The contract of all engines, tested on each engine of this machine: the same tasks, limits and ends."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from flyte_images_runtime.egress.addresses import own_addresses
from flyte_images_runtime.engines.docker import DockerEngine
from flyte_images_runtime.engines.nerdctl import NerdctlEngine
from flyte_images_runtime.engines.oci import OciEngine
from flyte_images_runtime.engines.oci.program import find
from flyte_images_runtime.engines.podman import PodmanEngine
from flyte_images_runtime.errors import (
    Cancelled,
    DeviceError,
    DiskFull,
    EngineLost,
    ImageCannotStart,
    Killed,
    OutOfMemory,
    Raised,
    TaskError,
    TimedOut,
)
from flyte_images_runtime.execution.execute import Finished
from flyte_images_runtime.oci.images import Images
from flyte_images_runtime.resources.limits import Limits
from flyte_images_runtime.task.disk import USUAL
from flyte_images_runtime.task.spec import Hardening, Mount

from ...fakes.contract_calls import CONTRACT, Here, Kind, Request
from ...fakes.other_engines import own_containerd, own_podman
from ...fakes.servers import another_machine, this_machine
from ...fakes.user import User, UsersEngine, made_up

pytestmark = pytest.mark.engine
MI = 1 << 20
ROOT = os.getuid() == 0
NERDCTL = ROOT and shutil.which("nerdctl") is not None
# no distribution of these tests has nerdctl: it is tested where it is on PATH
ENGINES = ["docker", *(["oci-crun", "oci-runc", "podman"] if ROOT else []), *(["nerdctl"] if NERDCTL else [])]
ROOTLESS = ["oci-crun-rootless", "podman-rootless"] if ROOT else []
Call = Callable[..., Finished]


# how the runtimes differ that an ordinary user can have
_OF_EACH_RUNTIME = {
    "test_a_result_and_its_account",
    "test_processes_are_held_to_the_limit",
    "test_a_task_runs_without_an_account_and_rights",
    "test_each_part_is_loosened_by_its_name",
    "test_the_network_has_the_requested_reach",
    "test_a_task_can_be_canceled_at_any_moment",
    "test_an_image_that_cannot_start_is_an_error_with_the_reason",
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test on each engine. `of_root` marks what an ordinary user's engine refuses."""
    if "kind" in metafunc.fixturenames:
        kinds = ENGINES if metafunc.definition.get_closest_marker("of_root") else [*ENGINES, *ROOTLESS]
        if ROOT and metafunc.definition.name in _OF_EACH_RUNTIME:
            kinds = [*kinds, "oci-runc-rootless"]
        metafunc.parametrize("kind", kinds, indirect=True)


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    place = tmp_path_factory.mktemp("rootfs")
    yield place
    Images(place).release()


@pytest.fixture(scope="session")
def podman(engine: DockerEngine, image: str) -> Iterator[PodmanEngine]:
    with own_podman() as made:
        made.take_image(image, engine.api)
        yield made


@pytest.fixture(scope="session")
def nerdctl(tmp_path_factory: pytest.TempPathFactory, engine: DockerEngine, image: str) -> Iterator[NerdctlEngine]:
    with own_containerd(tmp_path_factory.mktemp("containerd")) as made:
        made.take_image(image, engine.api)
        yield made


@pytest.fixture(scope="session")
def user() -> Iterator[User]:
    with made_up() as found:
        yield found


@pytest.fixture(scope="session")
def users_engine(user: User, engine: DockerEngine, image: str) -> Iterator[Callable[[str], UsersEngine]]:
    """The user's engines, each in its process, made when it is first asked for. The user may talk to Docker."""
    started: dict[str, UsersEngine] = {}

    def start(name: str) -> UsersEngine:
        if name not in started:
            started[name] = UsersEngine(name, user, docker=engine.api.address, image=image)
        return started[name]

    yield start
    user.is_clear()
    for one in started.values():
        one.close()


@pytest.fixture
def kind(request: pytest.FixtureRequest, engine: DockerEngine, store: Path) -> Kind:
    name = request.param
    if name.endswith("-rootless"):
        found: Kind = request.getfixturevalue("users_engine")(name)
        return found
    if name.startswith("oci-"):
        return Here(name, OciEngine(store, docker=engine.api, program=find([name.partition("-")[2]])))
    return Here(name, engine if name == "docker" else request.getfixturevalue(name))


@pytest.fixture
def call(kind: Kind, image: str) -> Call:
    """Run a function of contract/tasks.py. Options are the specification's."""

    def call_it(
        function: str,
        /,
        *,
        lines: list[tuple[str, str]] | None = None,
        cancel_after: float | None = None,
        spec: dict[str, Any] | None = None,
        **arguments: Any,
    ) -> Finished:
        limits = Limits(cpu=Decimal(1), memory=256 * MI) if kind.limits else Limits(shm=256 * MI)
        options = {"image": image, "network": "none", "limits": limits, **(spec or {})}
        heard = [] if lines is None else lines
        return kind.run(
            Request(function=function, arguments=arguments, options=options, cancel_after=cancel_after, lines=heard)
        )

    return call_it


@pytest.fixture
def place(request: pytest.FixtureRequest, kind: Kind, tmp_path: Path) -> Path:
    """Give a directory that the engine's user can read."""
    if isinstance(kind, Here):
        return tmp_path
    made = Path(tempfile.mkdtemp(dir=request.getfixturevalue("user").home))
    made.chmod(0o755)
    return made


def result(finished: Finished) -> Any:
    assert finished.error is None, finished.error
    return finished.result


def test_a_result_and_its_account(call: Call) -> None:
    finished = call("add", one=1, other=2)
    assert result(finished) == 3
    metrics = finished.metrics
    assert metrics.cpu is not None
    assert metrics.cpu > 0
    assert metrics.peak_memory is not None
    assert MI < metrics.peak_memory < 256 * MI
    assert metrics.start is not None
    assert metrics.wall is not None


def test_both_streams_arrive_line_by_line_and_to_the_end(call: Call) -> None:
    lines: list[tuple[str, str]] = []
    result(call("speak", lines=lines))
    assert sorted(lines) == [("stderr", "second"), ("stdout", "first"), ("stdout", "unfinished")]


def test_what_a_task_raises_comes_back(call: Call) -> None:
    error = call("fail").error
    assert isinstance(error, Raised)
    assert error.remote.type == "LookupError"
    assert error.remote.message == "no such row"


@pytest.mark.of_root
def test_the_processor_is_held_to_the_limit(call: Call) -> None:
    finished = call("burn", periods=20, spec={"limits": Limits(cpu=Decimal("0.25"), memory=256 * MI)})
    result(finished)
    metrics = finished.metrics
    assert metrics.cpu is not None
    assert metrics.wall is not None
    assert metrics.start is not None
    assert metrics.cpu < 0.3 * (metrics.start + metrics.wall) + 0.1  # the machine may be busy meanwhile
    assert metrics.throttled_periods
    assert metrics.throttled


@pytest.mark.of_root
def test_memory_is_held_to_the_limit_and_the_end_says_so(call: Call) -> None:
    assert result(call("hold", mebibytes=40)) == 40
    error = call("hold", mebibytes=300).error
    assert isinstance(error, OutOfMemory)
    assert error.limit == 256 * MI
    assert error.peak is not None
    assert error.peak > 250 * MI


def test_processes_are_held_to_the_limit(call: Call, kind: Kind) -> None:
    if kind.name == "podman-rootless":
        with pytest.raises(EngineLost, match="process limit"):
            call("breed", count=200, spec={"hardening": Hardening(pids=32)})
        return
    assert result(call("breed", count=200, spec={"hardening": Hardening(pids=32)})) < 32
    assert result(call("breed", count=200)) == 200


def test_shared_memory_has_the_requested_size(call: Call) -> None:
    assert result(call("shared_memory")) == 256 * MI
    limits = Limits(shm=64 * MI)
    assert result(call("shared_memory", spec={"limits": limits})) == 64 * MI


@pytest.mark.of_root
def test_the_limits_can_be_read_inside(call: Call) -> None:
    found = result(call("own_limits", spec={"limits": Limits(cpu=Decimal("0.5"), memory=128 * MI)}))
    assert found["memory"] == str(128 * MI)
    assert found["cpu"].split()[0] == "50000"


@pytest.mark.of_root
def test_thread_pools_are_sized_by_the_limit_and_the_user_wins(call: Call) -> None:
    env = result(call("environment", spec={"env": (("MKL_NUM_THREADS", "7"), ("MY_OWN", "x=y z"))}))
    assert (env["OMP_NUM_THREADS"], env["MKL_NUM_THREADS"], env["MY_OWN"]) == ("1", "7", "x=y z")
    assert env["PATH"].split(":")[0] == "/opt/venv/bin"  # from the image


def test_a_task_runs_without_an_account_and_rights(call: Call, kind: Kind) -> None:
    found = result(call("identity"))
    user, group = kind.user or (found["uid"], found["uid"])
    assert (found["uid"], found["gid"], found["groups"]) == (user, group, [group])
    assert kind.user or found["uid"] > 1 << 30  # not an account of this machine
    assert {found[name] for name in ("CapEff", "CapBnd", "CapPrm")} == {"0000000000000000"}
    assert (found["NoNewPrivs"], found["Seccomp"]) == ("1", "2")
    assert found["hostname"] == "task" or kind.name == "nerdctl"  # before 2.0 nerdctl sets none without a network
    assert found["pids"] < 6  # only the task's own


def test_ways_out_of_the_container_are_refused(call: Call) -> None:
    assert {line.split()[1] for line in result(call("calls"))} <= {"EPERM"}


def test_only_tmp_and_the_outputs_can_be_written(call: Call) -> None:
    paths = ["/file", "/usr/bin/file", "/etc/hosts", "/run/flyte-images/in/file", "/run/flyte-images/code/0/file"]
    assert set(result(call("attempt", paths=paths))) <= {"EROFS", "EACCES"}
    assert result(call("attempt", paths=["/tmp/file", "/dev/shm/file", "/tmp/home/file"])) == ["ok", "ok", "ok"]


def test_the_kernel_s_settings_are_out_of_reach(call: Call) -> None:
    root = {"hardening": Hardening(user="0:0")}
    levers = ["/proc/sys/kernel/hostname", "/proc/sysrq-trigger", "/sys/kernel/new"]
    found = result(call("attempt", paths=levers, spec=root))
    assert found[0] == "EROFS"
    assert set(found) <= {"EROFS", "EACCES", "EPERM", "ENOENT"}  # not every kernel has all of them
    groups = ["/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/new"]
    assert set(result(call("attempt", paths=groups, spec=root))) <= {"EROFS", "ENOENT", "EACCES"}
    hidden = result(call("attempt", paths=["/proc/kcore", "/proc/keys", "/proc/timer_list"], mode="rb", spec=root))
    assert set(hidden) <= {"ok 0", "EACCES", "ENOENT"}


def test_only_harmless_devices_exist(call: Call) -> None:
    found = set(result(call("run", argv=["ls", "/dev"])).split())
    harmless = "console core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero"
    assert found <= set(harmless.split())
    assert {"null", "zero", "urandom", "shm", "pts"} <= found
    assert result(call("attempt", paths=["/dev/null", "/dev/zero"])) == ["ok", "ok"]


def test_nothing_of_the_caller_is_open_inside(call: Call) -> None:
    with open(CONTRACT + "/tasks.py"):
        for link in result(call("descriptors")):
            assert link.startswith(("pipe:", "/dev/null", "anon_inode:", "socket:", "/proc/")), link


def test_each_part_is_loosened_by_its_name(call: Call) -> None:
    loose = Hardening(user="1234:4321", read_only_root=False, capabilities=("NET_BIND_SERVICE",), new_privileges=True)
    found = result(call("identity", spec={"hardening": loose, "workdir": "/usr"}))
    assert (found["uid"], found["gid"], found["cwd"], found["NoNewPrivs"]) == (1234, 4321, "/usr", "0")
    assert int(found["CapBnd"], 16) == 1 << 10
    root = {"hardening": Hardening(user="0:0", read_only_root=False)}
    assert result(call("write_file", path="/etc/mine", text="kept", spec=root)) == "kept"
    assert result(call("attempt", paths=["/etc/mine"], mode="rb")) == ["ENOENT"]  # the image has not changed
    free = {"hardening": Hardening(seccomp="unconfined")}
    assert result(call("identity", spec=free))["Seccomp"] == "0"


def test_mounts_are_read_only_unless_asked(call: Call, place: Path) -> None:
    (place / "data").mkdir()
    (place / "data/file").write_text("given")
    (place / "work").mkdir()
    (place / "work").chmod(0o777)
    mounts = (
        Mount(source=str(place / "data"), target="/data"),
        Mount(source=str(place / "work"), target="/opt/some/work", read_only=False),
    )
    assert result(call("attempt", paths=["/data/file"], mode="rb", spec={"mounts": mounts})) == ["ok 5"]
    assert result(call("attempt", paths=["/data/new"], spec={"mounts": mounts})) == ["EROFS"]
    assert result(call("write_file", path="/opt/some/work/made", text="x", spec={"mounts": mounts})) == "x"
    assert (place / "work/made").read_text() == "x"


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, int]]:
    """Give a server on another machine that greets."""
    with another_machine() as found:
        yield found


def test_the_network_has_the_requested_reach(call: Call, server: tuple[str, int]) -> None:
    host, port = server
    assert result(call("interfaces")) == ["lo"]
    assert result(call("reach", host=host, port=port)) != "hello"
    outbound = {"network": "outbound"}
    assert result(call("reach", host=host, port=port, spec=outbound)) == "hello"
    assert len(result(call("interfaces", spec=outbound))) == 2
    assert result(call("listen_low", spec=outbound)) == 80
    assert result(call("listen_low")) == 80
    here = sorted(name for _, name in socket.if_nameindex() if not name.startswith(("veth", "fi")))
    there = result(call("interfaces", spec={"network": "host"}))
    there = [name for name in there if not name.startswith(("veth", "fi"))]
    assert there == here


def test_outbound_reaches_neither_this_machine_nor_metadata(call: Call, kind: Kind) -> None:
    """Network: not even a socket bound to the interface gets out, for which the kernel takes every address for near."""
    own = [str(one) for one in own_addresses() if one.version == 4 and not one.is_loopback]
    # slirp4netns's address for this machine's loopback
    loopback = ["10.0.2.2"] if kind.name.endswith("-rootless") else []
    with this_machine() as port:
        found = result(call("knock", hosts=[*own, *loopback], port=port, spec={"network": "outbound"}))
    assert [found.pop(host) for host in loopback if found[host] == "hello, hello"] == []
    assert {found[host] for host in own} == {"ENETUNREACH, no answer"}
    never = ["169.254.169.254", "100.100.100.200", "fe80::1%2", "fd00:ec2::254"]
    found = result(call("knock", hosts=never, port=80, bound=False, spec={"network": "outbound"}))
    assert set(found.values()) <= {"ENETUNREACH", "EADDRNOTAVAIL", "EHOSTUNREACH"}


def test_a_task_that_takes_too_long_is_ended(call: Call) -> None:
    assert isinstance(call("sleep", seconds=60, spec={"timeout": 1.5}).error, TimedOut)


def test_a_task_can_be_canceled_at_any_moment(call: Call) -> None:
    for after in (0.0, 0.02, 0.1, 0.4):
        assert isinstance(call("sleep", seconds=60, cancel_after=after).error, Cancelled)


def test_processes_of_a_task_end_with_it(call: Call) -> None:
    before = set(_sleepers())
    result(call("leave_a_child"))
    assert set(_sleepers()) <= before


def _sleepers() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes() == b"sleep\x00300\x00":
                found.append(path.parent.name)
        except OSError:
            continue
    return found


def test_a_killed_task_is_reported_as_killed(call: Call) -> None:
    code = "import os; os.kill(os.getppid(), 9)"
    assert isinstance(call("run", argv=["python3", "-c", code]).error, (Killed, TaskError))


def test_many_tasks_at_once_keep_their_output_apart(call: Call) -> None:
    with ThreadPoolExecutor(8) as pool:
        finished = list(pool.map(lambda number: call("add", one=number, other=1), range(24)))
    assert [result(one) for one in finished] == list(range(1, 25))


def test_an_image_that_cannot_start_is_an_error_with_the_reason(call: Call) -> None:
    with pytest.raises(ImageCannotStart, match="no image") as absent:
        call("add", one=1, other=2, spec={"image": "flyte-images-test/absent:1"})
    assert absent.value.hint
    with pytest.raises(ImageCannotStart, match="has no `python4`"):
        call("add", one=1, other=2, spec={"python": "python4"})


def test_another_oci_runtime_is_chosen_by_name(call: Call) -> None:
    assert result(call("add", one=1, other=2, spec={"hardening": Hardening(runtime="runc")})) == 3


def test_an_inapplicable_request_is_refused_before_the_start(call: Call) -> None:
    cores = os.cpu_count() or 1
    for limits in (Limits(cpu=Decimal(cores + 1)), Limits(memory=1 << 50), Limits(disk=1 << 10)):
        with pytest.raises(EngineLost) as refused:
            call("add", one=1, other=2, spec={"limits": limits})
        assert refused.value.hint
        assert refused.value.exit_code == 3
    with pytest.raises(EngineLost, match="OCI runtime `no-such-runtime`") as unknown:
        call("add", one=1, other=2, spec={"hardening": Hardening(runtime="no-such-runtime")})
    assert "runc" in str(unknown.value.hint)  # the installed runtimes
    with pytest.raises((EngineLost, DeviceError), match=r"flyte-images\.test/none=0"):
        call("add", one=1, other=2, spec={"devices": ("flyte-images.test/none=0",)})
    with pytest.raises(TaskError, match="/no/such/place"):
        call("add", one=1, other=2, spec={"mounts": (Mount(source="/no/such/place", target="/data"),)})


def test_a_limit_that_the_engine_cannot_keep_is_refused(call: Call, kind: Kind) -> None:
    for limits in (Limits(cpu=Decimal(1)), Limits(memory=256 * MI)):
        if kind.limits:
            result(call("add", one=1, other=2, spec={"limits": limits}))
            continue
        with pytest.raises(EngineLost, match="ordinary user") as refused:
            call("add", one=1, other=2, spec={"limits": limits})
        assert refused.value.hint


@pytest.mark.skipif(not ROOT, reason="/etc/cdi is root's")
def test_a_device_comes_with_all_of_its_edits(call: Call, kind: Kind, place: Path) -> None:
    """Make a device of an invented vendor that is real: a node with the numbers of /dev/null, under another name."""
    vendor = f"flyte-images.test/c{secrets.token_hex(4)}"
    (place / "library").write_text("of the driver")
    # a node that only a group may open on the host, as AMD's are: in the container the lease decides, if root says so
    os.mknod(place / "node", 0o020600, Path("/dev/null").stat().st_rdev)
    os.chown(place / "node", 0, 12345)
    (place / "node").chmod(0o660 if isinstance(kind, Here) else 0o666)
    node = {"path": "/dev/made-up", "hostPath": str(place / "node"), "permissions": "rw"}
    mount = {"hostPath": str(place / "library"), "containerPath": "/usr/lib/made-up.so", "options": ["ro", "rbind"]}
    edits = {"deviceNodes": [node], "env": ["MADE_UP=yes"], "mounts": [mount]}
    file = Path("/etc/cdi") / f"{vendor.partition('/')[2]}.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(
        json.dumps({"cdiVersion": "0.5.0", "kind": vendor, "devices": [{"name": "0", "containerEdits": edits}]})
    )
    try:
        spec = {"devices": (f"{vendor}=0",)}
        engine = kind.engine if isinstance(kind, Here) else None
        if isinstance(engine, NerdctlEngine) and not engine.knows_cdi:
            with pytest.raises(EngineLost, match="cannot show the device"):
                call("add", one=1, other=2, spec=spec)
            return
        assert result(call("attempt", paths=["/dev/made-up"], mode="r+b", spec=spec)) == ["ok 0"]
        assert result(call("attempt", paths=["/usr/lib/made-up.so"], mode="rb", spec=spec)) == ["ok 13"]
        assert result(call("environment", spec=spec))["MADE_UP"] == "yes"
    finally:
        file.unlink()


OUT, FAST = "/run/flyte-images/out", "/run/flyte-images/fast"


@pytest.mark.of_root
@pytest.mark.parametrize("place", [f"{OUT}/file", "/tmp/file"])
def test_a_disk_counts_all_writes(call: Call, place: str) -> None:
    """D9: `disk=` also counts the files in the exchange. A full disk is a DiskFull that names the limit."""
    limits = Limits(memory=256 * MI, disk=64 * MI)
    assert result(call("fill", path=place, mebibytes=40, spec={"limits": limits})) == 40
    full = call("fill", path=place, mebibytes=100, spec={"limits": limits}).error
    assert isinstance(full, DiskFull), full
    assert 'Resources(disk="128Mi")' in str(full.hint)


@pytest.mark.of_root
def test_the_exchange_has_bounds_without_a_limit(call: Call) -> None:
    """D9, D34: results have a disk of the usual size, on which devices and setuid bits have no effect."""
    rows = result(call("mounted", paths=[OUT, FAST]))
    assert rows[0]["size"] <= USUAL
    for row in rows:
        assert {"nosuid", "nodev", "noexec"} <= set(row["options"]), row
