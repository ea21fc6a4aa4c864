"""Two packages with a common file: the file that pip would install is used, and the overlap is reported."""

from __future__ import annotations

import pytest

from tests.fakes.package_index import Index

from .conftest import MB, WORD, Builds, debian, run_in

pytestmark = pytest.mark.engine

ONE, TWO = f"{WORD}-cv", f"{WORD}-cv-headless"


def offer(index: Index, name: str, who: str, noise: bytes) -> None:
    info = f"{name.replace('-', '_')}-1.0.dist-info"
    files = {
        f"{WORD}_shared/__init__.py": f"WHO = {who!r}\n",
        f"{WORD}_shared/{who}.py": f"def main(): print({who!r})\n",
        f"{WORD}_shared/noise": noise,
        f"{info}/entry_points.txt": f"[console_scripts]\n{WORD}-tool = {WORD}_shared.{who}:main\n",
    }
    index.add(name, "1.0", files)


def test_pips_order_decides_and_both_packages_are_recorded(builds: Builds, index: Index) -> None:
    # The one that is seen is the larger, which as a layer of its own would lie below the other.
    offer(index, ONE, "one", bytes(range(256)) * (2 * MB // 256))
    offer(index, TWO, "two", b"small")
    image = debian("overlap").with_pip_packages(ONE, TWO, f"{WORD}-beta")
    built, seen = builds(image)
    told = f"{TWO} and {ONE} both contain bin/{WORD}-tool and 2 more: the files of {ONE} are used"
    assert told in seen.notes
    code = f"""
import {WORD}_shared as p, importlib.metadata as m, os
print(p.WHO, os.path.getsize(p.__path__[0] + "/noise"))
print([sum("{WORD}_shared" in str(it) for it in m.files(name)) for name in ({ONE!r}, {TWO!r})])
"""
    assert run_in(built, "python", "-c", code) == f"one {2 * MB // 256 * 256}\n[3, 3]\n"
    assert run_in(built, f"/opt/venv/bin/{WORD}-tool") == "one\n"
    again, _ = builds(image, no_cache=True)
    assert again.digest == built.digest
