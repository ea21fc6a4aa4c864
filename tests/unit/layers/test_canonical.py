"""Canonical bytes: the exact form, which no release may change, and values without one."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import pytest

from flyte_images_layers import decoration, digest, encode


@dataclasses.dataclass(frozen=True)
class Record:
    kind: ClassVar[str] = "record"
    b: object
    a: object = None
    place: object = decoration()


@dataclasses.dataclass(frozen=True)
class Nameless:
    b: object
    a: object = None


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (None, b"n"),
        (True, b"t"),
        (False, b"f"),
        (0, b"i1:0"),
        (-12, b"i3:-12"),
        ("", b"s0:"),
        ("ä", b"s2:\xc3\xa4"),
        ("\ud800", b"s3:\xed\xa0\x80"),  # half of a surrogate pair: file names may hold one
        (b"\x00:", b"b2:\x00:"),
        ((), b"l0:"),
        (("a", 1), b"l2:s1:ai1:1"),
        (["a", 1], b"l2:s1:ai1:1"),
        ({}, b"d0:"),
        ({"b": 1, "a": 2}, b"d2:s1:ai1:2s1:bi1:1"),
        (Record(b=1, a=(2,), place="decoration"), b"rs6:recordd2:s1:al1:i1:2s1:bi1:1"),
        (Nameless(b=1), b"rs8:Namelessd2:s1:ans1:bi1:1"),
    ],
)
def test_form(value: object, encoded: bytes) -> None:
    assert encode(value) == encoded


@pytest.mark.parametrize("value", [1.5, {"a"}, frozenset(), object(), Record, 1j, range(3), (1, [2.0])])
def test_a_value_without_a_canonical_form_is_an_error(value: object) -> None:
    with pytest.raises(TypeError, match="no canonical form for"):
        encode(value)


def test_a_record_is_not_the_mapping_of_its_fields() -> None:
    assert len({encode(it) for it in (Record(b=1), Nameless(b=1), {"b": 1, "a": None})}) == 3


def test_two_domains_share_no_digest() -> None:
    assert digest("step", 1) == "sha256:" + "75ad70ad8c78f4915ccd03410bb296860672f63eb1fdd779636601c65b67bb05"
    assert digest("step", 1) != digest("plan", 1)
