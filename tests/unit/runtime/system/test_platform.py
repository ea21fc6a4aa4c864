"""Platforms: one value for every spelling, and the images that fit a platform."""

from __future__ import annotations

import os

import pytest

from flyte_images_runtime.system.platform import Platform


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("linux/amd64", ("linux", "amd64", "")),
        ("linux/x86_64", ("linux", "amd64", "")),
        ("linux/amd64/v1", ("linux", "amd64", "")),
        ("linux/aarch64/v8", ("linux", "arm64", "")),
        ("linux/amd64/v3", ("linux", "amd64", "v3")),
        ("linux/arm/v7", ("linux", "arm", "v7")),
    ],
)
def test_every_spelling_gives_the_same_platform(text: str, expected: tuple[str, str, str]) -> None:
    assert Platform.parse(text) == expected


@pytest.mark.parametrize("text", ["", "linux", "linux/", "/amd64", "linux/arm/v7/x"])
def test_a_text_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a platform"):
        Platform.parse(text)


def test_the_kernels_name_of_this_machine_is_the_inverse_of_ocis() -> None:
    assert Platform.of_this_machine().machine == os.uname().machine
    assert Platform.parse("linux/s390x").machine == "s390x"


def test_an_image_without_a_description_fits_no_platform() -> None:
    assert not Platform.parse("linux/amd64").fits({})
