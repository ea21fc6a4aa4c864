"""The location of the cache directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from flyte_images.errors import SpecError
from flyte_images.store.cache_dir import cache_dir, layout_dir


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"HOME": "/h"}, "/h/.cache/flyte-images"),
        ({"HOME": "/h", "XDG_CACHE_HOME": "/x"}, "/x/flyte-images"),
        ({"HOME": "/h", "XDG_CACHE_HOME": "relative"}, "/h/.cache/flyte-images"),
        ({"HOME": "/h", "XDG_CACHE_HOME": ""}, "/h/.cache/flyte-images"),
        ({"XDG_CACHE_HOME": "/x"}, "/x/flyte-images"),
        ({"HOME": "/h", "XDG_CACHE_HOME": "/x", "FLYTE_IMAGES_CACHE": "/own"}, "/own"),
        ({"HOME": "/h", "FLYTE_IMAGES_CACHE": ""}, "/h/.cache/flyte-images"),
    ],
)
def test_own_variable_then_xdg_then_home(environ: dict[str, str], expected: str) -> None:
    assert cache_dir(environ) == Path(expected)
    assert layout_dir(environ) == Path(expected) / "oci"


@pytest.mark.parametrize("environ", [{}, {"HOME": ""}, {"FLYTE_IMAGES_CACHE": "here"}])
def test_a_missing_directory_is_an_error_that_names_the_variable(environ: dict[str, str]) -> None:
    with pytest.raises(SpecError) as caught:
        cache_dir(environ)
    assert "FLYTE_IMAGES_CACHE" in f"{caught.value} {caught.value.hint}"
