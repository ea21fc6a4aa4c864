"""Tests in a virtual machine, which takes minutes to make: only `-m vm` selects them."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "vm" in config.getoption("-m"):
        return
    unnamed = [item for item in items if item.get_closest_marker("vm")]
    if unnamed:
        config.hook.pytest_deselected(items=unnamed)
        items[:] = [item for item in items if not item.get_closest_marker("vm")]
