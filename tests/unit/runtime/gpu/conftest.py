from __future__ import annotations

from pathlib import Path

import pytest

from ....fakes.nvml import Driver, make


@pytest.fixture(scope="session")
def _driver(tmp_path_factory: pytest.TempPathFactory) -> Driver:
    return make(tmp_path_factory.mktemp("nvidia"))


@pytest.fixture
def driver(_driver: Driver, tmp_path: Path) -> Driver:
    """An NVIDIA driver whose cards each test chooses."""
    return Driver(_driver.directory, tmp_path / "cards")
