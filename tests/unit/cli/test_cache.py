"""Entries of the cache can be listed and removed; entries in use stay."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import click
import pytest

from flyte_images import Image, builder
from flyte_images.cli import connection
from flyte_images.cli.cache_engine import FILTERS
from flyte_images.cli.main import main
from flyte_images.cli.verbs import verbs
from flyte_images.context import Source, pack
from flyte_images.leftovers import bound_layout
from flyte_images.runner.bundle_cache import seal
from flyte_images.store import json_cache
from flyte_images.store.blobs import remove_unnamed, using_layout
from flyte_images.store.oci_layout import Layout
from flyte_images_runtime.execution import running_tasks
from flyte_images_runtime.oci.rootfs import Rootfs

from ..house.house import ROOT

DAY = 86400.0


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with two copies of sources and two resolved sets, one of each not used for two days."""
    monkeypatch.setenv("FLYTE_IMAGES_CACHE", str(tmp_path))
    for name, age in (("new", 0.0), ("old", 2 * DAY)):
        (tmp_path / "code" / name).mkdir(parents=True)
        (tmp_path / "code" / name / "m.py").write_bytes(bytes(1000))
        seal(tmp_path / "code" / name)
        json_cache.save(tmp_path / "resolved" / f"debs-{name}.json", name)
        for path in (
            tmp_path / "code" / name,
            tmp_path / "code" / f"{name}.json",
            tmp_path / "resolved" / f"debs-{name}.json",
        ):
            os.utime(path, (time.time() - age,) * 2)
    return tmp_path


def names(cache: Path) -> list[str]:
    return sorted(path.name for kind in ("code", "resolved") for path in (cache / kind).iterdir())


def test_each_thing_is_listed(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "ls", "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)["entries"]
    assert {(it["kind"], it["name"]) for it in entries} == {
        *(("code", name) for name in ("new", "old")),
        *(("resolved", f"debs-{name}.json") for name in ("new", "old")),
    }
    assert {it["size"] for it in entries if it["kind"] == "code"} == {1000}
    assert main(["cache", "ls", "code"]) == 0
    assert [line.split()[5 if line.startswith("code") else -2] for line in capsys.readouterr().out.splitlines()] == [
        "NAME",
        "new",
        "old",
    ]
    assert main(["cache", "du"]) == 0
    assert re.search(r"code +2 +2.0 kB", capsys.readouterr().out)
    assert main(["cache", "ls", "cod"]) == 2


def test_unused_entries_are_removed_and_a_dry_run_removes_nothing(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = names(cache)
    assert main(["cache", "prune", "--dry-run"]) == 0
    assert names(cache) == before
    assert "would remove 2 entries" in capsys.readouterr().err
    assert main(["cache", "prune"]) == 0
    assert names(cache) == ["debs-new.json", "new", "new.json"]


def test_entries_are_removed_by_name_and_by_size(cache: Path) -> None:
    assert main(["cache", "prune", "resolved", "--name", "debs-new.json"]) == 0
    assert names(cache) == ["debs-old.json", "new", "new.json", "old", "old.json"]
    assert main(["cache", "prune", "code", "--keep", "1000"]) == 0
    assert names(cache) == ["debs-old.json", "new", "new.json"]
    assert main(["cache", "prune", "--unused-for", "soon"]) == 2


def test_a_source_copy_that_a_run_uses_stays(cache: Path) -> None:
    used = os.open(cache / "code" / "old", os.O_RDONLY)
    fcntl.flock(used, fcntl.LOCK_SH)
    assert main(["cache", "prune", "code", "--unused-for", "0"]) == 0
    os.close(used)
    assert names(cache) == ["debs-new.json", "debs-old.json", "old", "old.json"]


def test_records_of_the_engine_go_when_they_are_named(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only records of this product's steps are asked for, and records that a build uses stay."""
    connected, pruned = [], []

    def record(id: str, *, in_use: bool = False) -> SimpleNamespace:
        described = "mount / from exec /bin/sh /flyte-images/programs/limited.sh make"
        return SimpleNamespace(
            id=id, type="", description=described, size=1_500_000, in_use=in_use, created=1.0, last_used=None
        )

    def usage(text: str) -> tuple[SimpleNamespace, ...]:
        assert text in FILTERS
        return (record("a"), record("b", in_use=True))

    def remove(text: str) -> tuple[SimpleNamespace, ...]:
        pruned.append(text)
        return (record("a"),)

    @contextlib.contextmanager
    def connector(builder: str | None) -> Iterator[object]:
        connected.append(builder)
        yield lambda: SimpleNamespace(disk_usage=usage, prune=remove)

    monkeypatch.setattr(connection, "connector", connector)
    assert main(["cache", "prune"]) == 0
    assert connected == []
    assert main(["cache", "ls", "buildkit"]) == 0
    assert "limited.sh make" in capsys.readouterr().out
    assert main(["cache", "prune", "buildkit", "--dry-run"]) == 0
    assert pruned == []
    assert main(["cache", "prune", "buildkit", "--builder", "unix:///b.sock"]) == 0
    assert connected[-1] == "unix:///b.sock"
    assert pruned == ["id==a"]
    assert "removed 1 entries, 1.5 MB" in capsys.readouterr().err


def packed(cache: Path, tmp_path: Path, *, age: float) -> str:
    """Pack a file into the cache's layout, `age` seconds ago. Return the manifest's digest."""
    source = tmp_path / "source.txt"
    source.write_text("x" * 5000)
    manifest = pack([Source(source, "/source.txt")], cache / "oci").manifest
    for path in (cache / "oci").rglob("*"):
        os.utime(path, (time.time() - age,) * 2)
    return manifest


def test_packed_files_go_with_their_blobs(cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = packed(cache, tmp_path, age=2 * DAY)
    assert main(["cache", "ls", "layers", "--json"]) == 0
    [entry] = json.loads(capsys.readouterr().out)["entries"]
    assert entry["size"] > 5000
    assert main(["cache", "prune", "layers"]) == 0
    assert not Layout(cache / "oci").has(manifest)
    assert list((cache / "oci" / "blobs" / "sha256").iterdir()) == []


def test_packed_files_stay_while_a_build_runs(cache: Path, tmp_path: Path) -> None:
    manifest = packed(cache, tmp_path, age=2 * DAY)
    with using_layout(cache):
        assert main(["cache", "prune", "layers"]) == 0
        assert remove_unnamed(cache) == 0
    assert Layout(cache / "oci").complete(manifest)


def test_a_build_holds_the_lock_on_the_layout(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = []

    def run(job: object) -> None:
        lock = os.open(cache / "oci" / ".lock", os.O_RDWR)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            free.append(True)
        except BlockingIOError:
            free.append(False)
        finally:
            os.close(lock)

    monkeypatch.setattr(builder, "sweep_at_times", lambda *_: None)
    monkeypatch.setattr(builder._Job, "run", run)
    builder.build_all([Image.from_debian_base("3.11")])
    assert free == [False]


def test_a_use_of_packed_files_makes_them_the_last_used(cache: Path, tmp_path: Path) -> None:
    manifest = packed(cache, tmp_path, age=2 * DAY)
    pack([Source(tmp_path / "source.txt", "/source.txt")], cache / "oci")
    assert main(["cache", "prune", "layers"]) == 0
    assert Layout(cache / "oci").complete(manifest)


def test_the_layout_keeps_its_bound_without_a_command(cache: Path, tmp_path: Path) -> None:
    manifest = packed(cache, tmp_path, age=31 * DAY)
    fresh = Layout(cache / "oci").put_blob(b"about to be named", "text/plain")
    bound_layout(os.environ)
    assert not Layout(cache / "oci").has(manifest)
    assert Layout(cache / "oci").has(fresh.digest)


def test_a_base_goes_only_when_it_is_named(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layout = Layout(cache / "oci")
    image = layout.put_image([], {"architecture": "amd64", "os": "linux"})
    json_cache.save(cache / "bases" / "made-bookworm.json", {"suite": "bookworm", "manifest": image.json()})
    for path in (*(cache / "oci").rglob("*"), *(cache / "bases").iterdir()):
        os.utime(path, (time.time() - 2 * DAY,) * 2)
    assert main(["cache", "prune"]) == 0
    assert layout.complete(image.digest)
    named = {"digest": image.digest, "description": "debian bookworm"}
    json_cache.save(cache / "bases" / "found-1.json", {"found": named})
    capsys.readouterr()
    assert main(["cache", "ls", "bases", "--json"]) == 0
    sizes = [entry["size"] for entry in json.loads(capsys.readouterr().out)["entries"]]
    assert min(sizes) == 0 < max(sizes)
    os.utime(cache / "bases" / "found-1.json", (0, 0))
    assert main(["cache", "ls", "bases"]) == 0
    assert "debian bookworm" in capsys.readouterr().out
    assert main(["cache", "prune", "bases"]) == 0
    assert not layout.has(image.digest)


def test_resolved_sets_are_found_by_package(cache: Path) -> None:
    document = {"layers": [{"wheels": [{"name": "six"}], "sdists": []}]}
    json_cache.save(cache / "resolved" / "wheels-1.json", document)
    assert main(["cache", "prune", "resolved", "--name", "six"]) == 0
    assert names(cache) == ["debs-new.json", "debs-old.json", "new", "new.json", "old", "old.json"]


def test_unpacked_images_stay_while_a_task_runs_on_the_engine_oci(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = cache / "rootfs" / "layers" / "0a"
    layer.mkdir(parents=True)
    record = cache / "rootfs" / "1.json"
    record.write_text(Rootfs(layers=(str(layer),), identity="oci-layout:/gone").to_json())
    os.utime(record, (time.time() - 2 * DAY,) * 2)
    tasks = [SimpleNamespace(engine="oci")]
    monkeypatch.setattr(running_tasks, "active", lambda: tasks)
    assert main(["cache", "prune", "rootfs"]) == 0
    assert record.exists()
    tasks.clear()
    assert main(["cache", "prune", "rootfs"]) == 0
    assert not record.exists()


def test_each_verb_and_option_that_a_text_names_is_there() -> None:
    """A hint that names a command is a promise: the verb and each of its options exist."""
    wrong, seen = [], 0
    for path in (ROOT / "flyte_images").rglob("*.py"):
        for words in re.findall(r"`flyte-images ([a-z][^`\n{}]*)`", path.read_text(encoding="utf-8")):
            seen += 1
            found: click.Command | None = verbs
            first, *rest = words.split()
            ctx = click.Context(verbs)
            found = verbs.get_command(ctx, first)
            if isinstance(found, click.Group) and rest and not rest[0].startswith("-"):
                found = found.get_command(ctx, rest[0])
            options = {"--help", *(name for it in (found.params if found else ()) for name in it.opts)}
            if found is None or not {word for word in rest if word.startswith("--")} <= options:
                wrong.append(f"{path.name}: {words}")
    assert wrong == []
    assert seen > 5
