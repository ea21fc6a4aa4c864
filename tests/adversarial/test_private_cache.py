"""Whoever else has a login on this machine: the cache is closed to them, and the cache of another user is not used."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from flyte_images.context import Source, digest
from flyte_images.errors import SpecError
from flyte_images.runner.artifacts import ArtifactDir
from flyte_images.runner.code_bundle import CodeBundles
from flyte_images.runner.history import record
from flyte_images.runner.result_cache import ResultCache
from flyte_images.store import json_cache
from flyte_images.store.cache_dir import cache_dir, is_cache, layout_dir
from flyte_images.store.oci_layout import CONFIG, Layout
from flyte_images_runtime.system.atomic import private_directory
from flyte_images_runtime.values import Files

KEY = "ab" * 32
STRANGER = 1500  # a user id that owns nothing here


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """A cache whose parents anybody can enter, and a umask that closes nothing."""
    parents = {parent: parent.stat().st_mode & 0o7777 for parent in (tmp_path, *tmp_path.parents[:-2])}
    for parent in parents:
        parent.chmod(0o755)
    environ = {"FLYTE_IMAGES_CACHE": str(tmp_path / "cache"), "HOME": str(tmp_path)}
    monkeypatch.setenv("FLYTE_IMAGES_CACHE", environ["FLYTE_IMAGES_CACHE"])
    before = os.umask(0)
    try:
        yield environ
    finally:
        os.umask(before)
        for parent, mode in parents.items():
            parent.chmod(mode)


def keep_one_of_each(environ: dict[str, str], project: Path) -> None:
    """Let each part of the product keep something in the cache."""
    project.mkdir(mode=0o700)
    (project / ".env").write_text("PASSWORD=hunter2")
    (project / "module.py").write_text("x = 1")
    CodeBundles(environ).bundle(str(project))
    digest(Source(project, "/app"))
    json_cache.write(environ, "wheels", KEY, "hunter2")
    Layout(layout_dir(environ)).put_blob(b"hunter2", CONFIG)
    out = project.parent / "out"
    out.mkdir()
    with Files(str(out), str(out)) as files:
        ResultCache.of(environ).store(KEY, "hunter2", files)
    record(environ, task="t", image="i", end="done")
    private_directory(ArtifactDir.of(environ).path)


def opened_by_a_stranger(path: Path) -> list[str]:
    """Return the files and directories at and below `path` that another user can look into."""
    everything = [str(path), *map(str, path.rglob("*"))]
    look = (
        'for p; do { ls "$p" >/dev/null && { [ -d "$p" ] || cat "$p"; } >/dev/null; } 2>/dev/null && echo "$p"; done; :'
    )
    as_stranger = ("setpriv", f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups", "sh", "-c", look, "sh")
    return subprocess.run((*as_stranger, *everything), check=True, capture_output=True, text=True).stdout.split()


def test_another_user_reads_nothing_of_a_cache(environ: dict[str, str], tmp_path: Path) -> None:
    """D12: nothing that is kept is readable by another user, whatever the umask."""
    keep_one_of_each(environ, tmp_path / "project")
    cache = cache_dir(environ)
    assert len(list(cache.iterdir())) >= 7
    assert opened_by_a_stranger(cache) == []
    for path in cache.rglob("*"):
        if cache / "code" not in path.parents:  # a task reads its copy through a mount; the directory above is closed
            assert path.name == "CACHEDIR.TAG" or path.stat().st_mode & 0o077 == 0, path


def test_a_cache_that_was_open_is_closed_at_the_next_start(environ: dict[str, str], tmp_path: Path) -> None:
    """D12: one of an earlier version, or one that was made by hand."""
    cache = tmp_path / "cache"
    (cache / "code").mkdir(parents=True)
    (cache / "code" / "secret.py").write_text("PASSWORD = 1")
    assert str(cache / "code" / "secret.py") in opened_by_a_stranger(cache)
    assert cache_dir(environ) == cache
    assert opened_by_a_stranger(cache) == []
    assert is_cache(cache)


def test_a_cache_of_another_user_is_refused(environ: dict[str, str], tmp_path: Path) -> None:
    """D12: whoever owns the directory could read and change what is kept there."""
    (tmp_path / "cache").mkdir()
    os.chown(tmp_path / "cache", STRANGER, STRANGER)
    with pytest.raises(SpecError, match="belongs to another user") as caught:
        cache_dir(environ)
    assert "FLYTE_IMAGES_CACHE" in str(caught.value.hint)


def test_a_cache_inside_the_project_is_no_part_of_it(tmp_path: Path) -> None:
    """D16: neither a copy of the sources nor a packed layer nor a digest has it, under whatever name it lies there."""
    project = tmp_path / "project"
    cache = project / "ci" / "kept-things"
    environ = {"FLYTE_IMAGES_CACHE": str(cache), "HOME": str(tmp_path)}
    (project / "ci").mkdir(parents=True)
    (project / "module.py").write_text("x = 1")
    (project / "ci" / "CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55\n# of another program")
    alone = digest(Source(project, "/app"), cache=tmp_path / "elsewhere")
    bundles = CodeBundles(environ)
    for _ in range(3):
        bundle = Path(bundles.bundle(str(project)))
        assert sorted(path.name for path in bundle.rglob("*")) == ["CACHEDIR.TAG", "ci", "module.py"]
        assert cache_dir(environ) == cache  # marks the cache that the first round has made
        assert f"sha256:{bundle.name}" == digest(Source(project, "/app"), cache=tmp_path / "elsewhere") == alone
        json_cache.write(environ, "wheels", os.urandom(32).hex(), bytes(1000).decode())
