"""Whole graphs as a person reads them. A change here moves users' caches: the commit says why."""

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
    """A wheel, unpacked by a command, as a layer of its own."""
    wheel = llb.http("https://files.test/pandas-3.0-py3.whl", checksum=WHEEL, filename="pandas-3.0-py3.whl", mode=0o644)
    group = llb.Group("pip", "pip packages")
    unpack = llb.run(
        base(),
        ["unpack", "/in/pandas-3.0-py3.whl", "/opt"],
        platform=LINUX,
        env={"PATH": "/usr/bin", "LC_ALL": "C.UTF-8"},
        mounts=[llb.bind("/in", wheel), llb.output("/opt"), llb.tmpfs("/tmp", size=1 << 30)],
        readonly_root=True,
        note=llb.Note(name="pandas 3.0", group=group, location=Location("/home/me/image.py", 4)),
    )
    return llb.merge([base(), unpack.output("/opt")], note=llb.Note(name="image"))


def files() -> llb.State:
    """All that needs no command."""
    source = llb.oci_layout(f"local/context@{WHEEL}", store="context", platform=LINUX)
    return llb.file(
        None,
        [
            llb.mkdir("/app", owner=llb.Owner(1000, 1000)),
            llb.mkfile("/app/long.txt", b"line\n" * 100, mode=0o600),
            llb.mkfile("/app/bytes", b"\xff\x00"),
            llb.copy(source, "/src", "/app/src", include=["*.py"], exclude=["test_*"], mode="go-w"),
            llb.symlink("src/main.py", "/app/main"),
            llb.rm("/app/bytes"),
        ],
        timestamp=EPOCH,
    )


def command() -> llb.State:
    """All that a command may have."""
    done = llb.run(
        base(),
        ["/bin/sh", "-ec", "first line\nsecond line"],
        platform=LINUX,
        cwd="/app",
        user="nobody",
        hostname="builder",
        network=llb.Network.UNSET,
        security=llb.Security.INSECURE,
        mounts=[
            llb.cache("/root/.cache", id="uv", sharing=llb.Sharing.LOCKED),
            llb.secret("/run/secrets/token", id="token", optional=True),
            llb.ssh("/run/agent"),
        ],
        secret_env=[llb.SecretEnv("TOKEN", "token")],
        extra_hosts={"a.test": "10.0.0.1"},
        ulimits=[llb.Ulimit("nofile", 1024, 4096)],
        valid_exit_codes=[0, 3],
        devices=["vendor.test/gpu=0"],
        note=llb.Note(ignore_cache=True, description={"kind": "commands"}),
    )
    return llb.diff(base(), done.root)


def sources() -> llb.State:
    """Every kind of source."""
    return llb.merge(
        [
            llb.git("https://git.test/me/repo.git", ref="a" * 40, subdir="lib", keep_git_dir=True),
            llb.git("git@git.test:me/repo.git", ref="main", known_ssh_hosts="git.test ssh-ed25519 AAAA"),
            llb.local("context", unique=WHEEL, include=["src"], exclude=["**/*.pyc"], shared_key_hint="me"),
            llb.http("https://files.test/a", checksum=WHEEL, uid=1, headers={"Accept": "*/*"}, auth_header_secret="h"),
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
