"""What is kept can be seen and removed; what is in use stays."""

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

from flyte_images.cli import connection
from flyte_images.cli.main import main
from flyte_images.cli.verbs import verbs
from flyte_images.runner.bundle_cache import seal
from flyte_images.store import json_cache

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
    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines()] == ["NAME", "new", "old"]
    assert main(["cache", "du"]) == 0
    assert re.search(r"code +2 +2.0 kB", capsys.readouterr().out)
    assert main(["cache", "ls", "cod"]) == 2


def test_what_was_not_used_goes_and_a_dry_run_removes_nothing(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = names(cache)
    assert main(["cache", "prune", "--dry-run"]) == 0
    assert names(cache) == before
    assert "would remove 2 entries" in capsys.readouterr().err
    assert main(["cache", "prune"]) == 0
    assert names(cache) == ["debs-new.json", "new", "new.json"]


def test_by_name_and_by_size(cache: Path) -> None:
    assert main(["cache", "prune", "resolved", "--name", "debs-new.json"]) == 0
    assert names(cache) == ["debs-old.json", "new", "new.json", "old", "old.json"]
    assert main(["cache", "prune", "code", "--keep", "1000"]) == 0
    assert names(cache) == ["debs-old.json", "new", "new.json"]
    assert main(["cache", "prune", "--unused-for", "soon"]) == 2


def test_what_a_run_uses_stays(cache: Path) -> None:
    used = os.open(cache / "code" / "old", os.O_RDONLY)
    fcntl.flock(used, fcntl.LOCK_SH)
    assert main(["cache", "prune", "code", "--unused-for", "0"]) == 0
    os.close(used)
    assert names(cache) == ["debs-new.json", "debs-old.json", "old", "old.json"]


def test_the_build_cache_of_the_engine_goes_when_it_is_named(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    @contextlib.contextmanager
    def connector(builder: str | None) -> Iterator[object]:
        asked.append(builder)
        yield lambda: SimpleNamespace(prune=lambda: (SimpleNamespace(size=1_500_000),))

    monkeypatch.setattr(connection, "connector", connector)
    assert main(["cache", "prune"]) == 0
    assert main(["cache", "prune", "--engine", "--dry-run"]) == 0
    assert asked == []
    assert main(["cache", "prune", "--engine", "--builder", "unix:///b.sock"]) == 0
    assert asked == ["unix:///b.sock"]
    assert "removed 1 records of the engine's build cache, 1.5 MB" in capsys.readouterr().err


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
