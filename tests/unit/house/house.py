"""The modules of the three packages and their imports, and the files that git tracks."""

from __future__ import annotations

import ast
import functools
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
PACKAGES = {
    "flyte_images": ROOT / "flyte_images",
    "flyte_images_layers": ROOT / "layers" / "flyte_images_layers",
    "flyte_images_runtime": ROOT / "runtime" / "flyte_images_runtime",
}


@dataclass(frozen=True)
class Module:
    name: str
    path: Path

    @property
    def shown(self) -> str:
        return str(self.path.relative_to(ROOT))

    def imports(self) -> tuple[tuple[int, str], ...]:
        """Return every imported module with its line: imports in functions and for a type checker count."""
        return _imports(self)


@functools.cache
def _imports(module: Module) -> tuple[tuple[int, str], ...]:
    return tuple(_read_imports(module))


def _read_imports(module: Module) -> Iterator[tuple[int, str]]:
    package = module.name if module.path.name == "__init__.py" else module.name.rpartition(".")[0]
    for node in ast.walk(ast.parse(module.path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - (node.level - 1)] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            # `from . import x` and `from .a import x`: x is a module, or something in one.
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


NEEDS_ENGINE = {
    "flyte_images.builder.build",
    "flyte_images.runner.runner.Runner.__call__",
    "flyte_images.runner.runner.Runner.aio",
    "flyte_images.runner.runner.Runner.map",
    "flyte_images.runner.runner.map",
}
"""Docstrings whose examples build an image or run a task: tests/integration/runtime/test_api_examples.py runs them."""


def modules(package: str) -> list[Module]:
    """Return every module of a package, without generated ones."""
    folder = PACKAGES[package]
    found = []
    for path in sorted(folder.rglob("*.py")):
        if path.stem.endswith("_pb2"):
            continue
        parts = path.relative_to(folder.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found.append(Module(name, path))
    return found


def tracked() -> list[Path]:
    """Return the files that git tracks."""
    listed = subprocess.run(("git", "ls-files", "-z"), cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]
