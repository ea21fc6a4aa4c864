"""The house as it stands on disk: its folders, its modules, what they import."""

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
        """Every module that is imported anywhere in the file, in functions too, with its line. What only a type checker
        imports is left out: a type may be named where it stands above, and nothing is loaded."""
        return _imports(self)


@functools.cache
def _imports(module: Module) -> tuple[tuple[int, str], ...]:
    return tuple(_read_imports(module))


def _read_imports(module: Module) -> Iterator[tuple[int, str]]:
    package = module.name if module.path.name == "__init__.py" else module.name.rpartition(".")[0]
    for node in _walk(ast.parse(module.path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - (node.level - 1)] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            # `from . import x` and `from .a import x`: x is a module, or something in one.
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield from _walk(child)


def modules(package: str) -> list[Module]:
    """Every module of one of our packages; generated ones are left out."""
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
    """What git tracks."""
    listed = subprocess.run(("git", "ls-files", "-z"), cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]
