"""The same description on other engines, which reach no index: one with containerd's store, one that cannot merge."""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from flyte_images.image import Image
from tests.integration.buildkit.engines import Engine, private_engine

from .conftest import WORD, Builds, debian, docker

pytestmark = pytest.mark.engine

Tree = dict[str, tuple[object, ...]]


@pytest.fixture(scope="module", params=["old", "new"])
def other(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A private engine, with Docker's old store (a chain, no layouts) or with containerd's; it has no network."""
    with private_engine(tmp_path_factory.mktemp("engine"), containerd_store=request.param == "new") as engine:
        yield engine


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    source = tmp_path_factory.mktemp("src")
    (source / "main.py").write_text("x = 1\n")
    (source / "link").symlink_to("main.py")
    (source / "tool").write_text("#!/bin/sh\n")
    (source / "tool").chmod(0o755)
    return (
        debian("engines")
        .with_pip_packages(f"{WORD}-alpha", f"{WORD}-big")
        .with_workdir("/srv/app")
        .with_source_folder(source, ".", copy_contents_only=True)
        .with_source_file(source / "main.py", "/srv/after")
    )


def tree(ref: str, host: tuple[str, ...] = ()) -> Tree:
    """All files of an image: kind, mode, owner, time, target and content."""
    container = docker(*host, "create", ref).strip()
    try:
        data = subprocess.run(("docker", *host, "export", container), capture_output=True, check=True).stdout
    finally:
        docker(*host, "rm", "--force", container)
    found: Tree = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for it in archive:
            file = archive.extractfile(it) if it.isreg() else None
            content = hashlib.sha256(file.read()).hexdigest() if file else ""
            found[it.name] = (it.type, oct(it.mode), it.uid, it.gid, it.mtime, it.linkname, content)
    return found


def test_the_same_files_are_in_it(builds: Builds, image: Image, other: Engine, tmp_path: Path) -> None:
    here, _ = builds(image)
    there, _ = builds(image, builder=other.address)
    assert (there.plan, there.ref) == (here.plan, here.ref)
    host = ("--host", other.api)
    one, two = tree(here.ref), tree(there.ref, host)
    # What Docker itself puts into a container.
    skipped = ("dev", "proc", "sys", "run", ".dockerenv", "etc/hostname", "etc/hosts", "etc/resolv.conf", "etc/mtab")
    differing = {
        name: (one.get(name), two.get(name))
        for name in {*one, *two}
        if not name.startswith(skipped) and name != "etc" and one.get(name) != two.get(name)
    }
    assert differing == {}
    assert len([name for name in one if name.startswith(("opt/venv/lib", "srv/"))]) > 20


def test_unchanged_it_is_not_solved_again_there(builds: Builds, image: Image, other: Engine) -> None:
    first, _ = builds(image, builder=other.address)
    again, seen = builds(image, builder=other.address)
    assert again.cached and seen.events == []
    assert again.digest == first.digest
