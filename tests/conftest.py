"""What all tests share: golden files, the effort of hypothesis, and which tests run side by side.

`pytest --golden-update` writes the golden files; `git diff` is the review. Laws are tried with the profile `quick`, and
in `make test` with `--hypothesis-profile=thorough`.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

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


# The tests of a file share fixtures, so one process runs them. One process also runs the tests of several files that
# use one thing of the machine: `engines` a network address, a bridge or the numbers of a made-up user; `buildkit`
# records of the engine's cache, which are pruned at the end.
GROUPS = {
    "tests/integration/runtime/test_engine_contract.py": "engines",
    "tests/integration/runtime/test_without_root.py": "engines",
    "tests/integration/cli/test_shell.py": "engines",
    "tests/integration/cli/test_run_options.py": "engines",
    "tests/adversarial/test_network.py": "engines",
    "tests/adversarial/test_users.py": "engines",
    **{
        str(path.relative_to(GOLDEN.parents[1])): "buildkit"
        for path in GOLDEN.parent.glob("integration/buildkit/test_*.py")
        if path.name != "test_faults.py"
    },
}
# The longest first: the short ones fill what is left at the end.
ORDER = (
    "tests/integration/buildkit/test_faults.py",
    "tests/integration/test_bootstrap.py",
    "buildkit",
    "engines",
    "tests/integration/",
    "tests/adversarial/",
)


def group(nodeid: str) -> str:
    """Return the name of the tests that run in the same process as this test."""
    file = nodeid.partition("::")[0]
    return GROUPS.get(file, file)


def place(nodeid: str) -> tuple[int, str]:
    """Return the place of a test's group in the order of a parallel run."""
    name = group(nodeid)
    return next((number for number, start in enumerate(ORDER) if name.startswith(start)), len(ORDER)), name


class ByGroup(LoadScopeScheduling):  # type: ignore[misc,unused-ignore]  # xdist exports it without types
    """Give whole groups to the processes of `-n`."""

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByGroup:
    config.option.loadscopereorder = False  # the order is that of `place`
    return ByGroup(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: place(item.nodeid))


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
