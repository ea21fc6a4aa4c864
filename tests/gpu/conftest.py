"""Tests on a real GPU: only `-m gpu` selects them, and a machine without a GPU then fails them."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "gpu" in config.getoption("-m"):
        return
    unnamed = [item for item in items if item.get_closest_marker("gpu")]
    if unnamed:
        config.hook.pytest_deselected(items=unnamed)
        items[:] = [item for item in items if not item.get_closest_marker("gpu")]
