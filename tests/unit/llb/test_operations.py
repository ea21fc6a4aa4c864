"""Each operation: the bytes are parsed back and compared with what BuildKit has to be told."""

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
    """The numbers of the fields in the order in which they are written; all of them are messages here."""
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


def test_the_operation_stands_behind_the_platform() -> None:
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
        (llb.git("https://git.test/a", ref="main"), False),
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
    made = op(run(llb.tmpfs("/b"), llb.output("/c"), llb.output("/a")).root).exec
    assert [(it.dest, it.output) for it in made.mounts] == [("/", 0), ("/a", 1), ("/b", -1), ("/c", 2)]
    assert made.meta.removeMountStubsRecursive


def test_outputs_are_found_by_path() -> None:
    done = run(llb.output("/c"), llb.output("/a", BASE))
    assert (done.root.index, done.output("/a").index, done.output("/c").index) == (0, 1, 2)
    assert len({done.root.digest, done.output("/a").digest}) == 1
    with pytest.raises(SpecError, match="no output mount at `/b`"):
        done.output("/b")


def test_a_read_only_root_is_no_output_and_stays_what_it_was() -> None:
    done = run(llb.output("/out"), readonly_root=True)
    root, out = op(done.output("/out")).exec.mounts
    assert (root.readonly, root.output, out.output) == (True, -1, 0)
    assert done.root == BASE


def test_a_state_that_is_mounted_twice_is_one_input() -> None:
    made = op(run(llb.bind("/a", BASE), llb.bind("/b", BASE, selector="/etc")).root)
    assert len(made.inputs) == 1
    assert [it.input for it in made.exec.mounts] == [0, 0, 0]


@pytest.mark.parametrize(
    ("mount", "kind", "cap"),
    [
        (llb.bind("/m", BASE), pb.BIND, "exec.mount.bind"),
        (llb.bind("/m", BASE, selector="/x"), pb.BIND, "exec.mount.selector"),
        (llb.bind("/m", BASE, readonly=False), pb.BIND, "exec.mount.bind.readwrite-nooutput"),
        (llb.cache("/m", id="c"), pb.CACHE, "exec.mount.cache"),
        (llb.cache("/m", id="c", seed=BASE), pb.CACHE, "exec.mount.cache.sharing"),
        (llb.tmpfs("/m"), pb.TMPFS, "exec.mount.tmpfs"),
        (llb.tmpfs("/m", size=1), pb.TMPFS, "exec.mount.tmpfs.size"),
        (llb.secret("/m", id="s"), pb.SECRET, "exec.mount.secret"),
        (llb.ssh("/m"), pb.SSH, "exec.mount.ssh"),
    ],
)
def test_a_mount_without_output_says_so(mount: llb.Mount, kind: int, cap: str) -> None:
    done = run(mount).root
    made = op(done).exec.mounts[1]
    assert (made.mountType, made.output) == (kind, -1)
    assert cap in caps(done)


def test_secret_files_are_for_their_owner_alone() -> None:
    made = op(run(llb.secret("/s", id="s")).root).exec.mounts[1]
    assert (made.secretOpt.mode, made.secretOpt.optional) == (0o400, False)


def test_commands_have_no_network_unless_asked() -> None:
    assert op(run().root).exec.network == pb.NONE
    assert op(run(network=llb.Network.UNSET).root).exec.network == pb.UNSET


@pytest.mark.parametrize(
    ("options", "cap"),
    [
        ({"network": llb.Network.HOST}, "exec.meta.network"),
        ({"security": llb.Security.INSECURE}, "exec.meta.security"),
        ({"ulimits": [llb.Ulimit("nofile", 1, 2)]}, "exec.meta.ulimit"),
        ({"valid_exit_codes": [0, 1]}, "exec.validexitcode"),
        ({"devices": ["vendor.test/gpu=0"]}, "exec.meta.cdi"),
        ({"secret_env": [llb.SecretEnv("A", "a")]}, "exec.secretenv"),
    ],
)
def test_what_an_old_engine_would_ignore_is_demanded(options: dict[str, Any], cap: str) -> None:
    assert cap in caps(run(**options).root)
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
        (lambda: llb.cache("/a", id=""), "no id"),
        (lambda: llb.secret("/a", id=""), "no id"),
        (lambda: llb.tmpfs("/a", size=0), "0 bytes"),
    ],
)
def test_what_no_command_can_have_is_refused(make: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        make()


# --- files


def test_actions_follow_each_other_and_only_the_last_comes_out() -> None:
    other = llb.file(None, [llb.mkfile("/f", b"")])
    made = op(llb.file(BASE, [llb.mkdir("/a"), llb.copy(other, "/f", "/a/"), llb.rm("/b")]))
    assert len(made.inputs) == 2
    indices = [(it.input, it.secondaryInput, it.output) for it in made.file.actions]
    assert indices == [(0, -1, -1), (2, 1, -1), (3, -1, 0)]


def test_files_on_nothing_begin_with_nothing() -> None:
    made = op(llb.file(None, [llb.mkdir("/a"), llb.mkdir("/b")]))
    assert [(it.input, it.output) for it in made.file.actions] == [(-1, -1), (0, 0)]


def test_what_is_not_given_is_left_as_it_is() -> None:
    made = op(llb.file(BASE, [llb.copy(BASE, "/a", "/b")])).file.actions[0].copy
    assert (made.mode, made.timestamp, made.followSymlink) == (-1, -1, False)
    assert made.dirCopyContents
    assert made.createDestPath
    assert not made.HasField("owner")


def test_a_symbolic_mode_takes_the_place_of_the_number() -> None:
    made = op(llb.file(BASE, [llb.copy(BASE, "/a", "/b", mode="u=rwX")])).file.actions[0].copy
    assert (made.mode, made.modeStr) == (0, "u=rwX")


def test_a_time_of_all_actions_yields_to_one_of_their_own() -> None:
    made = op(llb.file(None, [llb.mkdir("/a"), llb.mkfile("/b", b"", timestamp=0)], timestamp=5)).file
    assert [made.actions[0].mkdir.timestamp, made.actions[1].mkfile.timestamp] == [5, 0]


def test_owners_by_id_and_by_name_in_the_state_below() -> None:
    made = op(llb.file(BASE, [llb.mkdir("/a", owner=llb.Owner("me", 5))])).file.actions[0].mkdir.owner
    assert (made.user.byName.name, made.user.byName.input, made.group.byID) == ("me", 0, 5)
    with pytest.raises(SpecError, match="knows the owner `me`"):
        llb.file(None, [llb.mkdir("/a", owner=llb.Owner("me"))])


def test_no_action_is_no_vertex() -> None:
    assert llb.file(BASE, []) == BASE
    assert llb.file(None, []) == llb.scratch()


@pytest.mark.parametrize("path", ["a", "/a/../b", "", "/a\0"])
def test_paths_are_absolute(path: str) -> None:
    with pytest.raises(SpecError):
        llb.mkdir(path)


def test_a_slash_at_the_end_of_a_path_stays() -> None:
    made = op(llb.file(BASE, [llb.copy(BASE, "//a/./b", "/c/")])).file.actions[0].copy
    assert (made.src, made.dest) == ("/a/b", "/c/")


# --- layers


def test_merge_of_few() -> None:
    assert llb.merge([]) == llb.scratch()
    assert llb.merge([BASE, llb.scratch()]) == BASE
    made = llb.merge([BASE, run().root])
    assert [it.input for it in op(made).merge.inputs] == [0, 1]
    assert caps(made) == {"mergeop"}


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
            llb.http("https://f.test/x", checksum=SUM, mode=0o755, gid=0),
            "https://f.test/x",
            {"http.checksum": SUM, "http.perm": "0755", "http.gid": "0"},
        ),
        (llb.oci_layout(f"a/b@{SUM}", store="s", platform=LINUX), f"oci-layout://a/b@{SUM}", {"oci.store": "s"}),
        (
            llb.git("https://me@git.test/a/b.git", ref="main", subdir="/x/"),
            "git://git.test/a/b.git#main:x",
            {"git.fullurl": "https://me@git.test/a/b.git"},
        ),
        (
            llb.git("me@git.test:a/b.git", ref="main"),
            "git://git.test/a/b.git#main",
            {"git.fullurl": "me@git.test:a/b.git", "git.mountsshsock": "default"},
        ),
        (
            llb.local("ctx", unique=SUM, include=["b", "a"]),
            "local://ctx",
            {"local.unique": SUM, "local.includepattern": '["b", "a"]'},
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
        lambda: llb.http("https://files.test/a", checksum=SUM, headers={"Cookie": "x"}),
        lambda: llb.git("repo", ref="main"),
        lambda: llb.git("https://git.test/a", ref="a:b"),
        lambda: llb.local("ctx", unique=""),
        lambda: llb.Platform.parse("linux"),
    ],
)
def test_sources_that_mean_nothing_or_two_things_are_refused(make: Any) -> None:
    with pytest.raises(SpecError):
        make()
