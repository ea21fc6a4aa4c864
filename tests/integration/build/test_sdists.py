"""A package without a wheel is built from source in a separate step, without network, with the same result."""

from __future__ import annotations

import pytest

from flyte_images.errors import BuildError
from tests.fakes.package_index import Index

from .conftest import WORD, Builds, debian, run_in

pytestmark = pytest.mark.engine

NAME = f"{WORD}_source"
PROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
BACKEND = f'''
import os, socket, sys, zipfile
def build_wheel(directory, settings=None, metadata=None):
    print("what a backend says")
    {{line}}
    name = "{NAME}-{{version}}-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(directory, name), "w") as wheel:
        wheel.writestr("{NAME}.py", open("{NAME}.py").read() + "\\nVERSION = %r" % (sys.version_info[:2],))
        wheel.writestr("{NAME}-{{version}}.dist-info/METADATA", open("PKG-INFO").read())
        about = "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
        wheel.writestr("{NAME}-{{version}}.dist-info/WHEEL", about)
        wheel.writestr("{NAME}-{{version}}.dist-info/RECORD", "")
    return name
'''


def offer(index: Index, version: str, line: str = "pass") -> None:
    files = {
        "pyproject.toml": PROJECT,
        "PKG-INFO": f"Metadata-Version: 2.2\nName: {NAME}\nVersion: {version}\n",
        f"{NAME}.py": "x = 1",
        "backend.py": BACKEND.format(line=line, version=version),
    }
    index.add("wheel", "0.40")  # every build gets it
    index.add_source(NAME.replace("_", "-"), version, files)


def test_a_package_from_source_works_and_is_the_same_again(builds: Builds, index: Index) -> None:
    offer(index, "1.0")
    image = debian("source").with_pip_packages(f"{NAME}==1.0")
    first, seen = builds(image)
    assert f"{WORD}-source 1.0 from source" in " ".join(seen.notes + sorted(seen.ran))
    assert "what a backend says" not in seen.log
    assert run_in(first, "python", "-c", f"import {NAME} as p; print(p.x, p.VERSION)") == "1 (3, 11)\n"
    again, _ = builds(image, no_cache=True)
    assert again.digest == first.digest


@pytest.mark.parametrize(
    ("version", "line", "told"),
    [
        ("2.1", "raise RuntimeError('the compiler is not there')", "the compiler is not there"),
        ("2.2", "socket.create_connection(('192.0.2.1', 80), 5)", "Network is unreachable"),
        ("2.3", "sys.exit('gave up')", "gave up"),
    ],
)
def test_the_error_of_a_failed_build_has_the_backends_message(
    builds: Builds, index: Index, version: str, line: str, told: str
) -> None:
    offer(index, version, line)
    image = debian("source").with_pip_packages(f"{NAME}=={version}")
    with pytest.raises(BuildError) as caught:
        builds(image)
    assert told in caught.value.log and "what a backend says" in caught.value.log
    assert caught.value.location == image.layers[0].location


COMPILES = "import subprocess; subprocess.run(['tcc', '-shared', '-nostdlib', '-o', 'lib.so', 'lib.c'], check=True)"
LOADS = f"import ctypes, {NAME}; print(ctypes.CDLL({NAME}.__path__ + '/lib.so').answer())"


def offer_compiled(index: Index, version: str) -> None:
    """A package that compiles C with the compiler of a small Debian package."""
    files = {
        "pyproject.toml": PROJECT,
        "PKG-INFO": f"Metadata-Version: 2.2\nName: {NAME}\nVersion: {version}\n",
        f"{NAME}.py": f"__path__ = __file__.rpartition('/')[0] + '/{NAME}_c'",
        "lib.c": "int answer(void) { return 42; }\n",
        "backend.py": BACKEND.format(line=COMPILES, version=version).replace(
            "    return name", f"        wheel.write('lib.so', '{NAME}_c/lib.so')\n    return name"
        ),
    }
    index.add("wheel", "0.40")
    index.add_source(NAME.replace("_", "-"), version, files)


def test_a_package_that_compiles_uses_the_earlier_apt_packages(builds: Builds, index: Index) -> None:
    offer_compiled(index, "3.0")
    image = debian("compiled").with_apt_packages("tcc").with_pip_packages(f"{NAME}==3.0")
    first, _ = builds(image)
    assert run_in(first, "python", "-c", LOADS) == "42\n"
    again, _ = builds(image, no_cache=True)
    assert again.digest == first.digest


def test_the_error_of_a_package_that_compiles_names_the_missing_program(builds: Builds, index: Index) -> None:
    offer_compiled(index, "3.1")
    image = debian("compiled").with_pip_packages(f"{NAME}==3.1")
    for one in (image, image.with_apt_packages("tcc")):  # below it: no help
        with pytest.raises(BuildError) as caught:
            builds(one)
        assert caught.value.hint is not None and "it needs `tcc`: .with_apt_packages(" in caught.value.hint
        assert caught.value.location == image.layers[0].location
