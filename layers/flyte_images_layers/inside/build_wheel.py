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
import sys
import tarfile
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
    """Run `main`; what it and its children say is told only where it fails."""
    out, err = os.dup(1), os.dup(2)
    log = os.open("/tmp/log", os.O_RDWR | os.O_CREAT)
    os.dup2(log, 1)
    os.dup2(log, 2)
    try:
        main(arguments)
    except BaseException:
        sys.stdout.flush()
        sys.stderr.flush()
        os.lseek(log, 0, os.SEEK_SET)
        while data := os.read(log, 1 << 16):
            os.write(err, data)
        os.dup2(err, 2)
        raise
    finally:
        sys.stdout.flush()
        os.dup2(out, 1)
        os.dup2(err, 2)


if __name__ == "__main__":
    quietly(main, sys.argv[1:])
