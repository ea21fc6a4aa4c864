"""A user's file -> its images; a file that cannot be loaded -> one error with the user's line."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flyte_images.cli.load import load
from flyte_images.errors import SpecError

IMAGE = "import flyte_images as flyte\nimage = flyte.Image.from_debian_base('3.11')\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current directory; modules that are imported from it are removed at the end."""
    before, path = set(sys.modules), list(sys.path)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def refused(path: Path | str) -> SpecError:
    with pytest.raises(SpecError) as raised:
        load(path).select([])
    return raised.value


def test_every_module_level_image_is_found_once_under_its_variables_name(folder: Path) -> None:
    write(folder, "two.py", IMAGE + "same = image\nother = image.with_env_vars({'A': 'b'})\n_part = other\n")
    named = load("two.py").named_images()
    assert [(it.name, it.known_as) for it in named] == [("image", ("image", "same")), ("other", ("other",))]


def test_an_image_is_shown_by_its_name_and_selected_by_its_variable(folder: Path) -> None:
    write(folder, "named.py", IMAGE + "a = image.clone(name='trainer')\nb = image.clone(name='trainer')\n")
    named = {it.known_as: it.name for it in load("named.py").named_images()}
    assert named == {("image",): "image", ("a", "b"): "trainer"}


def test_two_images_of_one_name_get_distinct_names(folder: Path) -> None:
    write(
        folder,
        "twins.py",
        IMAGE + "a = image.clone(name='t')\nb = image.with_workdir('/b').clone(name='t')\ndel image\n",
    )
    assert [it.name for it in load("twins.py").named_images()] == ["t", "t-2"]


def test_names_choose_in_their_order_and_only_once(folder: Path) -> None:
    write(folder, "three.py", IMAGE + "b = image.with_workdir('/b')\nc = image.with_workdir('/c')\n_d = b\n")
    chosen = load("three.py").select(["c", "b", "c"])
    assert [it.name for it in chosen] == ["c", "b"]
    assert [it.name for it in load("three.py").select(["_d"])] == ["_d"]


def test_an_unknown_name_is_an_error_with_the_nearest(folder: Path) -> None:
    write(folder, "app.py", IMAGE + "trainer = image.with_workdir('/t')\n")
    with pytest.raises(SpecError, match=r"`app\.py` has no image and no environment `trainr`") as raised:
        load("app.py").select(["trainr"])
    assert raised.value.hint == "did you mean `trainer`?"
    with pytest.raises(SpecError) as raised:
        load("app.py").select(["zzz"])
    assert raised.value.hint == "it has `image`, `trainer`"


def test_a_file_without_images_says_how_to_make_one(folder: Path) -> None:
    error = refused(write(folder, "none.py", "x = 1\n"))
    assert str(error) == "`none.py` has no image and no environment"
    assert error.hint is not None and "Image.from_debian_base()" in error.hint


def test_siblings_and_packages_are_imported_as_python_would(folder: Path) -> None:
    write(folder, "flat/settings.py", "PACKAGES = ('httpx',)\n")
    write(folder, "flat/uses_sibling.py", "from settings import PACKAGES\n" + IMAGE)
    assert load("flat/uses_sibling.py").images.keys() == {"image"}
    write(folder, "top/lib/__init__.py", "")
    write(folder, "top/lib/parts.py", IMAGE)
    write(folder, "top/lib/inner.py", "from .parts import image\n")
    module = load("top/lib/inner.py").module
    assert module.__name__ == "lib.inner"


def test_a_file_with_the_name_of_a_loaded_module_is_loaded(folder: Path) -> None:
    import json

    write(folder, "json.py", IMAGE)
    assert load("json.py").images.keys() == {"image"}
    assert sys.modules["json"] is json


def test_a_module_that_looks_itself_up_finds_itself(folder: Path) -> None:
    text = "import sys\nfrom dataclasses import dataclass\n@dataclass\nclass A:\n    x: 'int'\n"
    write(folder, "looks.py", IMAGE + text + "assert sys.modules[__name__].A is A\n")
    assert load("looks.py").images


def test_the_output_of_a_file_goes_to_stderr(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, "talks.py", IMAGE + "print('hello')\n")
    load("talks.py")
    assert capsys.readouterr() == ("", "hello\n")


def test_a_file_is_loaded_once(folder: Path) -> None:
    path = write(folder, "once.py", IMAGE)
    assert load(path).module is load(path).module


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("missing.py", "the file `missing.py` does not exist", None),
        ("misspelt/ap.py", "the file `misspelt/ap.py` does not exist", "did you mean `app.py`?"),
        ("misspelt", "`misspelt` is a folder", "name a Python file in it"),
        ("notes.txt", "`notes.txt` is not a Python file", "the name must end in .py"),
    ],
)
def test_files_that_are_not_python_are_refused(folder: Path, name: str, message: str, hint: str | None) -> None:
    write(folder, "misspelt/app.py", IMAGE)
    write(folder, "notes.txt", "hello")
    error = refused(name)
    assert (str(error), error.hint) == (message, hint)


def test_a_syntax_error_has_its_file_and_line(folder: Path) -> None:
    error = refused(write(folder, "broken.py", "import os\nimage = (\n"))
    assert str(error) == "'(' was never closed"
    assert error.location is not None
    assert (error.location.file, error.location.line) == (str(folder / "broken.py"), 2)


def test_an_exception_is_shown_at_the_innermost_line_of_the_user(folder: Path) -> None:
    write(folder, "deep/helper.py", "import json\n\ndef read():\n    return json.loads('{')\n")
    error = refused(write(folder, "deep/raises.py", "import helper\nimage = helper.read()\n"))
    assert str(error).startswith("importing it raised JSONDecodeError: Expecting property name")
    assert error.location is not None
    assert (error.location.file, error.location.line) == (str(folder / "deep" / "helper.py"), 4)


def test_a_package_that_is_missing_on_the_host_has_a_hint(folder: Path) -> None:
    error = refused(write(folder, "needs.py", "import os\nimport surely_not_installed.part\n"))
    assert str(error) == "importing it raised ModuleNotFoundError: No module named 'surely_not_installed'"
    assert error.hint is not None and "inside the task" in error.hint
    assert error.location is not None and error.location.line == 2


def test_a_script_that_ends_itself_is_an_error(folder: Path) -> None:
    error = refused(write(folder, "exits.py", "import sys\nsys.exit(0)\n"))
    assert str(error) == "importing it raised SystemExit: 0"
    assert error.hint is not None and "__main__" in error.hint


def test_an_error_of_an_image_is_not_changed(folder: Path) -> None:
    error = refused(write(folder, "wrong.py", IMAGE + "bad = image.with_pip_packages('a b')\n"))
    assert "`a b`" in str(error)
    assert error.location is not None and error.location.line == 3


def test_a_file_that_failed_can_be_fixed_and_loaded(folder: Path) -> None:
    path = write(folder, "mended.py", "raise ValueError('x')\n")
    refused(path)
    path.write_text(IMAGE + "# longer than before\n")
    assert load(path).images
