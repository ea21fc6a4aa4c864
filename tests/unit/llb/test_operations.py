"""Each operation: its bytes are parsed and compared with the message that BuildKit expects."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from flyte_images import llb
from flyte_images.errors import SpecError
from flyte_images.llb.pb import ops_pb2 as pb

LINUX = llb.Platform.parse("linux/amd64")
SUM = "sha256:" + "0" * 64
BASE = llb.image("registry.test/debian:13", platform=LINUX)


def op(state: llb.State) -> pb.Op:
    assert state.vertex is not None
    return pb.Op.FromString(state.vertex.op)


def caps(state: llb.State) -> frozenset[str]:
    assert state.vertex is not None
    return state.vertex.caps


def run(*mounts: llb.Mount, **options: Any) -> llb.Exec:
    return llb.run(BASE, ["true"], platform=LINUX, mounts=mounts, **options)


# --- bytes and digests


def fields(data: bytes) -> list[int]:
    """Return the field numbers in the order of the bytes; every field is a message here."""
    numbers, at = [], 0
    while at < len(data):
        numbers.append(data[at] >> 3)
        size, shift, at = 0, 0, at + 1
        while True:
            size |= (data[at] & 0x7F) << shift
            shift, at = shift + 7, at + 1
            if data[at - 1] < 0x80:
                break
        at += size
    return numbers


def test_the_operation_follows_the_platform() -> None:
    """BuildKit's own order: inputs (1), platform (10), and only then exec (2) or source (3)."""
    vertices = (run().root.vertex, BASE.vertex)
    assert [fields(it.op) for it in vertices if it] == [[1, 10, 2], [10, 3]]


def test_a_vertex_is_named_by_its_bytes() -> None:
    vertex = BASE.vertex
    assert vertex is not None
    assert BASE.digest == "sha256:" + hashlib.sha256(vertex.op).hexdigest()


@pytest.mark.parametrize(
    ("state", "has_platform"),
    [
        (BASE, True),
        (run().root, True),
        (llb.oci_layout(f"a/b@{SUM}", store="s", platform=LINUX), True),
        (llb.http("https://files.test/a", checksum=SUM), False),
        (llb.local("a", unique=SUM), False),
        (llb.file(BASE, [llb.mkdir("/a")]), False),
        (llb.merge([BASE, run().root]), False),
        (llb.diff(BASE, run().root), False),
    ],
)
def test_only_images_and_commands_have_a_platform(state: llb.State, has_platform: bool) -> None:
    assert op(state).HasField("platform") is has_platform


# --- commands


def test_the_root_comes_first_and_mounts_by_path() -> None:
    message = op(run(llb.tmpfs("/b"), llb.output("/c"), llb.output("/a")).root).exec
    assert [(it.dest, it.output) for it in message.mounts] == [("/", 0), ("/a", 1), ("/b", -1), ("/c", 2)]
    assert message.meta.removeMountStubsRecursive


def test_outputs_are_found_by_path() -> None:
    done = run(llb.output("/c"), llb.output("/a"))
    assert (done.root.index, done.output("/a").index, done.output("/c").index) == (0, 1, 2)
    assert len({done.root.digest, done.output("/a").digest}) == 1
    with pytest.raises(SpecError, match="no output mount at `/b`"):
        done.output("/b")


def test_a_read_only_root_is_not_an_output_and_stays_unchanged() -> None:
    done = run(llb.output("/out"), readonly_root=True)
    root, out = op(done.output("/out")).exec.mounts
    assert (root.readonly, root.output, out.output) == (True, -1, 0)
    assert done.root == BASE


def test_a_state_that_is_mounted_twice_is_one_input() -> None:
    message = op(run(llb.bind("/a", BASE), llb.bind("/b", BASE, selector="/etc")).root)
    assert len(message.inputs) == 1
    assert [it.input for it in message.exec.mounts] == [0, 0, 0]


@pytest.mark.parametrize(
    ("mount", "kind", "cap"),
    [
        (llb.bind("/m", BASE), pb.BIND, "exec.mount.bind"),
        (llb.bind("/m", BASE, selector="/x"), pb.BIND, "exec.mount.selector"),
        (llb.tmpfs("/m"), pb.TMPFS, "exec.mount.tmpfs"),
        (llb.secret("/m", id="s"), pb.SECRET, "exec.mount.secret"),
    ],
)
def test_a_mount_without_an_output_has_output_minus_one(mount: llb.Mount, kind: int, cap: str) -> None:
    state = run(mount).root
    message = op(state).exec.mounts[1]
    assert (message.mountType, message.output) == (kind, -1)
    assert cap in caps(state)


def test_only_the_owner_may_read_a_secret_file() -> None:
    message = op(run(llb.secret("/s", id="s")).root).exec.mounts[1]
    assert (message.secretOpt.mode, message.secretOpt.optional) == (0o400, False)


def test_commands_have_no_network_unless_asked() -> None:
    assert op(run().root).exec.network == pb.NONE
    assert op(run(network=llb.Network.UNSET).root).exec.network == pb.UNSET


@pytest.mark.parametrize(
    ("options", "cap"),
    [
        ({"network": llb.Network.NONE}, "exec.meta.network"),
        ({"secret_env": [llb.SecretEnv("A", "a")]}, "exec.secretenv"),
    ],
)
def test_an_option_that_an_old_engine_would_ignore_requires_its_capability(options: dict[str, Any], cap: str) -> None:
    assert cap in caps(run(**{"network": llb.Network.UNSET, **options}).root)
    assert cap not in caps(run(network=llb.Network.UNSET).root)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: llb.run(BASE, "ls -l", platform=LINUX), "not a command"),
        (lambda: llb.run(BASE, [], platform=LINUX), "not a command"),
        (lambda: llb.run(BASE, ["a\0b"], platform=LINUX), "cannot be sent"),
        (lambda: llb.run(BASE, ["caf\udce9"], platform=LINUX), "cannot be sent"),
        (lambda: run(env={"A=B": "c"}), "environment variable"),
        (lambda: run(cwd="app"), "absolute path"),
        (lambda: run(cwd="/app/"), "absolute path"),
        (lambda: run(llb.tmpfs("/a/../b")), "absolute path"),
        (lambda: run(llb.tmpfs("/")), "two mounts at `/`"),
        (lambda: run(llb.tmpfs("/a"), llb.output("/a")), "two mounts at `/a`"),
        (lambda: run(readonly_root=True), "no output"),
        (lambda: llb.bind("/a", llb.scratch()), "no source"),
        (lambda: llb.secret("/a", id=""), "no id"),
    ],
)
def test_a_command_that_cannot_exist_is_refused(make: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        make()


# --- files


def test_actions_follow_each_other_and_only_the_last_has_an_output() -> None:
    other = llb.file(None, [llb.mkfile("/f", b"")])
    message = op(llb.file(BASE, [llb.mkdir("/a"), llb.copy(other, "/f", "/a/"), llb.mkdir("/b")]))
    assert len(message.inputs) == 2
    indices = [(it.input, it.secondaryInput, it.output) for it in message.file.actions]
    assert indices == [(0, -1, -1), (2, 1, -1), (3, -1, 0)]


def test_the_first_action_without_a_base_starts_from_scratch() -> None:
    message = op(llb.file(None, [llb.mkdir("/a"), llb.mkdir("/b")]))
    assert [(it.input, it.output) for it in message.file.actions] == [(-1, -1), (0, 0)]


def test_an_attribute_that_is_not_given_stays_unchanged() -> None:
    message = op(llb.file(BASE, [llb.copy(BASE, "/a", "/b")])).file.actions[0].copy
    assert (message.mode, message.timestamp, message.followSymlink) == (-1, -1, False)
    assert message.dirCopyContents
    assert message.createDestPath
    assert not message.HasField("owner")


def test_a_timestamp_is_for_all_actions() -> None:
    message = op(llb.file(None, [llb.mkdir("/a"), llb.mkfile("/b", b"")], timestamp=5)).file
    assert [message.actions[0].mkdir.timestamp, message.actions[1].mkfile.timestamp] == [5, 5]


def test_a_file_operation_without_actions_makes_no_vertex() -> None:
    assert llb.file(BASE, []) == BASE
    assert llb.file(None, []) == llb.scratch()


@pytest.mark.parametrize("path", ["a", "/a/../b", "", "/a\0"])
def test_paths_are_absolute(path: str) -> None:
    with pytest.raises(SpecError):
        llb.mkdir(path)


def test_a_slash_at_the_end_of_a_path_stays() -> None:
    message = op(llb.file(BASE, [llb.copy(BASE, "//a/./b", "/c/")])).file.actions[0].copy
    assert (message.src, message.dest) == ("/a/b", "/c/")


# --- layers


def test_a_merge_of_fewer_than_two_states_is_that_state() -> None:
    assert llb.merge([]) == llb.scratch()
    assert llb.merge([BASE, llb.scratch()]) == BASE
    merged = llb.merge([BASE, run().root])
    assert [it.input for it in op(merged).merge.inputs] == [0, 1]
    assert caps(merged) == {"mergeop"}


def test_diff_over_nothing_is_the_state_itself() -> None:
    assert llb.diff(llb.scratch(), BASE) == BASE
    emptied = op(llb.diff(BASE, llb.scratch())).diff
    assert (emptied.lower.input, emptied.upper.input) == (0, -1)


# --- sources


@pytest.mark.parametrize(
    ("state", "identifier", "attrs"),
    [
        (
            llb.image("registry.test/a:1", platform=LINUX, resolve_mode="local", checksum=SUM),
            "docker-image://registry.test/a:1",
            {"image.resolvemode": "local", "image.checksum": SUM},
        ),
        (
            llb.http("https://f.test/x", checksum=SUM, mode=0o755),
            "https://f.test/x",
            {"http.checksum": SUM, "http.perm": "0755"},
        ),
        (llb.oci_layout(f"a/b@{SUM}", store="s", platform=LINUX), f"oci-layout://a/b@{SUM}", {"oci.store": "s"}),
        (
            llb.local("ctx", unique=SUM, shared_key_hint="ctx"),
            "local://ctx",
            {"local.unique": SUM, "local.sharedkeyhint": "ctx"},
        ),
    ],
)
def test_sources(state: llb.State, identifier: str, attrs: dict[str, str]) -> None:
    source = op(state).source
    assert (source.identifier, dict(source.attrs)) == (identifier, attrs)


@pytest.mark.parametrize(
    "make",
    [
        lambda: llb.image("debian", platform=LINUX),
        lambda: llb.image("library/debian:13", platform=LINUX),
        lambda: llb.image("registry.test/debian", platform=LINUX),
        lambda: llb.oci_layout(f"context@{SUM}", store="s", platform=LINUX),
        lambda: llb.oci_layout("a/b:latest", store="s", platform=LINUX),
        lambda: llb.http("ftp://files.test/a", checksum=SUM),
        lambda: llb.http("https://files.test/a", checksum="abc"),
        lambda: llb.http("https://files.test/a", checksum=SUM, filename="a/b"),
        lambda: llb.local("ctx", unique=""),
    ],
)
def test_an_invalid_or_ambiguous_source_is_refused(make: Any) -> None:
    with pytest.raises(SpecError):
        make()
