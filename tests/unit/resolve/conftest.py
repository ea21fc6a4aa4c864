"""An index of made-up packages on the loopback interface; uv is real, without the settings of this machine."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.package_index import Index, serve


@pytest.fixture(scope="session")
def shelf() -> Iterator[Index]:
    """The index of most tests, which do not change it."""
    index = Index()
    index.add("alpha", "1.0", requires=["beta>=1"])
    index.add("alpha", "1.1", requires=["beta>=1"])
    index.add("alpha", "2.0rc1", requires=["beta>=1"])
    index.add("beta", "1.0")
    index.add("beta", "1.5")
    index.add("gamma", "1.0", requires=["beta<1"])
    index.add("native", "1.0", tag="cp311-cp311-manylinux_2_28_x86_64")
    index.add("native", "1.0", tag="cp311-cp311-manylinux_2_28_aarch64")
    index.add("native", "1.0", tag="cp312-cp312-manylinux_2_28_x86_64")
    index.add("native", "1.0", tag="cp311-cp311-win_amd64")
    index.add("newest", "1.0", tag="cp311-cp311-manylinux_2_28_x86_64")
    index.add("newest", "2.0", tag="cp311-cp311-manylinux_2_38_x86_64")
    index.add("windows", "1.0", tag="cp311-cp311-win_amd64")
    index.add("marked", "1.0", requires=['windows; sys_platform == "win32"', 'beta; python_version < "3.12"'])
    index.add("broken", "1.0", requires=["nowhere-to-be-found"])
    index.faults["sick"] = 500
    with serve(index):
        yield index


@pytest.fixture(scope="session")
def uv_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("uv")


@pytest.fixture
def environ(shelf: Index, uv_cache: Path, tmp_path: Path) -> dict[str, str]:
    """The environment of a user who has set only the index."""
    return {
        "PATH": str(Path(sys.executable).parent),  # uv looks at every Python that is on it
        "HOME": str(tmp_path / "home"),
        "UV_CACHE_DIR": str(uv_cache),
        "UV_NO_CONFIG": "1",
        "UV_HTTP_RETRIES": "0",
        "UV_DEFAULT_INDEX": shelf.url,
        "FLYTE_IMAGES_CACHE": str(tmp_path / "cache"),
    }


@pytest.fixture(autouse=True)
def nothing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail a test that leaves temporary files."""
    own = tmp_path / "temporary"
    own.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(own))
    yield
    assert list(own.iterdir()) == []
