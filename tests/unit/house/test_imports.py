"""Imports go one way: flyte_images -> layers, flyte_images -> runtime; and down the floors inside each."""

from __future__ import annotations

import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from .house import ROOT, Module, modules

# Rooms from the bottom up. A module imports its own room and lower floors; rooms of one floor do not know each other.
FLOORS = {
    "flyte_images": (
        "errors",
        "_validate llb store",
        "buildkit context manifests options",
        "bootstrap image leftovers progress",
        "task plan",
        "environment",
        "serving",
        "resolve",
        "builder",
        "runner",
        "cli",
    ),
    "flyte_images_runtime": (
        "portable system",
        "errors",
        "resources",
        "values",
        "cgroup gpu worker",
        "task",
        "egress",
        "oci",
        "engines",
        "execution",
    ),
}
LEAVES = ("flyte_images_layers", "flyte_images_runtime")
HEAVY = ("grpc", "google.protobuf", "python_on_whales", "pydantic", "numpy", "rich", "yaml", "asyncio", "ssl", "click")


def room(module: str) -> str:
    """The part of a module's name below its package: empty for the package itself."""
    return [*module.split("."), ""][1]


def shown(module: Module, line: int, imported: str) -> str:
    return f"{module.shown}:{line} imports {imported}"


@pytest.mark.parametrize("package", FLOORS)
def test_every_module_has_its_floor(package: str) -> None:
    rooms = {room(module.name) for module in modules(package)} - {""}
    assert rooms == {name for floor in FLOORS[package] for name in floor.split()}


@pytest.mark.parametrize("package", FLOORS)
def test_a_module_imports_only_lower_floors(package: str) -> None:
    floors = {name: number for number, names in enumerate(FLOORS[package]) for name in names.split()}
    wrong = []
    for module in modules(package):
        own = room(module.name)
        for line, imported in module.imports():
            other = room(imported) if imported.startswith(f"{package}.") else ""
            if own and own != other and other in floors and floors[other] >= floors[own]:
                wrong.append(shown(module, line, imported))
    assert wrong == []


@pytest.mark.parametrize("package", ["flyte_images", *LEAVES])
def test_no_modules_import_each_other_in_a_circle(package: str) -> None:
    """Imports inside functions and those for a type checker count."""
    names = {module.name for module in modules(package)}

    def module_of(imported: str) -> str:
        return imported if imported in names else imported.rpartition(".")[0]

    graph = {
        module.name: {module_of(imported) for _, imported in module.imports()} & names - {module.name, package}
        for module in modules(package)
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("leaf", LEAVES)
def test_a_leaf_imports_neither_the_hub_nor_the_other_leaf(leaf: str) -> None:
    ours = {"flyte_images", *LEAVES} - {leaf}
    wrong = [
        shown(module, line, imported)
        for module in modules(leaf)
        for line, imported in module.imports()
        if imported.split(".")[0] in ours
    ]
    assert wrong == []


@pytest.mark.parametrize("package", ["flyte_images", *LEAVES])
def test_folders_of_the_checkout_are_not_packages(package: str) -> None:
    """An editable install makes `layers`, `runtime` and `tests` importable; an installed one does not."""
    wrong = [
        shown(module, line, imported)
        for module in modules(package)
        for line, imported in module.imports()
        if imported.split(".")[0] in ("layers", "runtime", "tests")
    ]
    assert wrong == []


def loaded(code: str) -> set[str]:
    """Return the modules that a new interpreter has loaded after `code`."""
    program = f"{code}\nimport sys\nprint('\\n'.join(sys.modules))"
    done = subprocess.run((sys.executable, "-c", program), check=True, capture_output=True, text=True, cwd=ROOT)
    return set(done.stdout.split())


def test_to_import_the_package_loads_nothing_heavy() -> None:
    assert not loaded("import flyte_images") & set(HEAVY)
    assert "dataclasses" not in loaded("import flyte_images") - loaded("pass")


def test_to_describe_an_image_and_take_its_digest_loads_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import flyte_images as flyte\n"
        "image = flyte.Image.from_debian_base('3.11').with_pip_packages('pandas').with_apt_packages('git')\n"
        f"image.with_source_folder({str(tmp_path)!r}).digest"
    )
    assert not loaded(code) & set(HEAVY)


def test_the_help_of_the_command_line_loads_no_verb_and_nothing_heavy() -> None:
    code = "from flyte_images.cli.main import main\nimport sys, io\nsys.stdout = io.StringIO()\n"
    found = loaded(code + "main(['--help'])\nsys.stdout = sys.__stdout__")
    assert not found & (set(HEAVY) - {"click"})
    assert "flyte_images.image" not in found
    assert not {name for name in found if name in ("flyte_images.cli.build", "flyte_images.cli.show")}
