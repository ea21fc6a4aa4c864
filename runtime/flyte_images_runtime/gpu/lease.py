"""Leases: which process of this machine has which card. Each card has a lock file, which the kernel unlocks when its
last holder dies, so nothing has to be cleaned up.

All cards of a task are taken at once while one more file is locked, so two tasks never wait for each other's cards.
All users of the machine share one directory of root's, from which no user can remove another user's file. A directory
without these properties is refused.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import DeviceError
from ..system.private_dirs import problem_of_shared, user_name

DIRECTORY = Path("/dev/shm")  # it belongs to root, and every Linux has it
_PREFIX = "flyte-images-"
_PICKING = _PREFIX + "picking"
_PATIENCE = 10.0  # seconds; the lock is held for as long as a few locks take, never while a task waits


@dataclass(slots=True)
class Lease:
    """A lock on some keys. It lasts until every copy of `fds` is closed, or until `release`."""

    keys: tuple[str, ...]
    fds: tuple[int, ...]

    def release(self) -> None:
        """Unlock, even if other processes have the descriptors. A second call does nothing."""
        fds, self.fds = self.fds, ()
        for fd in fds:
            _let_go(fd)


def directory(environ: Mapping[str, str]) -> Path:
    """Return the directory of the leases: FLYTE_IMAGES_LEASES, else one place for the whole machine."""
    return Path(environ.get("FLYTE_IMAGES_LEASES") or DIRECTORY)


def take(
    place: Path, choose: Callable[[Callable[[str], bool]], tuple[str, ...]], *, shared: bool = False, note: str = ""
) -> Lease | None:
    """Take the keys that `choose` returns.

    `choose` gets a function that tries to lock one key. None if it returned none.

    Locks that were taken and are not returned are released. `note` describes the holder to others.
    """
    held: dict[str, int] = {}

    def attempt(key: str) -> bool:
        if key not in held:
            fd = _lock(place / _name(key), fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
            if fd is None:
                return False
            held[key] = fd
        return True

    with _picking(place):
        try:
            chosen = choose(attempt)
            for key in chosen:
                _sign(held[key], note)
        except BaseException:
            chosen = ()
            raise
        finally:
            for key in set(held) - set(chosen):
                _let_go(held.pop(key))
    return Lease(chosen, tuple(held[key] for key in chosen)) if chosen else None


def holders(place: Path, keys: Sequence[str]) -> dict[str, str]:
    """Return a description of the holder of each of `keys`. Free keys are left out."""
    if not place.is_dir():
        return {}
    with _picking(place):  # else a task that takes a card in this moment would find it locked
        return {key: holder for key in keys if (holder := _holder(place / _name(key))) is not None}


def _holder(path: Path) -> str | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return _describe_holder(fd)
    finally:
        _let_go(fd)
    return None


def _describe_holder(fd: int) -> str:
    """Return a description of the lock's holder: the holder's own note, if the kernel names the same process."""
    pids = _lockers(fd)
    with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
        holder = json.loads(os.pread(fd, 4096, 0))
        pid = int(holder["pid"])
        if not pids or pid in pids:
            return f"pid {pid}" + (f", {_plain(holder['note'])}" if holder.get("note") else "")
    return ", ".join(map(_process, pids)) or "another process"


def _lockers(fd: int) -> list[int]:
    """Return the pids that locked the file, by the kernel's list; [] where the kernel does not say."""
    found = os.fstat(fd)
    name = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    pids = []
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/locks").read_text(encoding="utf-8").splitlines():
            parts = line.split()
            if len(parts) > 5 and parts[1] == "FLOCK" and parts[5] == name and int(parts[4]) > 0:
                pids.append(int(parts[4]))
    return pids


def _process(pid: int) -> str:
    try:
        return f"pid {pid} of {user_name(Path(f'/proc/{pid}').stat().st_uid)}"
    except OSError:
        return f"a process that pid {pid} started"


def wait_for(try_once: Callable[[], Lease | None], *, seconds: float) -> Lease | None:
    """Try until `try_once` succeeds or `seconds` have passed, at least once."""
    end = time.monotonic() + seconds
    pause = 0.02
    while True:
        lease = try_once()
        left = end - time.monotonic()
        if lease is not None or left <= 0:
            return lease
        time.sleep(min(pause, left))
        pause = min(pause * 1.5, 0.5)


@contextlib.contextmanager
def _picking(place: Path) -> Iterator[None]:
    prepare(place)
    path = place / _PICKING
    fd = _open(path)
    try:
        end = time.monotonic() + _PATIENCE
        while not _locked(fd, fcntl.LOCK_EX):
            if time.monotonic() > end:
                raise DeviceError(
                    f"the leases of GPUs have been locked for {_PATIENCE:g} s by {_describe_holder(fd)}: `{path}`",
                    hint="end that process; or set FLYTE_IMAGES_LEASES, for all who share the GPUs",
                )
            time.sleep(0.005)
        yield
    finally:
        _let_go(fd)


def prepare(place: Path) -> None:
    """Make the directory, in which every user may add files, and remove only own ones, like /tmp."""
    with contextlib.suppress(FileExistsError):
        place.mkdir(parents=True)
        place.chmod(0o1777)  # the umask changes the mode of mkdir
    if (problem := problem_of_shared(place)) is not None:
        raise DeviceError(
            f"leases of GPUs cannot be kept in `{place}`: {problem}",
            hint="let root remove it, or make it with mode 1777",
        )


def _lock(path: Path, how: int) -> int | None:
    fd = _open(path)
    if _locked(fd, how):
        return fd
    os.close(fd)
    return None


def _locked(fd: int, how: int) -> bool:
    try:
        fcntl.flock(fd, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _open(path: Path) -> int:
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    for _ in range(3):
        try:
            # Without O_CREAT: in a directory like /tmp the kernel then refuses files of others (fs.protected_regular).
            return _plain_file(os.open(path, flags), path)
        except FileNotFoundError:
            with contextlib.suppress(FileExistsError):
                fd = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o666)
                os.fchmod(fd, 0o666)
                return fd
        except OSError as error:
            holder = "is a link" if error.errno == errno.ELOOP else (error.strerror or "cannot be opened")
            raise _unusable(path, holder) from None
    raise DeviceError(f"the lease file `{path}` appears and disappears", hint="exclude that directory from cleaning")


def _plain_file(fd: int, path: Path) -> int:
    found = os.fstat(fd)
    if stat.S_ISREG(found.st_mode) and found.st_nlink == 1:
        return fd
    os.close(fd)
    raise _unusable(path, "is not a plain file")


def _unusable(path: Path, holder: str) -> DeviceError:
    with contextlib.suppress(OSError):
        holder += f"; it belongs to {user_name(path.lstat().st_uid)}"
    return DeviceError(f"the lease file `{path}` cannot be used: {holder}", hint="let its owner or root remove it")


def _let_go(fd: int) -> None:
    """Unlock and close. The unlock also counts where a forked child still has the descriptor."""
    with contextlib.suppress(OSError):
        fcntl.flock(fd, fcntl.LOCK_UN)
    os.close(fd)


def _sign(fd: int, note: str) -> None:
    with contextlib.suppress(OSError):
        os.ftruncate(fd, 0)
        os.pwrite(fd, json.dumps({"pid": os.getpid(), "note": note[:200]}).encode(), 0)


def _name(key: str) -> str:
    return _PREFIX + re.sub(r"[^A-Za-z0-9._-]", "_", key) + ".lock"


def _plain(text: object) -> str:
    return re.sub(r"[^\x20-\x7e]", "?", str(text))[:80]
