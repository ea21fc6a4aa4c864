"""Locks: there and back, no addresses, and damage is one error with the remedy."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyte_images.errors import SpecError
from flyte_images.image import Image
from flyte_images.lock import FORMAT, LayerLock, Lock, dumps, loads
from flyte_images_layers.steps import Deb, Wheel
from tests import made

IMAGE = (
    Image.from_debian_base("3.11", platform="linux/amd64")
    .with_pip_packages("pandas", "six")
    .with_apt_packages("git")
    .with_env_vars({"A": "1"})
)
LOCK = made.locked(IMAGE)
NAMED = made.locked(Image.from_base("registry.test/base:1"), base=made.OTHER_BASE, toolchain=None)
TEXT = dumps({"app": LOCK, "other": NAMED})


def without_addresses(lock: Lock) -> Lock:
    return dataclasses.replace(
        lock,
        layers=tuple(
            dataclasses.replace(
                layer,
                wheels=tuple(dataclasses.replace(it, url="") for it in layer.wheels),
                debs=tuple(dataclasses.replace(it, url="") for it in layer.debs),
            )
            for layer in lock.layers
        ),
    )


def test_what_is_written_is_read() -> None:
    assert loads(TEXT) == {"app": without_addresses(LOCK), "other": without_addresses(NAMED)}
    assert dumps(loads(TEXT)) == TEXT
    assert loads(TEXT)["app"].digest == LOCK.digest


def test_the_text_is_for_reviews() -> None:
    assert json.dumps(json.loads(TEXT), indent=2, sort_keys=True) + "\n" == TEXT
    assert dumps({"other": NAMED, "app": LOCK}) == TEXT
    assert json.loads(TEXT)["format"] == FORMAT


def test_it_names_files_by_hash_and_never_by_address() -> None:
    assert "files.test" not in TEXT and "archive.test" not in TEXT and "url" not in TEXT
    for wheel in LOCK.wheels().values():
        assert wheel.sha256 in TEXT


def test_where_a_file_was_seen_does_not_matter() -> None:
    assert without_addresses(LOCK).digest == LOCK.digest
    assert NAMED.digest != LOCK.digest


def test_wheels_are_found_by_name() -> None:
    assert {name: wheel.version for name, wheel in LOCK.wheels().items()} == {"pandas": "1.0", "six": "1.0"}


texts = st.text(max_size=5)
sizes = st.integers(0, 10**12)
wheels = st.builds(Wheel, name=texts, version=texts, filename=texts, sha256=texts, size=sizes, url=texts)
debs = st.builds(
    Deb, name=texts, version=texts, architecture=texts, filename=texts, sha256=texts, size=sizes, url=texts
)
layers = st.builds(
    LayerLock, wheels=st.lists(wheels, max_size=2).map(tuple), debs=st.lists(debs, max_size=2).map(tuple)
)
locks = st.builds(
    Lock,
    request=texts,
    base=st.just(made.BASE) | st.just(made.OTHER_BASE),
    toolchain=st.none() | st.just(made.BASE),
    layers=st.lists(layers, max_size=3).map(tuple),
)


@given(st.dictionaries(texts, locks, max_size=2))
def test_any_lock_comes_back(held: dict[str, Lock]) -> None:
    assert loads(dumps(held)) == {name: without_addresses(lock) for name, lock in held.items()}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "[]",
        '"lock"',
        "3",
        "{}",
        '{"format": 1}',
        '{"format": 1, "images": []}',
        '{"format": 1, "images": {"app": 3}}',
        '{"format": 1, "images": {"app": {}}}',
        "<<<<<<< ours\n" + TEXT,
        TEXT[: len(TEXT) // 2],
        TEXT.replace('"sha256"', '"sha512"'),
        TEXT.replace('"wheels"', '"wheel"'),
        "\ufeff" + TEXT,
    ],
    ids=range(16),
)
def test_damage_is_one_error_with_the_place_and_the_remedy(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        loads(text, where="`flyte-images.lock`")
    assert str(caught.value).startswith("`flyte-images.lock` is damaged: ")
    assert caught.value.hint == "remove it; it is made again"
    assert caught.value.exit_code == 2 and caught.value.__cause__ is None


@pytest.mark.parametrize("number", [0, 2, "1", None, 99])
def test_another_format_is_not_guessed_at(number: object) -> None:
    raw = json.loads(TEXT)
    raw["format"] = number
    with pytest.raises(SpecError, match="`x` has another format") as caught:
        loads(json.dumps(raw), where="`x`")
    assert caught.value.hint == "make it again: flyte-images lock"


paths = st.lists(st.integers(0, 30), min_size=1, max_size=8)
junk: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.just([]) | st.just({})
)


@given(paths, junk)
def test_anything_in_the_place_of_anything_is_refused_or_read(path: list[int], value: Any) -> None:
    raw = json.loads(TEXT)
    here: Any = raw
    for step in path[:-1]:
        keys = list(here.keys() if isinstance(here, dict) else range(len(here)) if isinstance(here, list) else [])
        if not keys or not isinstance(here[keys[step % len(keys)]], (dict, list)):
            break
        here = here[keys[step % len(keys)]]
    keys = list(here.keys() if isinstance(here, dict) else range(len(here)))
    if keys:
        here[keys[path[-1] % len(keys)]] = value
    try:
        found = loads(json.dumps(raw))
    except SpecError:
        return
    assert all(isinstance(lock, Lock) for lock in found.values())
    dumps(found)  # and what was read can be written
