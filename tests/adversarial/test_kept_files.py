"""Bit flips in each kind of kept file: what is read is what was written, or is made again. Never silently wrong."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from flyte_images.bootstrap.base_image import BaseImage
from flyte_images.bootstrap.base_record import record_base, recorded_base
from flyte_images.context import Source, file_index, pack, settled
from flyte_images.errors import FlyteImagesError
from flyte_images.runner.result_cache import ResultCache
from flyte_images.store import json_cache
from flyte_images.store.cache_dir import cache_dir
from flyte_images.store.oci_layout import CONFIG, Layout
from flyte_images_layers import ReferenceBase
from flyte_images_runtime.values import Files, codec

KEY = "ab" * 32


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setenv("FLYTE_IMAGES_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(file_index, "RACY", 0)  # files that were just made are in the index
    monkeypatch.setattr(settled, "_horizon", lambda: 0)
    monkeypatch.setattr(settled, "_is_in_memory", lambda device: False)
    return {"FLYTE_IMAGES_CACHE": str(tmp_path / "cache"), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}


def resolved(environ: dict[str, str]) -> object:
    """What names were resolved to: versions, addresses, which modules a wheel has."""
    value = [{"name": "six", "version": "1.16.0", "sha256": KEY, "size": 11053, "url": "http://a.test/six.whl"}]
    found = json_cache.read(environ, "debs", KEY)
    if found is None:
        json_cache.write(environ, "debs", KEY, value)
        found = json_cache.read(environ, "debs", KEY)
    return found


def found_base(environ: dict[str, str]) -> object:
    """Which image a base was found to be."""
    wanted = ReferenceBase(reference="registry.test/a:1")
    found = recorded_base(wanted, "linux/amd64", environ)
    if found is None:
        value = BaseImage(
            origin="registry",
            reference="registry.test/a:1",
            digest="sha256:" + KEY,
            config="{}",
            python="3.11",
            python_path="/usr/bin/python3",
            libc="2.36",
            description="a base",
        )
        record_base(wanted, "linux/amd64", value, environ=environ)
        found = recorded_base(wanted, "linux/amd64", environ)
    return found


def result(environ: dict[str, str]) -> object:
    """What a task with cache="auto" has returned, with a file."""
    kind = codec(dict[str, bytes])
    out = Path(environ["HOME"]) / "out"
    found = ResultCache.of(environ).find(KEY)
    if found is None:
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        with Files(str(out), str(out)) as files:
            form = json.loads(json.dumps(kind.encode({"small": b"a", "large": bytes(range(256)) * 512}, files)))
        with Files(str(out), str(out)) as files:
            kind.decode(form, files)  # only files that are part of the value are stored
            ResultCache.of(environ).store(KEY, form, files)
        found = ResultCache.of(environ).find(KEY)
    assert found is not None
    with found[1] as files:
        return kind.decode(found[0], files)


def packed(environ: dict[str, str]) -> object:
    """Which image a source tree was packed into, and which file had which content."""
    project = Path(environ["HOME"]) / "project"
    if not project.exists():
        project.mkdir()
        for number in range(20):
            (project / f"{number}.py").write_text(f"x = {number}")
    layout = cache_dir(environ) / "oci"
    made = pack([Source(project, "/app")], layout, cache=cache_dir(environ))
    return made.contents, made.manifest, Layout(layout).manifest(made.manifest)


def blob(environ: dict[str, str]) -> object:
    """A manifest or a configuration in the layout."""
    layout = Layout(cache_dir(environ) / "oci")
    digest = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"  # of {}
    try:
        return layout.read(digest)
    except FlyteImagesError:
        layout.put_blob(b"{}", CONFIG)
        return layout.read(digest)


def copied(environ: dict[str, str]) -> object:
    """A copy of a source tree that a task runs from, with its byte code: as a new process gets it."""
    project = Path(environ["HOME"]) / "code"
    if not project.exists():
        (project / "package").mkdir(parents=True)
        (project / "package" / "__init__.py").write_text("")
        (project / "package" / "module.py").write_text(f"WORD = '{'right' * 2000}'\n")
    program = (
        f"import os, sys; sys.path.insert(0, {str(project)!r}); sys.dont_write_bytecode = True; import package.module\n"
        "from flyte_images.runner.code_bundle import CodeBundles\n"
        f"print(CodeBundles(os.environ).bundle({str(project)!r}))"
    )
    done = subprocess.run((sys.executable, "-c", program), check=True, capture_output=True, text=True, env=environ)
    look = "import sys; sys.path.insert(0, sys.argv[1]); import package.module as m; print(m.WORD, sys.argv[1])"
    return subprocess.run(
        (sys.executable, "-c", look, done.stdout.strip()), check=True, capture_output=True, text=True
    ).stdout


KINDS: dict[str, Callable[[dict[str, str]], object]] = {
    "resolved": resolved,
    "bases": found_base,
    "results": result,
    "oci/contexts": packed,
    "context": packed,
    "oci/blobs": blob,
}


def flip(random: Random, directory: Path) -> Path:
    """Flip one bit of one file below the directory."""
    path = random.choice(sorted(path for path in directory.rglob("*") if path.is_file() and path.stat().st_size))
    data = bytearray(path.read_bytes())
    data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    with path.open("r+b") as file:
        file.write(data)
    return path


def wrong_reads(environ: dict[str, str], kind: str, read: Callable[[dict[str, str]], Any], count: int) -> list[str]:
    """Return the files whose flipped bit changed what is read, of `count` with a fixed seed."""
    random, expected, wrong = Random(f"D17 {kind}"), read(environ), []
    for _ in range(count):
        path = flip(random, cache_dir(environ) / kind)
        if read(environ) != expected:
            wrong.append(str(path))
    return wrong


@pytest.mark.parametrize("kind", KINDS)
def test_a_flipped_bit_is_never_read(environ: dict[str, str], kind: str) -> None:
    """D17: 0 of 40 flips silently wrong; the trial found 6 of 25 results and 5 of 30 bases and archives."""
    assert wrong_reads(environ, kind, KINDS[kind], 40) == []


def test_code_that_was_changed_in_the_cache_does_not_run(environ: dict[str, str]) -> None:
    """D17: neither a module nor byte code."""
    assert wrong_reads(environ, "code", copied, 6) == []


@pytest.mark.adversarial
@pytest.mark.parametrize("kind", [*KINDS, "code"])
def test_many_flipped_bits_are_never_read(environ: dict[str, str], kind: str) -> None:
    """D17: the long trial."""
    read, count = (copied, 150) if kind == "code" else (KINDS[kind], 1500)
    assert wrong_reads(environ, kind, read, count) == []
