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
from tests.fakes.engines import Engine, private_engine
from tests.fakes.package_index import Index

from .conftest import WORD, Builds, debian, docker
from .test_sdists import NAME, offer

pytestmark = pytest.mark.engine

Tree = dict[str, tuple[object, ...]]


@pytest.fixture(scope="module", params=["old", "new"])
def other(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A private engine without network, with Docker's old store (a chain, no layouts) or containerd's store."""
    is_new = request.param == "new"
    with private_engine(tmp_path_factory.mktemp("engine"), containerd_store=is_new, bridge=True) as engine:
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


def test_another_engine_gives_the_same_files(builds: Builds, image: Image, other: Engine, tmp_path: Path) -> None:
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


@pytest.mark.network
@pytest.mark.parametrize("other", ["old"], indirect=True)
def test_another_engine_builds_the_same_image_twice(builds: Builds, image: Image, index: Index, other: Engine) -> None:
    """D13: removals, changed folders and Debian packages contain no time of the build, on Docker's old store too."""
    offer(index, "4.0")
    whole = (
        debian("days")
        .with_apt_packages("tree", "cron")
        .with_pip_packages(f"{WORD}-alpha", f"{NAME}==4.0")
        .with_source_file(__file__, "/app")
        .with_commands(
            [f"echo {WORD} >/etc/{WORD}; rm /etc/issue; rm -r /usr/share/doc/tree", "useradd -m app; >/run/x"]
        )
    )
    builds(whole)  # resolves the Debian packages, which needs a network
    seen = []
    for _ in range(2):
        built, _ = builds(whole, builder=other.address, no_cache=True)
        seen.append(
            docker("--host", other.api, "image", "inspect", "--format", "{{.Id}} {{.RootFS.Layers}}", built.ref)
        )
    assert seen[0] == seen[1]


def test_another_engine_does_not_solve_an_unchanged_image(builds: Builds, image: Image, other: Engine) -> None:
    first, _ = builds(image, builder=other.address)
    again, seen = builds(image, builder=other.address)
    assert again.cached and seen.events == []
    assert again.digest == first.digest
