"""Source distributions: the requirements of a build are read, and no code of the package runs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import pytest

from flyte_images.errors import ResolveError
from flyte_images.resolve import uv
from flyte_images.resolve.sdists import SourceDist, build_requirements, remedy
from flyte_images_layers import PythonRequirements
from tests.fakes.package_index import Index, archive, serve

PROJECT = '[build-system]\nrequires = ["made-backend>=2", "other"]\nbuild-backend = "made"\n'
DEFAULT = ("setuptools>=40.8.0",)


def source(index: Index, filename: str, *, sha256: str = "") -> SourceDist:
    content = index.files["old"][filename]
    return SourceDist(
        name="old",
        version="1.0",
        filename=filename,
        sha256=sha256 or hashlib.sha256(content).hexdigest(),
        size=len(content),
        url=f"http://{index.address}/files/{filename}",
    )


@pytest.mark.parametrize("form", ["tar.gz", "zip"])
@pytest.mark.parametrize(
    ("files", "needs"),
    [
        ({"pyproject.toml": PROJECT, "old.py": ""}, ("made-backend>=2", "other")),
        ({"setup.py": "raise SystemExit('it was run')"}, DEFAULT),
        ({"pyproject.toml": "[tool.x]\n"}, DEFAULT),
        ({"pyproject.toml": "[build-system]\nbuild-backend = 'x'\nbackend-path = ['.']\nrequires = []\n"}, ()),
        ({"sub/pyproject.toml": PROJECT, "setup.py": ""}, DEFAULT),
    ],
)
def test_the_requirements_of_a_build(form: str, files: Mapping[str, str], needs: tuple[str, ...]) -> None:
    with serve(Index()) as index:
        filename = index.add_source("old", "1.0", files, form=form)
        assert build_requirements(source(index, filename), {}) == needs


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no archive", "old-1.0.tar.gz cannot be read"),
        (archive({"old-1.0/pyproject.toml": "not toml ["}, "tar.gz"), "old-1.0.tar.gz cannot be read"),
        (archive({"old-1.0/pyproject.toml": PROJECT}, "tar.gz")[:60], "old-1.0.tar.gz cannot be read"),
    ],
)
def test_a_file_that_is_not_a_source_distribution_is_refused(content: bytes, message: str) -> None:
    with serve(Index()) as index:
        filename = index.add_source("old", "1.0", {})
        index.files["old"][filename] = content
        with pytest.raises(ResolveError, match=message.replace(".", r"\.")):
            build_requirements(source(index, filename), {})


def test_a_file_with_another_hash_is_refused() -> None:
    with serve(Index()) as index:
        filename = index.add_source("old", "1.0", {"pyproject.toml": PROJECT})
        with pytest.raises(ResolveError, match="is not the file"):
            build_requirements(source(index, filename, sha256="0" * 64), {})


def test_a_missing_file_is_refused() -> None:
    with serve(Index()) as index:
        filename = index.add_source("old", "1.0", {"pyproject.toml": PROJECT})
        index.faults[filename] = 404
        with pytest.raises(ResolveError, match="404") as caught:
            build_requirements(source(index, filename), {})
        assert caught.value.hint


def test_a_file_behind_a_login_is_fetched_with_the_login() -> None:
    with serve(Index(login=("robot", "s3cret"))) as index:
        filename = index.add_source("old", "1.0", {"pyproject.toml": PROJECT})
        environ = {"UV_DEFAULT_INDEX": index.url_with_login, "HOME": "/nowhere"}
        assert build_requirements(source(index, filename), environ) == ("made-backend>=2", "other")


def test_uv_names_the_source_where_there_is_no_wheel(environ: dict[str, str]) -> None:
    metadata = "Metadata-Version: 2.2\nName: old\nVersion: 1.0\nRequires-Dist: fresh\n"
    with serve(Index()) as index:
        index.add("fresh", "1.0")
        filename = index.add_source("old", "1.0", {"pyproject.toml": PROJECT, "PKG-INFO": metadata})
        target = uv.Target(python="3.11", platform="linux/amd64", libc="2.36")
        asked = PythonRequirements(requirements=("old",))
        answer = uv.ask([asked], target, environ={**environ, "UV_DEFAULT_INDEX": index.url})
        assert [wheel.name for wheel in answer.wheels] == ["fresh"]
        assert answer.sources == (source(index, filename),)


def test_no_binary_selects_the_source_although_a_wheel_exists(environ: dict[str, str]) -> None:
    metadata = "Metadata-Version: 2.2\nName: old\nVersion: 1.0\nRequires-Dist: fresh\n"
    with serve(Index()) as index:
        index.add("fresh", "1.0")
        index.add("old", "1.0", requires=["fresh"])
        index.add_source("old", "1.0", {"pyproject.toml": PROJECT, "PKG-INFO": metadata})
        target = uv.Target(python="3.11", platform="linux/amd64", libc="2.36")
        asked = PythonRequirements(requirements=("old",), no_binary=("old",))
        answer = uv.ask([asked], target, environ={**environ, "UV_DEFAULT_INDEX": index.url})
        assert ([it.name for it in answer.wheels], [it.name for it in answer.sources]) == (["fresh"], ["old"])


COMPILER = 'it needs a compiler: .with_apt_packages("build-essential", "python3-dev")'


@pytest.mark.parametrize(
    ("log", "message"),
    [
        ("error: command 'gcc' failed: No such file or directory", COMPILER),
        ("error: [Errno 2] No such file or directory: 'x86_64-linux-gnu-gcc'", COMPILER),
        ("unable to execute 'x86_64-linux-gnu-g++': No such file or directory", COMPILER),
        ("configure: error: no acceptable C compiler found in $PATH", COMPILER),
        ("../meson.build:1:0: ERROR: Unknown compiler(s): [['cc'], ['gcc'], ['clang']]", COMPILER),
        ("CMake Error: No CMAKE_C_COMPILER could be found.", COMPILER),
        ("error: linker `cc` not found", COMPILER),
        ("/bin/sh: 1: make: not found", COMPILER),
        ("error: [Errno 2] No such file or directory: 'cargo'", "it needs `cargo`: .with_apt_packages("),
        ("sh: line 3: cmake: command not found", "it needs `cmake`: .with_apt_packages("),
        ("Error: pg_config executable not found.", "it needs `pg_config`: .with_apt_packages("),
        (
            "a.c:1: fatal error: Python.h: No such file or directory",
            'it needs `Python.h`: .with_apt_packages("python',
        ),
        ("a.c:1:10: fatal error: ffi.h: No such file or directory", "it needs `ffi.h`: .with_apt_packages(the -dev"),
        ("/usr/bin/ld: cannot find -lz: No such file or directory", "it needs the library `z`"),
        ("RuntimeError: whatever", "the build has no network"),
    ],
)
def test_a_failed_build_has_a_remedy(log: str, message: str) -> None:
    found = remedy(f"running build_ext\n{log}\n", "/usr/bin/python3.11")
    assert found.startswith(message) and "above the line that asks for it" in found


def test_a_python_with_headers_needs_no_header_package() -> None:
    assert "python3-dev" not in remedy("error: command 'gcc' failed: No such file", "/usr/local/bin/python3.11")
