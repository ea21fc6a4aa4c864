"""Whole graphs in the form that people read. A change here moves users' caches: the commit says why."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flyte_images import llb
from flyte_images.errors import Location
from flyte_images.llb import dump

LINUX = llb.Platform.parse("linux/amd64")
EPOCH = 1_700_000_000 * 10**9
WHEEL = "sha256:" + "ab" * 32


def base() -> llb.State:
    note = llb.Note(name="base", location=Location("/home/me/image.py", 3))
    return llb.image("registry.test/debian:13", platform=LINUX, resolve_mode="local", note=note)


def package() -> llb.State:
    """A wheel, unpacked by a command into its own layer."""
    wheel = llb.http("https://files.test/pandas-3.0-py3.whl", checksum=WHEEL, filename="pandas-3.0-py3.whl", mode=0o644)
    group = llb.Group("pip", "pip packages")
    unpack = llb.run(
        base(),
        ["unpack", "/in/pandas-3.0-py3.whl", "/opt"],
        platform=LINUX,
        env={"PATH": "/usr/bin", "LC_ALL": "C.UTF-8"},
        mounts=[llb.bind("/in", wheel), llb.output("/opt"), llb.tmpfs("/tmp")],
        readonly_root=True,
        note=llb.Note(name="pandas 3.0", group=group, location=Location("/home/me/image.py", 4)),
    )
    return llb.merge([base(), unpack.output("/opt")], note=llb.Note(name="image"))


def files() -> llb.State:
    """Every file action."""
    source = llb.oci_layout(f"local/context@{WHEEL}", store="context", platform=LINUX)
    return llb.file(
        None,
        [
            llb.mkdir("/app/deep", make_parents=True),
            llb.mkfile("/app/long.txt", b"line\n" * 100, mode=0o600),
            llb.mkfile("/app/bytes", b"\xff\x00"),
            llb.copy(source, "/src", "/app/src"),
            llb.copy(source, "/src.tar", "/app/unpacked", unpack=True),
        ],
        timestamp=EPOCH,
    )


def command() -> llb.State:
    """Every option of a command."""
    built = llb.run(
        base(),
        ["/bin/sh", "-ec", "first line\nsecond line"],
        platform=LINUX,
        cwd="/app",
        network=llb.Network.UNSET,
        mounts=[llb.secret("/run/secrets/token", id="token", optional=True)],
        secret_env=[llb.SecretEnv("TOKEN", "token")],
        note=llb.Note(ignore_cache=True, description={"kind": "commands"}),
    )
    return llb.diff(base(), built.root)


def sources() -> llb.State:
    """Every kind of source."""
    return llb.merge(
        [
            llb.image(f"registry.test/app:1@{WHEEL}", platform=LINUX, checksum=WHEEL),
            llb.oci_layout(f"local/context@{WHEEL}", store="context", platform=LINUX),
            llb.local("context", unique=WHEEL, shared_key_hint="me"),
            llb.http("https://files.test/a", checksum=WHEEL, mode=0o755),
        ]
    )


GRAPHS = {graph.__name__: graph for graph in (package, files, command, sources)}


@pytest.mark.parametrize("name", GRAPHS)
def test_text(name: str, golden: Callable[[str, str], None]) -> None:
    golden(f"llb/{name}.txt", dump.to_text(llb.marshal(GRAPHS[name]())))


def test_json(golden: Callable[[str, str], None]) -> None:
    golden("llb/package.json", dump.to_json(llb.marshal(package())))


def test_dot(golden: Callable[[str, str], None]) -> None:
    golden("llb/package.dot", dump.to_dot(llb.marshal(package())))
