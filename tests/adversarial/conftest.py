"""The long trials run only when they are named, `-m adversarial`; the short ones are part of every run."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "adversarial" in config.getoption("-m"):
        return
    long = [item for item in items if item.get_closest_marker("adversarial")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if not item.get_closest_marker("adversarial")]
