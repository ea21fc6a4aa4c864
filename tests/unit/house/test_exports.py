"""`import flyte_images as flyte` offers its names lazily; each is in the reference, with an example."""

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


def test_every_exported_name_has_an_example_that_runs() -> None:
    names = {name for name in flyte_images.__all__ if name != "errors" and not is_error(name)}
    assert {name for name in names if ">>>" not in (getattr(flyte_images, name).__doc__ or "")} == set()
    assert ">>>" in (type(flyte_images.run).__call__.__doc__ or "")


def is_error(name: str) -> bool:
    value = getattr(flyte_images, name)
    return isinstance(value, type) and issubclass(value, Exception)


def test_every_exported_name_is_in_the_documentation() -> None:
    pages = " ".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "site").glob("*.md"))
    outcomes = {name for name in flyte_images.__all__ if is_error(name)}  # errors.md has their module
    assert {name for name in flyte_images.__all__ if f"::: flyte_images.{name}\n" not in pages + "\n"} == outcomes
