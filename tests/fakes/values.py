"""Made-up answers of resolvers, for tests that ask nobody: wheels, Debian packages, bases and the lock of an image."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import PurePath

from flyte_images.bootstrap.base_image import BaseImage
from flyte_images.image import Image
from flyte_images.plan.lock import LayerLock, Lock
from flyte_images_layers.steps import Deb, Sdist, Wheel

CONFIG = json.dumps(
    {
        "architecture": "amd64",
        "os": "linux",
        "created": "2024-05-06T07:08:09Z",
        "config": {"Env": ["PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8"], "Labels": {"by": "base"}},
        "history": [{"created": "2024-05-06T07:08:09Z", "created_by": "debian"}],
        "rootfs": {"type": "layers", "diff_ids": []},
    }
)
BASE = BaseImage(
    origin="layout",
    reference="local/debian-bookworm@sha256:" + "b" * 64,
    digest="sha256:" + "b" * 64,
    python="3.11",
    python_path="/usr/bin/python3.11",
    libc="2.36",
    config=CONFIG,
    description="debian bookworm, made up",
)
OTHER_BASE = BaseImage(
    origin="registry",
    reference="registry.test/base:1@sha256:" + "c" * 64,
    digest="sha256:" + "c" * 64,
    libc="2.36",
    config=CONFIG,
    description="another base, made up",
)


def sha(text: str) -> str:
    """A hexadecimal sha256 that depends on `text`."""
    return hashlib.sha256(text.encode()).hexdigest()


def wheel(name: str, version: str = "1.0", *, size: int = 10_000, url: str = "") -> Wheel:
    filename = f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
    return Wheel(
        name=name,
        version=version,
        filename=filename,
        sha256=sha(filename),
        size=size,
        url=url or f"https://files.test/{filename}",
    )


def sdist(name: str, version: str = "1.0", *, build: Iterable[str] = ("setuptools", "wheel")) -> Sdist:
    filename = f"{name}-{version}.tar.gz"
    needs = tuple(wheel(it) for it in build)
    url = f"https://files.test/{filename}"
    return Sdist(name=name, version=version, filename=filename, sha256=sha(filename), size=7_000, build=needs, url=url)


def deb(name: str, version: str = "1.0", *, url: str = "") -> Deb:
    filename = f"{name}_{version}_amd64.deb"
    return Deb(
        name=name,
        version=version,
        architecture="amd64",
        filename=filename,
        sha256=sha(filename),
        size=5_000,
        url=url or f"http://archive.test/{filename}",
    )


def name_in(requirement: str) -> str:
    """The name of the package that a requirement asks for."""
    return re.split(r"[^\w.-]", requirement)[0]


def locked(
    image: Image,
    *,
    base: BaseImage = BASE,
    toolchain: BaseImage | None = BASE,
    wheels: Iterable[Wheel] = (),
    sdists: Iterable[Sdist] = (),
) -> Lock:
    """A lock in which each layer got one file for each name that it asks for: that of `wheels` or `sdists`, if any."""
    known = {it.name: it for it in wheels}
    sources = {it.name: it for it in sdists}
    taken: set[str] = set()
    layers = []
    for layer in image.layers:
        asked = layer.python_requirements()
        wanted = [name_in(line) for line in asked.requirements] if asked else []
        names = [name for name in dict.fromkeys(wanted) if name not in taken]
        taken |= set(names)
        layers.append(
            LayerLock(
                wheels=tuple(known.get(name) or wheel(name) for name in names if name not in sources),
                sdists=tuple(sources[name] for name in names if name in sources),
                debs=tuple(deb(name) for name in layer.apt_packages()),
            )
        )
    return Lock(request="sha256:" + sha("request"), base=base, toolchain=toolchain, layers=tuple(layers))


def contents(image: Image) -> list[list[str]]:
    """For each layer, what its local files hold: as if each held its own name."""
    return [["sha256:" + sha(PurePath(it.path).name) for it in layer.local_sources()] for layer in image.layers]
