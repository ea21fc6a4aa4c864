"""Locks: writing and reading, no addresses, one request per lock, and one error with a remedy for damage."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyte_images.errors import SpecError
from flyte_images.image import Image
from flyte_images.plan.lock import FORMAT, LayerLock, Lock, Overlap, dumps, loads, request
from flyte_images.plan.lock_schema import LockDocument
from flyte_images_layers.steps import Deb, Sdist, Wheel
from tests.fakes import values

from ..house.test_imports import loaded

LINUX = "linux/amd64"
IMAGE = (
    Image.from_debian_base("3.11", platform=LINUX)
    .with_pip_packages("pandas", "six")
    .with_env_vars({"A": "1"})
    .with_apt_packages("git")
)
NAMED = Image.from_base("registry.test/base:1", python_version="3.11", platform=LINUX)


def asked(image: Image, lock: Lock) -> Lock:
    return dataclasses.replace(lock, request=request(image, platform=LINUX))


def with_sdist(lock: Lock) -> Lock:
    build = (values.wheel("setuptools"),)
    sdist = Sdist(name="old", version="1", filename="old-1.tar.gz", sha256="0" * 64, size=3, build=build, url="x")
    return dataclasses.replace(lock, layers=(dataclasses.replace(lock.layers[0], sdists=(sdist,)), *lock.layers[1:]))


OVERLAP = Overlap(packages=("b", "a"), paths=("x.py",), count=1)
LOCK = dataclasses.replace(asked(IMAGE, with_sdist(values.locked(IMAGE))), overlaps=(OVERLAP,))
NAMED_LOCK = asked(NAMED, values.locked(NAMED, base=values.OTHER_BASE, toolchain=None))
TEXT = dumps({"app": (IMAGE, LOCK), "other": (NAMED, NAMED_LOCK)})


def without_addresses(lock: Lock) -> Lock:
    def plain(files: tuple[Any, ...]) -> tuple[Any, ...]:
        found = (dataclasses.replace(it, url="") for it in files)
        return tuple(dataclasses.replace(it, build=plain(it.build)) if isinstance(it, Sdist) else it for it in found)

    layers = (LayerLock(wheels=plain(it.wheels), sdists=plain(it.sdists), debs=plain(it.debs)) for it in lock.layers)
    return dataclasses.replace(lock, layers=tuple(layers))


def test_a_lock_survives_writing_and_reading() -> None:
    assert loads(TEXT, IMAGE, platform=LINUX) == without_addresses(LOCK)
    assert loads(TEXT, NAMED, platform=LINUX) == without_addresses(NAMED_LOCK)
    again = loads(TEXT, IMAGE, platform=LINUX)
    assert again is not None and again.digest == LOCK.digest


def test_the_text_is_for_reviews() -> None:
    assert json.dumps(json.loads(TEXT), indent=2, sort_keys=True) + "\n" == TEXT
    assert dumps({"other": (NAMED, NAMED_LOCK), "app": (IMAGE, LOCK)}) == TEXT
    assert json.loads(TEXT)["format"] == FORMAT


def test_a_lock_names_files_by_hash_and_never_by_address() -> None:
    assert "files.test" not in TEXT and "archive.test" not in TEXT and '"url"' not in TEXT
    for wheel in LOCK.wheels().values():
        assert wheel.sha256 in TEXT


def test_the_address_of_a_file_does_not_change_the_digest() -> None:
    assert without_addresses(LOCK).digest == LOCK.digest
    assert NAMED_LOCK.digest != LOCK.digest


def test_a_lock_fits_every_image_with_the_same_request() -> None:
    """Variables, sources and names do not change the request, and each layer finds its own entry."""
    moved = (
        Image.from_debian_base("3.11", platform=LINUX, name="other")
        .with_workdir("/x")
        .with_pip_packages("six", "Pandas")
        .with_apt_packages("git")
        .with_commands(["true"])
    )
    found = loads(TEXT, moved, platform=LINUX)
    assert found is not None
    kept = without_addresses(LOCK)
    assert found.layers == (LayerLock(), kept.layers[0], kept.layers[2], LayerLock())


@pytest.mark.parametrize(
    "other",
    [
        IMAGE.with_pip_packages("numpy"),
        IMAGE.clone(python_version="3.12"),
        IMAGE.clone(base_image="registry.test/other:1"),
        dataclasses.replace(IMAGE, layers=IMAGE.layers[:1]),
        dataclasses.replace(IMAGE, layers=IMAGE.layers[::-1]),
    ],
)
def test_a_lock_of_another_request_is_not_used(other: Image) -> None:
    assert loads(TEXT, other, platform=LINUX) is None
    assert loads(TEXT, IMAGE, platform="linux/arm64") is None


texts = st.text(max_size=5)
sizes = st.integers(0, 10**12)
hashes = st.text("0123456789abcdef", min_size=64, max_size=64)
names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._+!%~-]{0,5}", fullmatch=True)
file = {"name": texts, "version": texts, "filename": names, "sha256": hashes, "size": sizes, "url": texts}
wheels = st.lists(st.builds(Wheel, **file), max_size=2).map(tuple)
sdists = st.lists(st.builds(Sdist, build=wheels, **file), max_size=2).map(tuple)
debs = st.lists(st.builds(Deb, architecture=texts, **file), max_size=2).map(tuple)


several = st.lists(texts, min_size=2, max_size=3).map(tuple)
overlaps = st.lists(st.builds(Overlap, packages=several, paths=several, count=sizes), max_size=2).map(tuple)


@given(st.builds(LayerLock, wheels=wheels, sdists=sdists), st.builds(LayerLock, debs=debs), overlaps, st.booleans())
def test_any_files_survive_writing_and_reading(
    python: LayerLock, debian: LayerLock, overlaps: tuple[Overlap, ...], tool: bool
) -> None:
    layers = (python, LayerLock(), debian)
    lock = dataclasses.replace(LOCK, layers=layers, overlaps=overlaps, toolchain=values.BASE if tool else None)
    assert loads(dumps({"app": (IMAGE, lock)}), IMAGE, platform=LINUX) == without_addresses(lock)


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
        TEXT.replace('"size": 10000', '"size": "10000"'),
        TEXT.replace(values.wheel("six").sha256, "6" * 63),
        TEXT.replace(values.wheel("six").sha256, "../" + "6" * 61),
        TEXT.replace('"packages": [', '"packages": "b", "unused": ['),
        TEXT.replace('"count": 1', '"count": "1"'),
        "\ufeff" + TEXT,
    ],
    ids=range(21),
)
@pytest.mark.parametrize("stamp", [False, True], ids=["as it is", "with its checksum"])
def test_damage_is_one_error_with_the_file_and_the_remedy(text: str, stamp: bool) -> None:
    assert text.replace("1", "") != TEXT.replace("1", "")
    with pytest.raises(SpecError) as caught:
        loads(stamped(text) if stamp else text, IMAGE, platform=LINUX, where="`flyte-images.lock`")
    assert str(caught.value).startswith("`flyte-images.lock` is damaged: ")
    assert caught.value.hint == "make it again: flyte-images lock"
    assert caught.value.exit_code == 2 and caught.value.__cause__ is None


def stamped(text: str) -> str:
    """Return the lock with a matching checksum, if it is JSON: a lock that an attacker would write."""
    try:
        raw = json.loads(text)
        body = json.dumps(raw["images"], sort_keys=True, separators=(",", ":"))
        return json.dumps({**raw, "checksum": f"sha256:{hashlib.sha256(body.encode()).hexdigest()}"})
    except (ValueError, TypeError, LookupError):
        return text


def line_of(text: str, part: str) -> int:
    """Return the number of the first line that contains `part`."""
    return next(number for number, line in enumerate(text.splitlines(), 1) if part in line)


@pytest.mark.parametrize(
    ("old", "new", "field", "message"),
    [
        ('"size": 10000', '"size": "10000"', r"images\.app\.layers\.0\.sdists\.0\.build\.0\.size", "valid integer"),
        ('"filename": "six', '"filename": "../six', r"images\.app\.layers\.0\.wheels\.\d\.filename", "match pattern"),
        ('"wheels"', '"wheel"', r"images\.app\.layers\.0\.wheels", "Field required"),
        ('"count": 1', '"count": null', r"images\.app\.overlaps\.0\.count", "valid integer"),
    ],
)
def test_the_error_names_line_and_field(old: str, new: str, field: str, message: str) -> None:
    assert old in TEXT
    text = TEXT.replace(old, new, 1)
    with pytest.raises(SpecError, match=f"`x` is damaged: line [0-9]+, `{field}`: .*{message}") as caught:
        loads(text, IMAGE, platform=LINUX, where="`x`")
    if message != "Field required":
        assert f"line {line_of(text, new)}," in str(caught.value)


def test_the_error_of_a_text_that_is_not_json_names_the_line() -> None:
    with pytest.raises(SpecError, match=r"`x` is damaged: line 3: not JSON: "):
        loads('{\n "format": 1,\n images\n}', IMAGE, platform=LINUX, where="`x`")
    with pytest.raises(SpecError, match="does not match the checksum"):
        loads(TEXT.replace('"version": "', '"version": "1'), IMAGE, platform=LINUX, where="`x`")


def test_a_lock_fits_its_schema_and_reading_it_does_not_load_the_schema() -> None:
    LockDocument.model_validate_json(TEXT)
    code = "from flyte_images.plan.lock import loads\nfrom flyte_images.image import Image\n"
    code += f"loads({TEXT!r}, Image.from_debian_base('3.11', platform='linux/amd64'), platform='linux/amd64')"
    assert "pydantic" not in loaded(code)


def test_a_flipped_bit_is_never_read() -> None:
    """D17: damage that changed a version, a name or a hash, and left valid JSON, was read without an error."""
    data, random = TEXT.encode(), Random(17)
    expected = without_addresses(LOCK)
    for _ in range(300):
        at, bit = random.randrange(len(data)), 1 << random.randrange(8)
        flipped = data[:at] + bytes((data[at] ^ bit,)) + data[at + 1 :]
        try:
            found = loads(flipped.decode(errors="surrogateescape"), IMAGE, platform=LINUX)
        except SpecError as error:
            assert error.hint == "make it again: flyte-images lock"
        else:
            assert found == expected  # white space


@pytest.mark.parametrize("number", [0, 2, "1", None, 99])
def test_another_format_is_refused(number: object) -> None:
    raw = json.loads(TEXT)
    raw["format"] = number
    with pytest.raises(SpecError, match="`x` has another format") as caught:
        loads(json.dumps(raw), IMAGE, platform=LINUX, where="`x`")
    assert caught.value.hint == "make it again: flyte-images lock"


paths = st.lists(st.integers(0, 30), min_size=1, max_size=8)
junk: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.just([]) | st.just({})
)


@given(paths, junk)
def test_any_replaced_value_is_refused_or_read(path: list[int], value: Any) -> None:
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
        found = loads(stamped(json.dumps(raw)), IMAGE, platform=LINUX)
    except SpecError:
        return
    assert found is None or isinstance(found, Lock)
    if found is not None:
        dumps({"app": (IMAGE, found)})  # and what was read can be written
        assert all(isinstance(wheel.size, int) for wheel in found.wheels().values())
