"""What the contract's tests run in containers. Plain functions of a module that needs nothing."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any


def add(one: int, other: int) -> int:
    return one + other


def speak() -> None:
    print("first")
    print("second", file=sys.stderr)
    subprocess.run(["sh", "-c", "printf unfinished"], check=True)


def fail() -> None:
    raise LookupError("no such row")


def burn(periods: int) -> int:
    """Use up the processor until the quota of `periods` periods is spent."""
    end = time.process_time() + 0.05 * periods
    while time.process_time() < end:
        pass
    return 0


def hold(mebibytes: int) -> int:
    held = [bytearray(b"x" * (1 << 20)) for _ in range(mebibytes)]
    return len(held)


def breed(count: int) -> int:
    """Start threads until it is refused."""
    stop = threading.Event()
    try:
        for number in range(count):
            try:
                threading.Thread(target=stop.wait, daemon=True).start()
            except RuntimeError:
                return number
        return count
    finally:
        stop.set()


def sleep(seconds: float) -> None:
    print("asleep", flush=True)
    time.sleep(seconds)


def leave_a_child() -> int:
    return subprocess.Popen(["sleep", "300"], start_new_session=True).pid


def identity() -> dict[str, Any]:
    status = dict(line.rstrip("\n").split(":\t", 1) for line in open("/proc/self/status") if ":\t" in line)  # noqa: SIM115
    return {
        "uid": os.getuid(),
        "gid": os.getgid(),
        "groups": sorted(os.getgroups()),
        "pids": len([path for path in Path("/proc").iterdir() if path.name.isdigit()]),
        "hostname": socket.gethostname(),
        "cwd": str(Path.cwd()),
        **{name: status[name].strip() for name in ("CapEff", "CapBnd", "CapPrm", "NoNewPrivs", "Seccomp")},
    }


def attempt(paths: list[str], mode: str = "wb") -> list[str]:
    """What becomes of opening each path: `ok` or the error's name."""
    found = []
    for path in paths:
        try:
            with open(path, mode, buffering=0) as file:
                found.append("ok" if "w" in mode else f"ok {len(file.read(64))}")
        except OSError as error:
            found.append(errno.errorcode.get(error.errno or 0, repr(error)))
    return found


def calls() -> list[str]:
    """What becomes of what a prisoner would try."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    trials: dict[str, Any] = {
        "unshare": lambda: libc.unshare(0x10000000),
        "mount": lambda: libc.mount(b"none", b"/tmp", b"tmpfs", 0, None),
        "chroot": lambda: libc.chroot(b"/tmp"),
        "clone": lambda: libc.syscall(56, 0x10000000 | 17, 0, 0, 0, 0),
        "keyctl": lambda: libc.syscall(250, 0, -3, 0),
        "bpf": lambda: libc.syscall(321, 0, 0, 0),
        "mknod": lambda: libc.mknod(b"/tmp/node", 0o020666, os.makedev(1, 1)),
        "sethostname": lambda: libc.sethostname(b"x", 1),
        "vsock": lambda: libc.socket(40, 1, 0),
    }
    found = []
    for name, trial in trials.items():
        ctypes.set_errno(0)
        result = trial()
        if name == "clone" and result == 0:
            os._exit(0)
        found.append(f"{name} {errno.errorcode[ctypes.get_errno()] if result == -1 else 'ok'}")
    return found


def environment() -> dict[str, str]:
    return dict(os.environ)


def shared_memory() -> int:
    stat = os.statvfs("/dev/shm")
    return stat.f_blocks * stat.f_frsize


def interfaces() -> list[str]:
    return sorted(name for _, name in socket.if_nameindex())


def reach(host: str, port: int) -> str:
    try:
        with socket.create_connection((host, port), timeout=20) as link:
            return link.recv(64).decode()
    except OSError as error:
        return type(error).__name__


def knock(hosts: list[str], port: int, bound: bool = True) -> dict[str, str]:
    """What each host says, or how the attempt ends; and the same of a socket bound to the interface, if `bound`."""
    devices = [name for _, name in socket.if_nameindex() if name != "lo"]
    return {host: ", ".join(_knock(host, port, device) for device in ("", *devices[:bound])) for host in hosts}


def _knock(host: str, port: int, device: str) -> str:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, flags=socket.AI_NUMERICHOST)[0]
        with socket.socket(family, socket.SOCK_STREAM) as link:
            link.settimeout(1)
            if device:
                link.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
            link.connect(address)
            return link.recv(64).decode()
    except OSError as error:
        return "no answer" if device else errno.errorcode.get(error.errno or 0, type(error).__name__)


def listen_low() -> int:
    with socket.create_server(("", 80)) as server:
        return int(server.getsockname()[1])


def descriptors() -> list[str]:
    found = []
    for path in Path("/proc/1/fd").iterdir():
        try:
            found.append(str(path.readlink()))
        except OSError:
            continue
    return found


def own_limits() -> dict[str, str]:
    """The limits as programs inside look for them."""
    places = {
        "memory": ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"),
        "cpu": ("/sys/fs/cgroup/cpu.max", "/sys/fs/cgroup/cpu/cpu.cfs_quota_us"),
    }
    found = {}
    for name, paths in places.items():
        for path in map(Path, paths):
            if path.exists():
                found[name] = path.read_text().strip()
    return found


def write_file(path: str, text: str) -> str:
    with open(path, "w") as file:
        file.write(text)
    with open(path) as file:
        return file.read()


def run(argv: list[str]) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout


def fill(path: str, mebibytes: int) -> int:
    with open(path, "wb") as file:
        for _ in range(mebibytes):
            file.write(os.urandom(1 << 20))
        file.flush()
        os.fsync(file.fileno())
    return mebibytes


def serve(seconds: float) -> None:
    """Say hello on port 8080 to whoever comes, and where that is."""
    with socket.create_server(("", 8080)) as server, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        print(probe.getsockname()[0], flush=True)
        server.settimeout(seconds)
        try:
            while True:
                link, _ = server.accept()
                with link:
                    link.sendall(b"hello")
        except TimeoutError:
            return


def mounted(paths: list[str]) -> list[dict[str, Any]]:
    """The size of the file systems at these places, and how they are mounted."""
    with open("/proc/self/mounts") as file:
        lines = [line.split() for line in file]
    found = []
    for path in paths:
        room = os.statvfs(path)
        options = [line[3].split(",") for line in lines if line[1] == path]
        found.append({"size": room.f_blocks * room.f_frsize, "options": options[-1]})
    return found
