"""Wheels that hold the same file are found without fetching the wheels, and the order is pip's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from flyte_images.resolve import uv, wheel_contents
from flyte_images.resolve.wheel_contents import SharedPaths, find, pip_order
from flyte_images_layers import PythonRequirements
from flyte_images_layers.steps import Wheel
from tests.fakes.package_index import Index, serve

TARGET = uv.Target(python="3.11", platform="linux/amd64", libc="2.36")
SITE = "lib/site-packages"


def wheels(index: Index, *names: str) -> list[Wheel]:
    """The packages as uv reports them."""
    found = []
    for name in names:
        ((filename, content),) = index.files[name].items()
        url = f"http://{index.address}/files/{filename}"
        found.append(
            Wheel(name=name, version="1.0", filename=filename, sha256=name.ljust(64, "0"), size=len(content), url=url)
        )
    return found


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"HOME": "/nowhere", "FLYTE_IMAGES_CACHE": str(tmp_path / "cache")}


def test_the_same_path_with_another_content_is_found(environ: dict[str, str]) -> None:
    with serve(Index()) as index:
        index.add("one", files={"cv/__init__.py": "one", "cv/same.py": "x", "one.py": ""})
        index.add("two", files={"cv/__init__.py": "two", "cv/same.py": "x"})
        index.add("three", files={"cv/same.py": "x", "cv/more.py": "", "three.py": ""})
        index.add("four", files={"four/__init__.py": "", "bin/tool": "not a script"})
        shared, unknown = wheel_contents.shared(wheels(index, "one", "two", "three", "four"), environ)
        assert shared == (SharedPaths(packages=("one", "two"), paths=(f"{SITE}/cv/__init__.py",)),)
        assert unknown == ()
        assert index.requests == [] and len(index.looks) == 4


def test_scripts_and_data_are_files_too(environ: dict[str, str]) -> None:
    entries = "[console_scripts]\ntool = {0}:main\nown-{0} = {0}:main\n[gui_scripts]\nsame = both:main\n"
    with serve(Index()) as index:
        for name in ("one", "two"):
            files = {
                f"{name}-1.0.dist-info/entry_points.txt": entries.format(name),
                f"{name}-1.0.data/scripts/run.sh": name,
                f"{name}-1.0.data/data/share/x": name,
                f"{name}-1.0.data/purelib/pure/x.py": name,
                f"{name}-1.0.data/headers/x.h": name,
                f"{name}/__init__.py": "",
            }
            index.add(name, files=files)
        ((found,), _) = wheel_contents.shared(wheels(index, "one", "two"), environ)
        assert found.paths == ("bin/run.sh", "bin/tool", f"{SITE}/pure/x.py", "share/x")


def test_a_cached_table_is_not_read_again(environ: dict[str, str]) -> None:
    with serve(Index()) as index:
        index.add("one")
        index.add("two")
        for _ in range(2):
            assert wheel_contents.shared(wheels(index, "one", "two"), environ) == ((), ())
        index.add("three", files={"one/__init__.py": "other"})
        shared, _ = wheel_contents.shared(wheels(index, "one", "two", "three"), environ)
        assert [it.packages for it in shared] == [("one", "three")]
        names = [path.removeprefix("/files/").partition("-")[0] for path in index.looks]
        assert sorted(names) == ["one", "one", "three", "two"]  # the one that may share something, again


def test_the_end_of_a_large_wheel_is_fetched_and_more_for_a_long_table(environ: dict[str, str]) -> None:
    with serve(Index()) as index:
        many = {f"many/{'long' * 10}-{number}.py": f"x = {number}" for number in range(1500)}
        index.add("many", files={**many, "many/noise": bytes(range(256)) * 400})
        index.add("other", files={f"many/{'long' * 10}-7.py": "x = 8"})
        ((found,), unknown) = wheel_contents.shared(wheels(index, "many", "other"), environ)
        assert (found.paths, unknown) == ((f"{SITE}/many/{'long' * 10}-7.py",), ())
        assert sum("many" in path for path in index.looks) > 1 and index.requests == []


@pytest.mark.parametrize("how", ["away", "lies", "sends no parts and much", "no wheel"])
def test_an_unreadable_wheel_is_reported_and_not_an_error(environ: dict[str, str], how: str) -> None:
    with serve(Index()) as index:
        index.add("one")
        filename = index.add("two", files={"two/noise": bytes(range(256)) * 40_000, "two/__init__.py": ""})
        if how == "away":
            index.faults[filename] = 503
        elif how == "lies":
            index.lies.add(filename)
            index.files["two"][filename] = b"PK\x05\x06" * 1000
        elif how == "no wheel":
            index.files["two"][filename] = b"nothing"
        else:
            index.parts = False
            index.files["two"][filename] = index.files["two"][filename].ljust(3 << 20, b"x")
        assert wheel_contents.shared(wheels(index, "one", "two"), environ) == ((), ("two",))


def test_an_index_that_ignores_ranges_works_for_small_files(environ: dict[str, str]) -> None:
    with serve(Index(parts=False)) as index:
        index.add("one", files={"x.py": "1"})
        index.add("two", files={"x.py": "2"})
        ((found,), unknown) = wheel_contents.shared(wheels(index, "one", "two"), environ)
        assert (found.packages, unknown) == (("one", "two"), ())


def test_the_login_is_sent_to_an_index_that_needs_it(environ: dict[str, str]) -> None:
    with serve(Index(login=("robot", "s3cret"))) as index:
        index.add("one")
        environ["UV_DEFAULT_INDEX"] = index.url_with_login
        assert wheel_contents.shared(wheels(index, "one"), environ) == ((), ())


def test_a_wheel_on_this_machine_is_read(environ: dict[str, str], tmp_path: Path) -> None:
    index = Index()
    filename = index.add("one")
    (tmp_path / filename).write_bytes(index.files["one"][filename])
    (wheel,) = wheels(index, "one")
    local = Wheel(**{**wheel.__dict__, "url": (tmp_path / filename).as_uri()})
    assert wheel_contents.shared([local], environ) == ((), ())


def test_groups_with_a_common_package_are_joined() -> None:
    files = {"a": {"x": "1"}, "b": {"x": "2", "y": "1"}, "c": {"y": "2"}, "d": {"z": "1"}, "e": {"z": "2"}}
    found = find(files)
    assert [(it.packages, it.paths) for it in found] == [(("a", "b", "c"), ("x", "y")), (("d", "e"), ("z",))]


GRAPHS = (
    {"alone-a": [], "alone-b": []},
    {"needs-a": ["needs-b"], "needs-b": []},
    {"needed-a": [], "needed-b": ["needed-a"]},
    {"deep-a": ["deep-c"], "deep-b": [], "deep-c": ["deep-d"], "deep-d": [], "deep-e": ["deep-d"]},
    {"fork-a": ["fork-b", "fork-c"], "fork-b": ["fork-d"], "fork-c": [], "fork-d": []},
    {"level-b": ["level-d"], "level-c": ["level-d"], "level-d": []},
)


def test_the_order_is_pips(tmp_path: Path) -> None:
    """The real pip installs packages that hold one file: the visible file is that of the last in our order."""
    index = Index()
    for number, graph in enumerate(GRAPHS):
        for package, needs in graph.items():
            filename = index.add(package, files={f"shared{number}.py": package}, requires=needs)
            (tmp_path / filename).write_bytes(index.files[package][filename])
    pip = (sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check", "install", "--quiet", "--no-index")
    where = ("--find-links", tmp_path, "--prefix", tmp_path / "to", "--no-compile", "--no-warn-script-location")
    subprocess.run((*pip, *where, *(name for graph in GRAPHS for name in graph)), check=True, capture_output=True)
    for number, graph in enumerate(GRAPHS):
        (seen,) = (tmp_path / "to").rglob(f"shared{number}.py")
        assert seen.read_text() == pip_order(graph)[-1]
    together = {name: needs for graph in GRAPHS for name, needs in graph.items()}
    assert [it for it in pip_order(together) if it in GRAPHS[3]] == pip_order(GRAPHS[3])


def test_uv_reports_which_package_needs_which(shelf: Index, uv_cache: Path) -> None:
    path = str(Path(sys.executable).parent)
    environ = {"PATH": path, "UV_CACHE_DIR": str(uv_cache), "UV_NO_CONFIG": "1", "UV_DEFAULT_INDEX": shelf.url}
    asked = [PythonRequirements(requirements=("alpha", "marked"))]
    answer = uv.ask(asked, TARGET, environ=environ)
    found = uv.needs(asked, TARGET, answer.versions, environ=environ)
    assert found == {"alpha": {"beta"}, "beta": set(), "marked": {"beta"}}
