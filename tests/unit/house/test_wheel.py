"""What a user installs: three packages, all their files, one command."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import flyte_images

from .house import PACKAGES, ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    build = (sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder))
    subprocess.run(build, check=True, cwd=ROOT, capture_output=True)
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def test_it_installs_our_three_packages_and_no_other_name(wheel: zipfile.ZipFile) -> None:
    record = f"flyte_images-{flyte_images.__version__}.dist-info"
    assert {name.split("/")[0] for name in wheel.namelist()} == {*PACKAGES, record}


def test_it_holds_every_file_of_the_packages(wheel: zipfile.ZipFile) -> None:
    wanted = {
        str(path.relative_to(folder.parent))
        for folder in PACKAGES.values()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert wanted <= set(wheel.namelist())
    assert {f"{package}/py.typed" for package in PACKAGES} <= wanted


def test_it_brings_the_command(wheel: zipfile.ZipFile) -> None:
    entry = next(name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    assert "flyte-images = flyte_images.cli.main:main" in wheel.read(entry).decode()


def test_it_works_where_it_is_unpacked_alone(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    """The command runs from the unpacked wheel, without the checkout."""
    wheel.extractall(tmp_path)
    code = (
        f"import sys; sys.path[:] = [p for p in sys.path if not p.startswith({str(ROOT)!r}) or 'site-packages' in p]\n"
        f"sys.path.insert(0, {str(tmp_path)!r})\n"
        "import flyte_images, flyte_images_layers, flyte_images_runtime\n"
        "from flyte_images_layers.inside import text\n"
        "from flyte_images.cli.main import main\n"
        "assert text('install_wheels.py')\n"
        f"assert flyte_images.__file__.startswith({str(tmp_path)!r}), flyte_images.__file__\n"
        "sys.exit(main(['--version']))\n"
    )
    done = subprocess.run((sys.executable, "-P", "-c", code), cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"flyte-images {flyte_images.__version__}\n"), done.stderr
