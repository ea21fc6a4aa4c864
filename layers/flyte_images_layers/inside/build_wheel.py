"""Build the wheel of a source distribution, without network.

    build_wheel.py OUTPUT ENVIRONMENT SDIST

unpacks SDIST and calls its build backend (PEP 517), which with all that it needs is installed in the virtual
environment ENVIRONMENT; the wheel is written to OUTPUT. The backend says itself what else it wants; that has to be
there, as nothing is fetched here.
"""

from __future__ import annotations

import importlib
import os
import re
import signal
import sys
import tarfile
import time
import zipfile
from typing import Any, Callable


def unpack(archive: str, target: str) -> str:
    """Unpack into `target` and return the one folder that was in it."""
    if archive.endswith(".zip"):
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(target)
    else:
        with tarfile.open(archive) as packed_tar:
            if hasattr(tarfile, "data_filter"):
                packed_tar.extractall(target, filter="data")
            else:
                packed_tar.extractall(target)
    folders = [name for name in sorted(os.listdir(target)) if os.path.isdir(os.path.join(target, name))]
    if len(folders) != 1:
        sys.exit("%s holds %d folders, not one" % (os.path.basename(archive), len(folders)))
    return os.path.join(target, folders[0])


def backend_of(folder: str) -> tuple[str, list[str]]:
    """The backend and where it is looked for first, as pyproject.toml says."""
    path = os.path.join(folder, "pyproject.toml")
    if not os.path.exists(path):
        return "setuptools.build_meta:__legacy__", []
    with open(path, encoding="utf-8") as file:
        text = file.read()
    try:
        import tomllib
    except ImportError:  # before Python 3.11: a string and a list of strings are all that is needed
        found = re.search(r'^build-backend\s*=\s*["\']([^"\']+)', text, re.MULTILINE)
        places = re.search(r"^backend-path\s*=\s*\[([^\]]*)\]", text, re.MULTILINE)
        named = found.group(1) if found else "setuptools.build_meta:__legacy__"
        return named, re.findall(r'["\']([^"\']+)["\']', places.group(1)) if places else []
    system = tomllib.loads(text).get("build-system", {})
    return system.get("build-backend", "setuptools.build_meta:__legacy__"), list(system.get("backend-path", ()))


def ready(environment: str, archive: str) -> Any:
    """Unpack the source distribution, make it the working directory, and return its build backend."""
    site = "%s/lib/python%d.%d/site-packages" % (environment, *sys.version_info[:2])
    os.environ["PATH"] = "%s/bin:%s" % (environment, os.environ.get("PATH", "/usr/bin:/bin"))
    os.environ["PYTHONPATH"] = site  # for the interpreters that a backend starts
    os.environ["HOME"] = "/tmp"  # compilers of some languages keep things there, and the root is read-only
    folder = unpack(archive, "/tmp/source")
    os.chdir(folder)
    named, places = backend_of(folder)
    sys.path[:0] = [os.path.join(folder, place) for place in places] + [site]
    module, _, attribute = named.partition(":")
    try:
        backend = importlib.import_module(module)
    except ImportError as error:
        sys.exit("the build backend `%s` is not there: %s" % (named, error))
    for name in filter(None, attribute.split(".")):
        backend = getattr(backend, name)
    return backend


def main(arguments: list[str]) -> None:
    output, environment, archive = arguments
    backend = ready(environment, archive)
    os.makedirs(output, exist_ok=True)
    backend.build_wheel(output)


def quietly(main: Callable[[list[str]], None], arguments: list[str]) -> None:
    """Run `main` under limits; what it and its children say is told only where it fails."""
    log = os.open("/tmp/log", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    limits = os.environ.pop("FLYTE_IMAGES_LIMITS", "0 8192 7200").split()
    undumpable(True)  # or what runs below could stop its watch
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        undumpable(False)
        os.dup2(log, 1)
        os.dup2(log, 2)
        main(arguments)
        return
    status = watched(child, *map(int, limits))
    if status:
        os.lseek(log, 0, os.SEEK_SET)
        while data := os.read(log, 1 << 16):
            os.write(2, data)
        sys.exit(status)


def undumpable(wanted: bool) -> None:
    """Keep other processes of this user from looking into this one, or let them."""
    try:
        import ctypes

        ctypes.CDLL(None).prctl(4, 0 if wanted else 1, 0, 0, 0)  # PR_SET_DUMPABLE
    except (ImportError, OSError, AttributeError):
        pass


def watched(child: int, most: int, many: int, seconds: int) -> int:
    """Wait for the child, and return its exit status; kill all processes of the step where they pass a limit.

    As the first process of the step this one cannot be killed by them. Where it is not the first, as on an engine
    without a process namespace for each step, nothing is watched.
    """
    began, is_first, files = time.monotonic(), os.getpid() == 1, own_group()
    most = most or os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4 * 3
    while True:
        found = 1
        while found:
            found, status = os.waitpid(-1, os.WNOHANG)
            if found == child:
                return status >> 8 or (128 + (status & 127) if status else 0)
        used, count = usage(*files) if files else (0, 0)
        why = ""
        if used > most:
            why = "it holds %d bytes of memory, more than %d" % (used, most)
        elif count > many:
            why = "it has %d processes, more than %d" % (count, many)
        elif time.monotonic() - began > seconds:
            why = "it has run for more than %d s" % seconds
        if why and is_first:
            os.write(2, ("flyte-images ends the step: %s\n" % why).encode())
            os.kill(-1, signal.SIGKILL)  # every process but this one
        signal.sigtimedwait({signal.SIGCHLD}, 0.2)


def own_group() -> tuple[str, str, tuple[str, str]] | None:
    """The files by which the step's own control group says what it uses, in either version of control groups."""
    for folder, pids, names in (
        ("/sys/fs/cgroup/memory", "/sys/fs/cgroup/pids/pids.current", ("total_rss", "total_shmem")),
        ("/sys/fs/cgroup", "/sys/fs/cgroup/pids.current", ("anon", "shmem")),
    ):
        try:
            with open(folder + "/cgroup.procs") as file:
                is_own = "%d\n" % os.getpid() in file
        except OSError:
            continue
        if is_own and os.path.exists(pids):
            return folder + "/memory.stat", pids, names
    return None


def usage(memory: str, pids: str, names: tuple[str, str]) -> tuple[int, int]:
    """The bytes of memory that the step holds, files in memory included, and its processes."""
    with open(memory) as file:
        used = sum(int(value) for name, value in map(str.split, file) if name in names)
    with open(pids) as file:
        return used, int(file.read())


if __name__ == "__main__":
    quietly(main, sys.argv[1:])
