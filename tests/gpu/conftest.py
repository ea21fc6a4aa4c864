"""These run only when they are named, `-m gpu`, and then a machine without what they need is a failure."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "gpu" in config.getoption("-m"):
        return
    unnamed = [item for item in items if item.get_closest_marker("gpu")]
    if unnamed:
        config.hook.pytest_deselected(items=unnamed)
        items[:] = [item for item in items if not item.get_closest_marker("gpu")]
