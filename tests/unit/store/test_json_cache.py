"""Resolved documents are kept; a lost or damaged one only costs the time to resolve again."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from flyte_images.store import json_cache
from flyte_images.store.cache_dir import TAG

KEY = "sha256:" + "ab" * 32


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"FLYTE_IMAGES_CACHE": str(tmp_path / "cache")}


def files(environ: dict[str, str]) -> list[Path]:
    return sorted(
        path for path in Path(environ["FLYTE_IMAGES_CACHE"]).rglob("*") if path.is_file() and path.name != TAG
    )


def test_a_written_document_is_read(environ: dict[str, str]) -> None:
    assert json_cache.read(environ, "wheels", KEY) is None
    json_cache.write(environ, "wheels", KEY, [{"a": 1}])
    assert json_cache.read(environ, "wheels", KEY) == [{"a": 1}]
    json_cache.write(environ, "wheels", KEY, "text")
    assert json_cache.read(environ, "wheels", KEY) == "text"
    assert len(files(environ)) == 1


def test_kinds_and_keys_are_separate(environ: dict[str, str]) -> None:
    json_cache.write(environ, "wheels", KEY, 1)
    assert json_cache.read(environ, "debs", KEY) is None
    assert json_cache.read(environ, "wheels", "sha256:" + "cd" * 32) is None


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff\xfe\x00", b'{"a": 1', b"\0" * 4096])
def test_a_damaged_document_counts_as_missing(environ: dict[str, str], damage: bytes) -> None:
    json_cache.write(environ, "wheels", KEY, {"a": 1})
    (file,) = files(environ)
    file.write_bytes(damage)
    assert json_cache.read(environ, "wheels", KEY) is None
    json_cache.write(environ, "wheels", KEY, {"a": 2})
    assert json_cache.read(environ, "wheels", KEY) == {"a": 2}


def test_a_cache_that_cannot_be_written_is_not_an_error(environ: dict[str, str]) -> None:
    Path(environ["FLYTE_IMAGES_CACHE"]).write_text("a file where the cache is to be")
    json_cache.write(environ, "wheels", KEY, 1)
    assert json_cache.read(environ, "wheels", KEY) is None


def test_a_folder_instead_of_a_document_is_not_an_error(environ: dict[str, str]) -> None:
    json_cache.write(environ, "wheels", KEY, 1)
    (file,) = files(environ)
    file.unlink()
    file.mkdir()
    json_cache.write(environ, "wheels", KEY, 2)
    assert json_cache.read(environ, "wheels", KEY) is None
    assert files(environ) == []  # and nothing partial is left


def test_readers_see_whole_documents_while_others_write(environ: dict[str, str]) -> None:
    values = [str(number) * 20_000 for number in range(4)]
    json_cache.write(environ, "wheels", KEY, values[0])
    seen: list[object] = []

    def write(value: str) -> None:
        for _ in range(20):
            json_cache.write(environ, "wheels", KEY, value)

    writers = [threading.Thread(target=write, args=(value,)) for value in values]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        seen.append(json_cache.read(environ, "wheels", KEY))
    for writer in writers:
        writer.join()
    assert set(seen) <= set(values)
    assert len(files(environ)) == 1
