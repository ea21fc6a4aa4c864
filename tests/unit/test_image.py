"""Image: a frozen value; each mistake is an error at the line that holds it."""

from __future__ import annotations

import copy
import dataclasses
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flyte_images.errors import Location, SpecError
from flyte_images.image import Image
from flyte_images_layers import DebianBase, EnvVars, PipPackages, ReferenceBase, SourceFile, SourceFolder
from flyte_images_runtime.system.platform import Platform

HERE = str(Path(__file__))


def debian(**options: Any) -> Image:
    return Image.from_debian_base("3.11", platform="linux/amd64", **options)


def line() -> int:
    return sys._getframe(1).f_lineno


def test_it_never_changes() -> None:
    image = debian()
    more = image.with_pip_packages("pandas")
    assert image.layers == ()
    assert [layer.kind for layer in more.layers] == ["pip_packages"]
    for field in dataclasses.fields(image):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(image, field.name, None)
    assert {more: 1}[debian().with_pip_packages("pandas")] == 1


def test_changing_an_argument_afterwards_changes_no_image() -> None:
    variables, commands = {"A": "1"}, [["touch", "/a"]]
    image = debian().with_env_vars(variables).with_commands(commands)
    before = image.digest
    variables["A"] = "2"
    commands[0].append("/b")
    commands.append(["rm"])
    assert image.digest == before
    assert image.layers[0] == EnvVars(variables={"A": "1"})


def test_layers_are_in_the_order_of_the_calls() -> None:
    image = (
        debian()
        .with_apt_packages("git")
        .with_env_vars({"A": "1"})
        .with_workdir("/app")
        .with_pip_packages("pandas")
        .with_source_file(__file__)
        .with_source_folder(Path(__file__).parent)
        .with_commands(["true"])
    )
    assert [layer.kind for layer in image.layers] == [
        "apt_packages",
        "env_vars",
        "workdir",
        "pip_packages",
        "source_file",
        "source_folder",
        "commands",
    ]


def test_every_layer_and_the_image_know_their_line() -> None:
    image = Image.from_debian_base("3.11")
    here = line()
    image = (
        image.with_pip_packages("a")
        .with_apt_packages("bc")
        .with_env_vars(
            {"A": "1"}
        )
    )  # fmt: skip
    assert image.location == Location(HERE, here - 1)
    # Python reports the line of the method's name for a call in a chain.
    assert [layer.location for layer in image.layers] == [Location(HERE, here + n) for n in (2, 3, 4)]


@pytest.mark.parametrize(
    ("written", "kept"),
    [("3.12", (3, 12)), ((3, 13), (3, 13)), (None, sys.version_info[:2])],
)
def test_python_versions(written: Any, kept: tuple[int, int]) -> None:
    image = Image.from_debian_base(written)
    assert image.python_version == kept
    assert image.base == DebianBase(python=f"{kept[0]}.{kept[1]}")
    assert Image.from_base("ubuntu:24.04", python_version=written).python_version == kept


def test_the_default_platform_is_this_machines() -> None:
    assert Image.from_debian_base().platform == (str(Platform.parse(f"linux/{os.uname().machine}")),)
    assert Image.from_debian_base(platform="linux/arm64").platform == ("linux/arm64",)
    assert Image.from_base("a", platform=["linux/arm64", "linux/amd64"]).platform == ("linux/arm64", "linux/amd64")


@pytest.mark.parametrize("name", ["app", "team/app", "a-b__c.d", "0"])
def test_names(name: str) -> None:
    assert debian(name=name).name == name


@pytest.mark.parametrize(
    ("registry", "kept"),
    [
        ("registry.test", "registry.test"),
        ("registry.test:5000/team/", "registry.test:5000/team"),
        ("[::1]:5000", "[::1]:5000"),
        ("localhost:5000/a/b", "localhost:5000/a/b"),
    ],
)
def test_registries(registry: str, kept: str) -> None:
    assert debian(registry=registry).registry == kept


def test_a_clone_has_the_given_values_and_keeps_the_others() -> None:
    image = debian(name="one", registry="registry.test").with_pip_packages("pandas")
    assert image.clone() == image
    assert image.clone(name="two") == dataclasses.replace(image, name="two")
    assert image.clone(registry="other.test/x").registry == "other.test/x"
    assert image.clone(platform="linux/arm64").platform == ("linux/arm64",)
    newer = image.clone(python_version="3.13")
    assert (newer.python, newer.base, newer.layers) == ("3.13", DebianBase(python="3.13"), image.layers)
    moved = image.clone(base_image="registry.test/base:1")
    assert (moved.base, moved.python, moved.layers) == (
        ReferenceBase(reference="registry.test/base:1"),
        "3.11",
        image.layers,
    )
    assert moved.clone(python_version="3.13").base == moved.base


def test_a_clone_has_the_line_of_its_call() -> None:
    clone = debian().clone(name="x")
    assert clone.location == Location(HERE, line() - 1)


def test_sources_are_relative_to_the_file_that_names_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    image = debian().with_source_file(Path(__file__).name).with_source_folder(".")
    file, folder = image.layers
    assert isinstance(file, SourceFile) and file.srcs == (HERE,)
    assert isinstance(folder, SourceFolder) and folder.src == str(Path(HERE).parent)
    assert folder.target == f"./{Path(HERE).parent.name}"


def test_without_a_file_they_are_relative_to_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "src").mkdir()
    monkeypatch.chdir(tmp_path)
    scope: dict[str, Any] = {"Image": Image}
    exec('image = Image.from_debian_base("3.11").with_source_folder("src", "/app", True)', scope)
    assert scope["image"].layers[0].src == str(tmp_path / "src")
    assert scope["image"].layers[0].target == "/app"


def test_a_users_folder_may_have_the_name_of_this_package(tmp_path: Path) -> None:
    import flyte_images

    package = Path(flyte_images.__file__).parent
    file = f"{package}_demo/images.py"
    scope: dict[str, Any] = {"Image": Image}
    exec(compile("\n\nimage = Image.from_debian_base('3.11')", file, "exec"), scope)
    assert scope["image"].location == Location(file, 3)


def test_a_tilde_is_the_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "notes.txt").write_text("")
    monkeypatch.setenv("HOME", str(tmp_path))
    (layer,) = debian().with_source_file("~/notes.txt").layers
    assert isinstance(layer, SourceFile) and layer.srcs == (str(tmp_path / "notes.txt"),)


def test_several_files_at_once() -> None:
    (layer,) = debian().with_source_file([__file__, Path(__file__).parent / "test_environment.py"], "/app").layers
    assert isinstance(layer, SourceFile) and layer.targets == ("/app/test_environment.py", "/app/test_image.py")


def test_an_index_is_a_string_or_several_are_a_list() -> None:
    url = "https://index.test/simple"
    one = debian().with_pip_packages("a", extra_index_urls=url)
    assert one == debian().with_pip_packages("a", extra_index_urls=[url])
    assert one.layers == (PipPackages(packages=("a",), extra_index_urls=(url,)),)


Make = Callable[[Image], object]
REFUSED: list[tuple[Make, str, str | None]] = [
    (
        lambda image: image.with_pip_packages("pandas; rm -rf /"),
        "`pandas; rm -rf /` is not a package requirement",
        "shell commands belong in with_commands",
    ),
    (
        lambda image: image.with_pip_packages(["pandas", "numpy"]),  # type: ignore[arg-type]
        "with_pip_packages takes names as separate arguments, not a list: ['pandas', 'numpy']",
        'write with_pip_packages("pandas", "numpy") or with_pip_packages(*packages)',
    ),
    (lambda image: image.with_pip_packages(), "with_pip_packages was given no package", "leave the call out"),
    (lambda _: Image.from_debian_base(install_flyte=True), "no image has `flyte` by itself", '("flyte") if your own'),
    (lambda _: Image.from_debian_base(flyte_version="2.0"), "no image has `flyte==2.0` by itself", '("flyte==2.0")'),
    (lambda _: Image.from_debian_base(registry_secret="x"), "takes no registry_secret", "`docker login`"),
    (
        lambda image: image.with_pip_packages("a", secret_mounts="TOKEN"),
        "with_pip_packages takes no secret_mounts",
        "~/.netrc",
    ),
    (
        lambda image: image.with_apt_packages("git", secret_mounts="TOKEN"),
        "with_apt_packages takes no secret_mounts",
        "the base's own apt",
    ),
    (
        lambda image: image.with_pip_packages("a", index_url="https://me:pw@index.test"),
        "the index address at `index.test` holds credentials",
        "keep them out of the image",
    ),
    (
        lambda image: image.with_pip_packages("a", index_url="index"),
        "`index` is not the address",
        "https://HOST/simple",
    ),
    (lambda image: image.with_apt_packages("Git"), "`Git` is not the name of a Debian package", "lower-case"),
    (lambda image: image.with_apt_packages(("git",)), "separate arguments, not a tuple", "with_apt_packages("),  # type: ignore[arg-type]
    (lambda image: image.with_env_vars(["A=1"]), "with_env_vars takes a mapping, not list", "with_env_vars({"),  # type: ignore[arg-type]
    (lambda image: image.with_env_vars({"A": 1}), "the value of `A` is int, not a string: 1", 'write {"A": "1"}'),  # type: ignore[dict-item]
    (lambda image: image.with_workdir("app"), "`app` is not an absolute path", 'with_workdir("/app")'),
    (
        lambda image: image.with_commands("ls"),
        "with_commands takes a list of commands, not str: 'ls'",
        "with_commands([",
    ),
    (lambda image: image.with_commands([3]), "3 is not a command", "an argv as a list of strings"),  # type: ignore[list-item]
    (lambda image: image.with_source_folder("lyaers"), "there is no `lyaers` at `", "did you mean `layers`?"),
    (lambda image: image.with_source_folder("zzz"), "there is no `zzz` at `", "relative to the file that names them"),
    (lambda image: image.with_source_folder("no/such"), "there is no `no/such` at `", "relative to the file"),
    (lambda image: image.with_source_folder(""), "`''` is not a path", None),
    (lambda image: image.with_source_folder(3), "`3` is not a path", None),  # type: ignore[arg-type]
    (lambda image: image.with_source_folder("a\0"), "is not a path", None),
    (
        lambda image: image.with_source_folder("test_image.py"),
        "`test_image.py` is a file, not a folder",
        "with_source_file",
    ),
    (lambda image: image.with_source_file("layers"), "`layers` is a folder, not a file", "use with_source_folder"),
    (
        lambda image: image.with_source_file("test_imag.py"),
        "there is no `test_imag.py`",
        "did you mean `test_image.py`?",
    ),
    (lambda image: image.with_source_file([]), "with_source_file was given no file", None),
    (
        lambda image: image.with_source_file("test_image.py", "../x"),
        "`../x` leaves the work directory",
        "absolute path",
    ),
    (
        lambda image: image.with_source_folder("layers", ignore="*.c"),
        "ignore takes a list of patterns",
        "ignore=['*.c']",
    ),
    (lambda image: Image.from_debian_base("3"), "`3` is not a Python version", 'python_version="3.12" or (3, 12)'),
    (lambda image: Image.from_debian_base("3.x"), "`3.x` is not a Python version", '"3.12" or (3, 12)'),
    (lambda image: Image.from_debian_base(3.12), "3.12 is not a Python version", '"3.12" or (3, 12)'),  # type: ignore[arg-type]
    (lambda image: Image.from_debian_base((3, 12, 1)), "(3, 12, 1) is not a Python version", "(3, 12)"),  # type: ignore[arg-type]
    (lambda image: Image.from_debian_base((2, 7)), "`2.7` is not a Python version", "(3, 12)"),
    (lambda image: Image.from_base("ubuntu", python_version="new"), "`new` is not a Python version", "(3, 12)"),
    (lambda image: Image.from_base("ubuntu").clone(python_version="x"), "`x` is not a Python version", "(3, 12)"),
    (lambda image: image.clone(python_version="3.12.1"), "`3.12.1` is not a Python version", "(3, 12)"),
    (lambda image: Image.from_base("Not Such"), "'Not Such' is not an image reference", "from_base("),
    (lambda image: image.clone(base_image="a b"), "'a b' is not an image reference", "from_base("),
    (
        lambda image: Image.from_debian_base(name="My Image"),
        "'My Image' is not the name of an image",
        "lower-case letters",
    ),
    (lambda image: image.clone(name="a:1"), "'a:1' is not the name of an image", "lower-case letters"),
    (
        lambda image: Image.from_debian_base(registry="https://registry.test"),
        "'https://registry.test' is not a registry",
        "registry.example",
    ),
    (lambda image: image.clone(registry="a b"), "'a b' is not a registry", "registry.example"),
    # D25: these went to the engine as parts of the path of a request, and were reported as a fault of this package.
    (lambda image: image.clone(registry="host/../x"), "'host/../x' is not a registry", "registry.example"),
    (lambda image: image.clone(registry="../x"), "'../x' is not a registry", "registry.example"),
    (lambda image: image.clone(registry="host//x"), "'host//x' is not a registry", "registry.example"),
    (lambda image: Image.from_base("../x"), "'../x' is not an image reference", "from_base("),
    (lambda image: Image.from_base("a/../x"), "'a/../x' is not an image reference", "from_base("),
    (lambda image: Image.from_debian_base(platform="amd64"), "'amd64' is not a platform", 'platform="linux/amd64"'),
    (
        lambda image: Image.from_debian_base(platform="windows/amd64"),
        "'windows/amd64' is not a platform",
        "linux/amd64",
    ),
    (lambda image: Image.from_base("a", platform="linux/a/b/c"), "'linux/a/b/c' is not a platform", "linux/amd64"),
    (lambda image: Image.from_base("a", platform=[]), "an image needs a platform", 'platform="linux/amd64"'),
    (lambda image: image.clone(platform=["linux/amd64", 3]), "3 is not a platform", 'platform="linux/amd64"'),  # type: ignore[list-item]
]


@pytest.mark.parametrize(("make", "told", "hint"), REFUSED, ids=[f"{i}-{it[1][:30]}" for i, it in enumerate(REFUSED)])
def test_an_error_has_the_line_of_the_mistake(make: Make, told: str, hint: str | None) -> None:
    image = debian()
    with pytest.raises(SpecError) as caught:
        make(image)
    error = caught.value
    assert told in str(error)
    assert (error.hint is None) if hint is None else hint in (error.hint or "")
    assert error.location == Location(HERE, make.__code__.co_firstlineno) or _spans(make, error.location)
    assert error.exit_code == 2
    assert error.__cause__ is None  # the traceback shows no line of this package below it
    assert image == debian()


def _spans(make: Make, location: Location | None) -> bool:
    """Return whether a location is in the lines of a lambda."""
    lines = [line for *_, line in make.__code__.co_lines() if line]
    return location is not None and location.file == HERE and location.line in lines


def test_the_digest_reads_local_files_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYTE_IMAGES_CACHE", str(tmp_path / "cache"))
    source = tmp_path / "src"
    source.mkdir()
    (source / "a.py").write_text("1")
    image = debian().with_source_folder(source, "/app")
    before = image.digest
    assert before.startswith("sha256:") and before == image.digest
    (source / "a.py").write_text("2")
    changed = image.digest
    assert changed != before
    (source / "a.py").chmod(0o755)
    assert image.digest not in (before, changed)


def test_a_source_that_is_removed_is_an_error_at_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYTE_IMAGES_CACHE", str(tmp_path / "cache"))
    source = tmp_path / "src"
    source.mkdir()
    image = debian().with_source_folder(source, "/app")
    source.rmdir()
    with pytest.raises(SpecError) as caught:
        _ = image.digest
    assert caught.value.location == Location(HERE, line() - 4)
    assert str(source) in str(caught.value)


def test_an_unknown_attribute_is_an_error_with_the_closest_method() -> None:
    with pytest.raises(AttributeError, match="an image has no `with_pip_package`, did you mean `with_pip_packages`"):
        debian().with_pip_package("six")  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match=r"an image has no `zzz`$"):
        debian().zzz  # type: ignore[attr-defined]  # noqa: B018 - to ask for it is the test
    assert not hasattr(debian(), "__array__")
    assert copy.deepcopy(debian()) == pickle.loads(pickle.dumps(debian())) == debian()
