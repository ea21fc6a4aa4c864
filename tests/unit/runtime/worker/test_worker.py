"""The worker needs only the standard library of Python 3.8, and no flyte_images."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import flyte_images_runtime
from flyte_images_runtime.worker import stub, task

_ROOT = Path(flyte_images_runtime.__file__).parent
_INSIDE = [*(_ROOT / "worker").glob("*.py"), *(_ROOT / "values").glob("*.py"), _ROOT / "__init__.py"]
_FOREIGN = {"numpy", "pandas", "polars", "pyarrow", "torch", "pydantic"}


@pytest.mark.parametrize("path", _INSIDE, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_syntax_and_imports_are_those_of_python_3_8(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=(3, 8))
    at_the_top = {
        name.partition(".")[0]
        for node in tree.body
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names])
        if not (isinstance(node, ast.ImportFrom) and node.level)
    }
    assert at_the_top <= set(sys.stdlib_module_names) | {"flyte_images_runtime", ""}
    everywhere = {
        (node.module or "").partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and not node.level
    }
    assert everywhere <= set(sys.stdlib_module_names) | {"flyte_images_runtime"} | _FOREIGN
    for node in ast.walk(tree):  # `X | Y` and `list[int]` are evaluated only in annotations, which are text
        assert not isinstance(node, (ast.Match,)), path


USER_CODE = """
import flyte_images as flyte
from flyte_images import Image, TaskEnvironment
from flyte_images.errors import SpecError
import flyte_images_layers.pip
image = Image.from_debian_base("3.12").with_pip_packages("pandas").clone(name="x")
card = flyte.GPUAccelerator.NVIDIA_A10G
env = TaskEnvironment(name="ml", image=image, limits=flyte.Resources(cpu=2), accelerator=card)
assert env.limits.cpu == 2
assert env.clone_with("other", limits=flyte.Resources(cpu=1)).name == "other"
try:
    pass
except (SpecError, flyte.OutOfMemory):
    pass
@env.task
def one(a: int) -> int:
    return a + 1
@env.task(timeout=3)
async def two(f: flyte.File) -> str:
    return f.name
if __name__ == "__main__":
    flyte.run(one, 1)
"""


def inside(code: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run code as in a container: with the standard library and the directories that the engine mounts."""
    (directory / "lib").mkdir()
    (directory / "lib" / "flyte_images_runtime").symlink_to(_ROOT)
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:0] = [{str(directory / 'lib')!r}]\n{code}"],
        capture_output=True,
        text=True,
        cwd=directory,
        env={"PATH": os.environ["PATH"]},
    )


def test_a_users_module_imports_without_flyte_images(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(USER_CODE)
    done = inside(
        f"from flyte_images_runtime.worker import stub; stub.install(); sys.path.append({str(tmp_path)!r})\n"
        "import app; f = stub.function_of(app.one); print(f(1), app.one(2), app.one.name)\n"
        "from flyte_images_runtime.values import Signature\n"
        "Signature(stub.function_of(app.two))\n"
        "print(sorted(m for m in sys.modules if m.split('.')[0] in ('numpy', 'pydantic', 'grpc')))",
        tmp_path,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["2 3 ml.one", "[]"]


def test_a_module_that_runs_its_tasks_when_imported_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="__main__"):
        stub.run(None)


def test_an_error_is_described_with_the_users_lines_alone(tmp_path: Path) -> None:
    path = tmp_path / "app.py"
    path.write_text(
        "def work(n):\n    try:\n        return 1 / n\n"
        "    except ZeroDivisionError as e:\n        raise KeyError('rows') from e\n"
    )
    scope: dict[str, Any] = {}
    exec(compile(path.read_text(), str(path), "exec"), scope)
    try:
        scope["work"](0)
    except KeyError as error:
        description = task.describe(error, {"homes": {str(tmp_path): "/home/ada/project"}})
    json.dumps(description)
    assert (description["type"], description["message"]) == ("KeyError", "rows")
    assert description["cause"]["type"] == "ZeroDivisionError"
    assert 'File "/home/ada/project/app.py", line 3, in work\n    return 1 / n' in description["traceback"]
    assert str(tmp_path) not in description["traceback"]
    assert "LookupError" in description["bases"]


def test_an_exception_whose_str_raises_is_described() -> None:
    class Mean(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    description = task.describe(Mean(), {})
    assert description["type"].endswith("Mean")
    assert "RuntimeError" in description["message"]


def test_the_start_of_a_short_task_loads_no_slow_module() -> None:
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from flyte_images_runtime.worker import start, task, stub\n"
        "from flyte_images_runtime.values import Files, Signature\n"
        "def work(rows: 'int', *names: 'str', fast: bool = False) -> None: ...\n"
        "args = Signature(work).decode({'rows': 1, 'names': ['a'], 'fast': True}, Files('/nowhere'))\n"
        "assert args == ((1, 'a'), {'fast': True}), args\n"
        "print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script, str(_ROOT.parent)], capture_output=True, text=True, check=True
    )
    slow = {"json", "re", "enum", "typing", "inspect", "functools", "collections", "importlib", "signal", "dataclasses"}
    assert slow & set(done.stdout.split()) == set()
