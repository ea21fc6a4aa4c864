"""`import flyte_images as flyte` offers its names lazily, each as what it says."""

from __future__ import annotations

import pytest

import flyte_images

from .house import ROOT


def test_every_exported_name_is_there() -> None:
    assert set(flyte_images.__all__) <= set(dir(flyte_images))
    for name in flyte_images.__all__:
        assert getattr(flyte_images, name) is not None
    with pytest.raises(AttributeError, match="has no `Imag`"):
        _ = flyte_images.Imag  # type: ignore[attr-defined]


def test_every_exported_name_is_in_the_documentation() -> None:
    pages = " ".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "site").glob("*.md"))
    outcomes = {name for name in flyte_images.__all__ if isinstance(getattr(flyte_images, name), type)}
    outcomes = {name for name in outcomes if issubclass(getattr(flyte_images, name), Exception)}
    assert {name for name in flyte_images.__all__ if f"::: flyte_images.{name}\n" not in pages + "\n"} == outcomes
