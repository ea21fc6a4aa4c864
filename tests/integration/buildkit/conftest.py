"""The engine under test is the one that the client finds (`BUILDKIT_HOST` names another); without one, tests fail."""

from __future__ import annotations

import json
import re
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from flyte_images.buildkit.client import Client, connect
from flyte_images.buildkit.session import Session

from ...fakes.busybox import busybox_layout


@dataclass(frozen=True)
class Base:
    """The base image of these tests: where its blobs are, and its manifest."""

    directory: Path
    digest: str

    @property
    def session(self) -> Session:
        return Session(stores={"base": self.directory})

    @property
    def layer(self) -> Path:
        """Its one layer, a tarball."""
        blobs = self.directory / "blobs" / "sha256"
        manifest = json.loads((blobs / self.digest.removeprefix("sha256:")).read_bytes())
        return blobs / str(manifest["layers"][0]["digest"]).removeprefix("sha256:")


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    directory = tmp_path_factory.mktemp("busybox")
    return Base(directory, busybox_layout(directory))


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with connect() as connected:
        yield connected


@pytest.fixture(scope="module", autouse=True)
def own_temporary_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A separate temporary directory, without the files of other programs. Its path is long, as for some users."""
    own = tmp_path_factory.mktemp("temporary") / ("long" * 20)
    own.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(own))
        patch.setattr(tempfile, "tempdir", None)
        yield


@pytest.fixture(autouse=True)
def nothing_stays(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Check that no thread, descriptor, socket directory or child process outlives its test."""
    before = _held()
    yield
    deadline = time.monotonic() + 5
    while (after := _held()).sockets > before.sockets and time.monotonic() < deadline:
        time.sleep(0.05)  # grpc closes its own end of a connection in the background
    assert after.threads <= before.threads
    assert after.files <= before.files
    assert after.sockets <= before.sockets


@pytest.fixture(scope="session", autouse=True)
def nothing_stays_in_the_engine(base: Base) -> Iterator[None]:
    """Prune the records of these tests' builds, which have a unique base."""
    yield
    with connect() as connected:
        theirs = [record.id for record in connected.disk_usage() if _OURS.search(record.description)]
        for start in range(0, len(theirs), 50):
            connected.prune(*(f"id=={name}" for name in theirs[start : start + 50]), all=True)


_OURS = re.compile(r"flyte/base@|mkfile /(greeting|data|hello)|/bin/sh -ec .*[0-9a-f]{16}|/noise")


@dataclass(frozen=True)
class _Held:
    """Return the threads, descriptors and processes that this process has."""

    threads: frozenset[str]
    files: frozenset[str]
    sockets: int


def _held() -> _Held:
    return _Held(
        threads=frozenset(
            f"{it.name}-{it.ident}" for it in threading.enumerate() if it.name.startswith("flyte-images")
        ),
        files=frozenset(path.name for path in Path(tempfile.gettempdir()).glob("flyte-images*")),
        sockets=sum(1 for file in Path("/proc/self/fd").iterdir() if _is_socket(file)),
    )


def _is_socket(file: Path) -> bool:
    try:
        return str(file.readlink()).startswith("socket:")
    except OSError:
        return False
