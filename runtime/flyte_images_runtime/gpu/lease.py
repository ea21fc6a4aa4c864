"""Leases: which process of this machine has which card. One lock file a card, which the kernel lets go when its last
holder dies; nothing has to be cleaned up.

All cards of a task are taken at once while one more file is locked, so two tasks never wait for each other's cards.
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

# A tmpfs that every Linux has and everyone may write: the leases of all users of the machine must meet in one place.
DIRECTORY = Path("/dev/shm/flyte-images-leases")
_PICKING = ".picking"


@dataclass(slots=True)
class Lease:
    """A lock that is held on some keys. It lives as long as one of `fds` is open anywhere, `release` aside."""

    keys: tuple[str, ...]
    fds: tuple[int, ...]

    def release(self) -> None:
        """Let go, whoever else has the descriptors. A second time does nothing."""
        fds, self.fds = self.fds, ()
        for fd in fds:
            _let_go(fd)


def directory(environ: Mapping[str, str]) -> Path:
    """Where the leases are: FLYTE_IMAGES_LEASES, else one place for the whole machine."""
    return Path(environ.get("FLYTE_IMAGES_LEASES") or DIRECTORY)


def take(
    place: Path, choose: Callable[[Callable[[str], bool]], tuple[str, ...]], *, shared: bool = False, note: str = ""
) -> Lease | None:
    """Take the keys that `choose` returns; it is given a function that tries one. None if it returned none.

    What was tried and is not returned is let go again. `note` is what others are told of the holder.
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
    """Return in words who holds which of `keys`; those that nobody holds are left out."""
    if not place.is_dir():
        return {}
    with _picking(place):  # else a task that takes a card in this moment would find it taken
        return {key: told for key in keys if (told := _holder(place / _name(key))) is not None}


def _holder(path: Path) -> str | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        with contextlib.suppress(ValueError, KeyError, TypeError):
            told = json.loads(os.pread(fd, 4096, 0))
            return f"pid {int(told['pid'])}" + (f", {_plain(told['note'])}" if told.get("note") else "")
        return "another process"
    finally:
        _let_go(fd)
    return None


def wait_for(try_once: Callable[[], Lease | None], *, seconds: float) -> Lease | None:
    """Try until it succeeds or `seconds` have passed; at least once."""
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
    fd = _open(place / _PICKING)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)  # held for as long as a few locks take, never while waiting
        yield
    finally:
        _let_go(fd)


def prepare(place: Path) -> None:
    """Make the directory that everyone may use and nobody may empty, like /tmp."""
    with contextlib.suppress(FileExistsError):
        place.mkdir(parents=True)
        place.chmod(0o1777)  # mkdir's mode goes through the umask
    if not stat.S_ISDIR(place.lstat().st_mode):
        raise DeviceError(f"`{place}` is not a directory, and leases are kept there", hint="remove it")


def _lock(path: Path, how: int) -> int | None:
    fd = _open(path)
    try:
        fcntl.flock(fd, how | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    return fd


def _open(path: Path) -> int:
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    for _ in range(3):
        try:
            # Not with O_CREAT: in a directory like /tmp the kernel then refuses files of others (fs.protected_regular).
            return os.open(path, flags)
        except FileNotFoundError:
            with contextlib.suppress(FileExistsError):
                fd = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o666)
                os.fchmod(fd, 0o666)
                return fd
        except OSError as error:
            told = "is a link" if error.errno == errno.ELOOP else (error.strerror or "cannot be opened")
            raise DeviceError(f"the lease file `{path}` cannot be used: {told}", hint="remove it") from None
    raise DeviceError(f"the lease file `{path}` comes and goes", hint="let nothing clean that directory")


def _let_go(fd: int) -> None:
    """Unlock and close; unlocked too where a forked child still has the descriptor."""
    with contextlib.suppress(OSError):
        fcntl.flock(fd, fcntl.LOCK_UN)
    os.close(fd)


def _sign(fd: int, note: str) -> None:
    with contextlib.suppress(OSError):
        os.ftruncate(fd, 0)
        os.pwrite(fd, json.dumps({"pid": os.getpid(), "note": note[:200]}).encode(), 0)


def _name(key: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", key).lstrip(".") + ".lock"


def _plain(text: object) -> str:
    return re.sub(r"[^\x20-\x7e]", "?", str(text))[:80]
