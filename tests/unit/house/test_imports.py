"""Two arrows and no more: flyte_images -> layers, flyte_images -> runtime; and inside flyte_images one direction."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .house import ROOT, Module, modules

# A module imports only what stands before it; those on one line make one thing, and may know each other. The package
# itself, which re-exports, stands above all.
ORDER = (
    *("errors", "stopping", "store", "uv_program", "context", "manifests", "written", "image", "options", "task"),
    *("environment", "spec", "lock", "plan", "planning", "llb", "origins", "one_layer", "lower"),
    *("buildkit", "host", "masked"),
    *("outputs", "bootstrap", "index_logins", "fetch", "places"),
    *("resolve", "prepare", "solving", "progress", "leftovers", "builder", "copies", "shipping", "engines", "devices"),
    *("by_value", "secrets", "results", "arrivals", "printed", "history", "ready"),
    *("nested_slots nested_limits", "run running awaiting mapping nested reuse", "shells", "cli"),
)
PLACES = {name: number for number, names in enumerate(ORDER) for name in names.split()}
LEAVES = ("flyte_images_layers", "flyte_images_runtime")
HEAVY = ("grpc", "google.protobuf", "python_on_whales", "pydantic", "numpy", "rich", "yaml", "asyncio", "ssl", "click")


def place(module: str) -> int | None:
    """Where a module of flyte_images stands in the order; None for the package itself."""
    parts = module.split(".")
    return PLACES.get(parts[1]) if len(parts) > 1 else None


def shown(module: Module, line: int, imported: str) -> str:
    return f"{module.shown}:{line} imports {imported}"


def test_every_module_has_its_place_in_the_order() -> None:
    tops = {module.name.split(".")[1] for module in modules("flyte_images") if "." in module.name}
    assert tops - set(PLACES) == set()


def test_a_module_imports_only_what_stands_before_it() -> None:
    wrong = []
    for module in modules("flyte_images"):
        own = place(module.name)
        for line, imported in module.imports():
            if own is None or not imported.startswith("flyte_images."):
                continue
            other = place(imported)
            if other is not None and other > own:
                wrong.append(shown(module, line, imported))
    assert wrong == []


@pytest.mark.parametrize("leaf", LEAVES)
def test_a_leaf_knows_neither_the_hub_nor_the_other_leaf(leaf: str) -> None:
    ours = {"flyte_images", *LEAVES} - {leaf}
    wrong = [
        shown(module, line, imported)
        for module in modules(leaf)
        for line, imported in module.imports()
        if imported.split(".")[0] in ours
    ]
    assert wrong == []


@pytest.mark.parametrize("package", ["flyte_images", *LEAVES])
def test_folders_of_the_checkout_are_no_packages(package: str) -> None:
    """An editable install makes `layers`, `runtime` and `tests` importable; an installed one does not."""
    wrong = [
        shown(module, line, imported)
        for module in modules(package)
        for line, imported in module.imports()
        if imported.split(".")[0] in ("layers", "runtime", "tests")
    ]
    assert wrong == []


def loaded(code: str) -> set[str]:
    """The modules that are loaded after `code`, in an interpreter of its own."""
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
