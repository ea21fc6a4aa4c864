"""make_venv.sh as a build step runs it: the skeleton of an environment, always the same."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import flyte_images_layers.inside

PROGRAM = Path(flyte_images_layers.inside.__file__).with_name("make_venv.sh")
EPOCH = 315_532_800
VERSION = "{}.{}".format(*sys.version_info[:2])


def make(place: Path, version: str = VERSION, shared: str = "no", path: str | None = None) -> tuple[int, str]:
    real = Path(sys.executable).resolve().parent
    env = {"PATH": path if path is not None else f"{real}:/usr/bin:/bin"}
    argv = ("/bin/sh", PROGRAM, str(place), "/opt/venv", str(EPOCH), version, shared)
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


def state(place: Path) -> dict[str, tuple[int, float, str]]:
    return {
        str(path.relative_to(place)): (
            path.lstat().st_mode,
            path.lstat().st_mtime,
            os.readlink(path) if path.is_symlink() else path.read_text() if path.is_file() else "",  # noqa: PTH115
        )
        for path in sorted(place.rglob("*"))
    }


def test_python_starts_in_the_environment_and_imports_its_packages(tmp_path: Path) -> None:
    assert make(tmp_path) == (0, "")
    venv = tmp_path / "opt/venv"
    (venv / f"lib/python{VERSION}/site-packages/alpha.py").write_text("x = 1\n")
    program = "import sys, alpha, json, ssl; print(sys.prefix, alpha.x, sys.prefix != sys.base_prefix)"
    for name in ("python", "python3", f"python{VERSION}"):
        done = subprocess.run((venv / "bin" / name, "-I", "-c", program), capture_output=True, text=True, check=True)
        assert done.stdout == f"{venv} 1 True\n"


@pytest.mark.parametrize(("shared", "said"), [("yes", "true"), ("no", "false")])
def test_packages_of_the_base_are_importable_on_request(tmp_path: Path, shared: str, said: str) -> None:
    make(tmp_path, shared=shared)
    assert f"include-system-site-packages = {said}\n" in (tmp_path / "opt/venv/pyvenv.cfg").read_text()


def test_an_environment_is_the_same_every_time(tmp_path: Path) -> None:
    old = os.umask(0o077)
    try:
        make(tmp_path / "one")
    finally:
        os.umask(old)
    make(tmp_path / "two")
    one, two = state(tmp_path / "one"), state(tmp_path / "two")
    assert one == two
    assert {time for _, time, _ in one.values()} == {EPOCH}
    assert "opt/venv/lib64" in one


def test_a_base_with_another_python_is_an_error(tmp_path: Path) -> None:
    code, said = make(tmp_path, "3.99")
    assert code == 3
    assert said.startswith("the base has no Python 3.99; it has 3.") and " at /" in said
    assert list(tmp_path.iterdir()) == []


def test_a_base_without_python_is_an_error(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "cat"):
        (tools / name).symlink_to(shutil.which(name) or "/bin/sh")
    code, said = make(tmp_path / "out", path=str(tools))
    assert (code, said) == (3, f"the base has no Python {VERSION}\n")
