"""Golden files: `pytest --golden-update` writes what the tests say now; `git diff` is the review. And how hard laws are
tried: `quick` while one works, `--hypothesis-profile=thorough` where all tests are run (`make test`)."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

GOLDEN = Path(__file__).parent / "golden"

# A law that does not hold is mostly seen in the first dozen of examples; `thorough` looks for the rest of them. On a
# busy machine any example may take any time.
settings.register_profile("quick", max_examples=25, deadline=None)
settings.register_profile("thorough", max_examples=200, deadline=None)
settings.load_profile("quick")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--golden-update", action="store_true", help="rewrite the files in tests/golden")


def pytest_collection_finish() -> None:
    gc.freeze()  # what was imported and collected stays; the collector need not look at it after every test


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare a text with a file of tests/golden: `golden("llb/scratch.txt", text)`."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--golden-update"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.exists(), f"no {path.name} yet: run pytest --golden-update and review it"
        assert text == path.read_text(encoding="utf-8"), f"{name} changed: if it should, pytest --golden-update"

    return compare
