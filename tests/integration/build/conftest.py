"""Whole builds on the engine that the client finds: real base, real uv, packages of an index on the loopback interface.

Every package, image and command of a session has the session's own word in it: nothing of it was built before, and
all of it is removed from the engine at the end.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from flyte_images.builder import BuildResult, build, build_all
from flyte_images.buildkit.client import connect
from flyte_images.buildkit.events import Event, Vertex, VertexLog
from flyte_images.image import Image
from flyte_images.store.cache_dir import cache_dir
from tests.fakes.package_index import Index, serve

WORD = f"fi{secrets.token_hex(3)}"
MB = 1_000_000


@dataclass
class Seen:
    """A fake progress display that keeps all events."""

    events: list[Event] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def image(self, name: str) -> Callable[[Event], None]:
        self.images.append(name)
        return self.events.append

    def note(self, text: str) -> None:
        self.notes.append(text)

    def summary(self, name: str, **words: object) -> None:
        pass

    @property
    def ran(self) -> set[str]:
        """The names of the steps that were run, and not found in the engine's cache.

        Sources count as found when the engine had what their checksum says, which its events do not tell: the index
        knows who asked for a file. A base is unpacked once an engine, and to merge costs nothing.
        """
        last: dict[str, Vertex] = {}
        for event in self.events:
            if isinstance(event, Vertex):
                last[event.digest] = event
        names = {it.name for it in last.values() if it.started is not None and not it.cached}
        return {name for name in names if not name.startswith(("fetch ", "base ", "merge "))}

    @property
    def log(self) -> str:
        return b"".join(event.data for event in self.events if isinstance(event, VertexLog)).decode()


class Builds:
    """Builds images and keeps their events; the images are removed at the end of the session."""

    def __call__(self, image: Image, **options: object) -> tuple[BuildResult, Seen]:
        seen = Seen()
        return build(image, progress=seen, **options), seen  # type: ignore[arg-type]

    def together(self, images: dict[str, Image]) -> tuple[list[BuildResult], Seen]:
        seen = Seen()
        return build_all(images, progress=seen), seen  # type: ignore[arg-type]


def docker(*words: str, check: bool = True) -> str:
    done = subprocess.run(("docker", *words), capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, done.stderr
    return done.stdout


def run_in(image: BuildResult | str, *argv: str) -> str:
    """Return the output of a command in a new container of an image."""
    return docker("run", "--rm", "--network=none", str(image), *argv)


def debian(name: str = "app") -> Image:
    return Image.from_debian_base("3.11", name=f"{WORD}-{name}")


@pytest.fixture(scope="session")
def word() -> str:
    return WORD


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache for this session, with the bases of the user's cache, which take long to make."""
    own = tmp_path_factory.mktemp("cache")
    users = cache_dir(os.environ)
    for name in ("bases", "oci"):
        if (users / name).is_dir():
            shutil.copytree(users / name, own / name, copy_function=_link)
    return own


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


@pytest.fixture(scope="session")
def index() -> Iterator[Index]:
    """`big` has a separate layer; `alpha` needs `beta`; `gamma` needs no other package."""
    index = Index()
    noise = secrets.token_bytes(MB + MB // 2)
    index.add(f"{WORD}-big", "1.0", {f"{WORD}_big/__init__.py": "SIZE = 1_500_000\n", f"{WORD}_big/noise": noise})
    index.add(f"{WORD}-alpha", "1.0", requires=[f"{WORD}-beta>=1"])
    index.add(f"{WORD}-beta", "1.5")
    index.add(f"{WORD}-gamma", "1.0")
    with serve(index):
        yield index


@pytest.fixture(scope="session", autouse=True)
def settings(cache: Path, index: Index, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The environment of a user with the index of these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLYTE_IMAGES_CACHE", str(cache))
        patch.setenv("UV_CACHE_DIR", str(tmp_path_factory.mktemp("uv")))
        patch.setenv("UV_DEFAULT_INDEX", index.url)
        patch.setenv("UV_HTTP_RETRIES", "0")
        for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "UV_INDEX", "UV_INDEX_URL", "UV_FIND_LINKS"):
            patch.delenv(name, raising=False)
        own = tmp_path_factory.mktemp("temporary")
        patch.setattr(tempfile, "tempdir", str(own))
        yield


@pytest.fixture(scope="session")
def builds() -> Iterator[Builds]:
    yield Builds()
    for name in docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").split():
        if WORD in name:
            docker("image", "rm", "--force", name, check=False)
    with connect() as client:
        client.prune(f"description~={WORD}", all=True)


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    """Check that no container of a built image and no temporary file outlives a test."""
    yield
    names = docker("ps", "--all", "--format", "{{.Image}} {{.Names}}").splitlines()
    assert not [name for name in names if WORD in name]
    assert [path.name for path in Path(tempfile.gettempdir()).iterdir()] == []
