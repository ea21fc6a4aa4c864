"""Leases among real processes, some of which are killed: a card never has two holders, and none is lost."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flyte_images_runtime.errors import DeviceError
from flyte_images_runtime.gpu import lease
from flyte_images_runtime.gpu.lease import Lease, holders, take, wait_for
from tests.fakes.clock import eventually

ENVIRON = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def _one(place: Path, *keys: str, shared: bool = False, note: str = "") -> Lease | None:
    return take(place, lambda attempt: tuple(key for key in keys if attempt(key))[:1], shared=shared, note=note)


def _process(code: str, *arguments: object) -> subprocess.Popen[str]:
    prelude = "import os, sys, time\nfrom pathlib import Path\nfrom flyte_images_runtime.gpu.lease import *\n"
    argv = (sys.executable, "-c", prelude + code, *map(str, arguments))
    return subprocess.Popen(argv, env=ENVIRON, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)


HOLD = """
lease = take(Path(sys.argv[1]), lambda attempt: ("a",) if attempt("a") else (), note="task `train`")
print("held" if lease else "busy", flush=True)
sys.stdin.read()
"""


def test_a_leased_card_is_taken_until_its_release(tmp_path: Path) -> None:
    first = _one(tmp_path, "a")
    assert first is not None
    assert _one(tmp_path, "a") is None
    other = _one(tmp_path, "a", "b")
    assert other is not None
    assert other.keys == ("b",)
    first.release()
    first.release()
    assert _one(tmp_path, "a") is not None


def test_a_card_that_was_tried_and_not_taken_is_free_again(tmp_path: Path) -> None:
    assert take(tmp_path, lambda attempt: () if attempt("a") and attempt("b") else ("a",)) is None
    assert holders(tmp_path, ["a", "b"]) == {}


def test_a_shared_card_has_many_holders_and_no_sole_one(tmp_path: Path) -> None:
    first, second = _one(tmp_path, "a", shared=True), _one(tmp_path, "a", shared=True)
    assert first is not None
    assert second is not None
    assert _one(tmp_path, "a") is None
    first.release()
    assert _one(tmp_path, "a") is None
    second.release()
    sole = _one(tmp_path, "a")
    assert sole is not None
    assert _one(tmp_path, "a", shared=True) is None


def test_a_killed_holder_has_nothing_and_a_living_one_is_named(tmp_path: Path) -> None:
    process = _process(HOLD, tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    assert holders(tmp_path, ["a", "b"]) == {"a": f"pid {process.pid}, task `train`"}
    assert _one(tmp_path, "a") is None
    process.kill()
    process.communicate()
    assert holders(tmp_path, ["a"]) == {}
    assert _one(tmp_path, "a") is not None


def test_a_lease_lives_on_in_a_child_that_has_it(tmp_path: Path) -> None:
    code = """
import subprocess
lease = take(Path(sys.argv[1]), lambda attempt: ("a",) if attempt("a") else ())
child = subprocess.Popen(["sleep", "60"], pass_fds=lease.fds, stdout=subprocess.DEVNULL)
print(child.pid, flush=True)
os.kill(os.getpid(), 9)
"""
    process = _process(code, tmp_path)
    child = int(process.communicate()[0])
    assert _one(tmp_path, "a") is None
    os.kill(child, signal.SIGKILL)
    assert wait_for(lambda: _one(tmp_path, "a"), seconds=10) is not None


def test_release_counts_although_a_forked_child_has_the_descriptor(tmp_path: Path) -> None:
    lease = _one(tmp_path, "a")
    assert lease is not None
    child = subprocess.Popen(("sleep", "60"), pass_fds=lease.fds)
    try:
        lease.release()
        assert _one(tmp_path, "a") is not None
    finally:
        child.kill()
        child.wait()


def test_waiting_ends_when_the_card_is_free_or_the_time_is_over(tmp_path: Path) -> None:
    process = _process(HOLD, tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    assert wait_for(lambda: _one(tmp_path, "a"), seconds=0.1) is None
    assert process.stdin is not None
    process.stdin.close()
    assert wait_for(lambda: _one(tmp_path, "a"), seconds=30) is not None
    process.wait()
    process.stdout.close()


def test_a_link_in_place_of_a_lock_is_refused(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "flyte-images-a.lock").symlink_to(tmp_path / "victim")
    with pytest.raises(DeviceError, match="is a link"):
        _one(tmp_path, "a")
    assert (tmp_path / "victim").read_text() == "precious"
    with pytest.raises(DeviceError, match="it is not a directory"):
        _one(tmp_path / "victim", "a")


def test_a_key_never_leads_out_of_the_directory(tmp_path: Path) -> None:
    lease = _one(tmp_path / "leases", "../../escaped")
    assert lease is not None
    assert sorted(path.name for path in tmp_path.rglob("*.lock")) == ["flyte-images-.._.._escaped.lock"]


def test_a_directory_from_which_others_can_remove_files_is_refused(tmp_path: Path) -> None:
    """D21: in a directory without the sticky bit, or of another user, two tasks could get the same card."""
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(DeviceError, match=f"`{tmp_path}/open`: its mode 777 lets every user"):
        _one(tmp_path / "open", "a")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs").chmod(0o1777)
    os.chown(tmp_path / "theirs", 12345, 12345)
    with pytest.raises(DeviceError, match="it belongs to user 12345"):
        _one(tmp_path / "theirs", "a")


def test_a_lock_that_another_process_keeps_is_an_error_that_names_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D21: a process that holds `picking` does not delay the others forever."""
    monkeypatch.setattr(lease, "_PATIENCE", 0.05)
    code = """
import fcntl
kept = open(sys.argv[1], "w")
fcntl.flock(kept, fcntl.LOCK_EX)
print(end="\\n", flush=True)
sys.stdin.read()
"""
    with _process(code, tmp_path / "flyte-images-picking") as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(DeviceError, match=f"locked for 0.05 s by pid {process.pid} of user"):
            _one(tmp_path, "a")
        process.kill()


def test_the_kernel_names_the_holder_not_the_file(tmp_path: Path) -> None:
    """D21: a file that names another process does not blame that process."""
    with _process(HOLD, tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        (tmp_path / "flyte-images-a.lock").write_text('{"pid": 1, "note": "not me"}')
        assert holders(tmp_path, ["a"])["a"].startswith(f"pid {process.pid} of user")
        process.kill()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can act as another user")
def test_users_share_the_directory(tmp_path: Path) -> None:
    for directory in (tmp_path, *tmp_path.parents[:3]):
        directory.chmod(directory.stat().st_mode | 0o011)
    mine = _one(tmp_path / "leases", "a")
    assert mine is not None
    assert (tmp_path / "leases").stat().st_mode & 0o7777 == 0o1777
    code = """
import fcntl
os.setuid(12345)
place = Path(sys.argv[1])
def get(key): return take(place, lambda attempt: (key,) if attempt(key) else ())
mine = get("b")
print([bool(get("a")), bool(mine), sorted(holders(place, ["a"]))])
"""
    imported = "import flyte_images_runtime.gpu\n"  # before the process loses the right to read these files
    assert _process(imported + code, tmp_path / "leases").communicate()[0] == "[False, True, ['a']]\n"


RACE = """
import fcntl, random
place, log, rounds = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
keys = ["a", "b", "c"]
choose = random.Random(os.getpid())
out = os.open(log, os.O_WRONLY | os.O_APPEND)
say = lambda *words: os.write(out, (" ".join(map(str, (time.monotonic_ns(), os.getpid(), *words))) + "\\n").encode())
for _ in range(rounds):
    want = choose.choice([1, 1, 2])
    def pick(attempt):
        got = []
        for key in choose.sample(keys, 3):
            if attempt(key):
                got.append(key)
                if len(got) == want:
                    return tuple(got)
        return ()
    lease = wait_for(lambda: take(place, pick), seconds=60)
    say("take", *lease.keys)
    time.sleep(choose.random() * 0.01)
    say("give", *lease.keys)
    lease.release()
"""


def _until_taken(log: Path, times: int) -> None:
    eventually(lambda: log.read_bytes().count(b"take") >= times)


def test_twelve_racing_processes_of_which_some_are_killed_never_share(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.touch()
    processes = [_process(RACE, tmp_path / "leases", log, 12) for _ in range(12)]
    deaths: dict[int, int] = {}
    choose = random.Random(4)
    for number, victim in enumerate(choose.sample(processes, 4)):
        _until_taken(log, 12 + 5 * number)
        # the process holds its cards until now at most; later output does not count
        deaths[victim.pid] = time.monotonic_ns()
        victim.kill()
    for process in processes:
        process.communicate(timeout=120)
    survivors = [process for process in processes if process.pid not in deaths]
    assert all(process.returncode == 0 for process in survivors)
    overlaps, events, owner = 0, 0, dict[str, int]()
    for line in sorted(log.read_text().splitlines(), key=lambda line: int(line.split()[0])):
        when, pid, verb, *keys = line.split()
        events += 1
        for key in keys:
            if verb == "give":
                owner.pop(key, None)
                continue
            before = owner.get(key)
            if before is not None and (before not in deaths or deaths[before] > int(when)):
                overlaps += 1
            owner[key] = int(pid)
    assert overlaps == 0
    assert events > 12 * 12
    assert _one(tmp_path / "leases", "a") is not None  # dead processes hold nothing
