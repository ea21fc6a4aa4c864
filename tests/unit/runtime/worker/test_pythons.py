"""One call through every Python of this machine: older and newer versions read what the caller wrote."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import flyte_images_runtime
from flyte_images_runtime.execution.call_streams import CallStreams
from flyte_images_runtime.portable import framing
from flyte_images_runtime.values import Files, Signature

_ROOT = Path(flyte_images_runtime.__file__).parent

MODULE = """
from __future__ import annotations

import dataclasses, datetime, decimal, enum, pathlib
from typing import Any, Dict, List, NamedTuple, Optional, Tuple, Union

import flyte_images as flyte

env = flyte.TaskEnvironment(name="old", image=flyte.Image.from_debian_base("3.8"))

class Color(enum.Enum):
    RED = 1

@dataclasses.dataclass
class Row:
    a: int
    b: List[str]
    c: Optional[Row] = None

class Pair(NamedTuple):
    left: int
    right: float

@env.task
async def mirror(
    row: Row, either: Union[int, str], when: datetime.datetime, money: decimal.Decimal, pair: Pair,
    anything: Any, blob: bytes, color: Color, *more: int, path: pathlib.Path = pathlib.Path("/"), **rest: float
) -> Tuple[Row, Union[int, str], datetime.datetime, decimal.Decimal, Pair, Any, bytes, Color, Dict[str, float]]:
    return row, either, when, money, pair, anything, blob, color, rest

@env.task
def fails() -> None:
    raise KeyError("rows")
"""

INSIDE = """
import sys
from flyte_images_runtime.worker import paths, start, task
paths.IN, paths.OUT, paths.FAST = sys.argv[1:4]
sys.exit(start.perform_call(task.load_call()))
"""


def interpreters() -> list[str]:
    """Return one interpreter for each version from 3.8 on that can be started."""
    programs = {}
    for minor in range(8, 20):
        program = shutil.which(f"python3.{minor}")
        if program is not None:
            version = subprocess.run([program, "-c", "import sys; print(sys.version_info[1])"], capture_output=True)
            if version.returncode == 0:
                programs[int(version.stdout)] = program
    return list(programs.values()) or [sys.executable]


@pytest.mark.parametrize("python", interpreters(), ids=lambda path: Path(path).name)
def test_values_and_errors_cross_between_versions(python: str, tmp_path: Path) -> None:
    directories = [tmp_path / name for name in ("in", "out", "fast", "code", "lib")]
    for directory in directories:
        directory.mkdir()
    inputs, outputs, memory, code, library = directories
    (library / "flyte_images_runtime").symlink_to(_ROOT)
    (code / "app.py").write_text(MODULE)
    module = _import(code)
    signature = Signature(module.mirror.function)
    given = (
        module.Row(1, ["ü"], module.Row(2, [])),
        "x",
        module.datetime.datetime(2020, 1, 1, tzinfo=module.datetime.timezone.utc),
        module.decimal.Decimal("1.10"),
        module.Pair(1, 2.5),
        {"a": (1, {2}), 3: None},
        b"\0" * 100_000,
        module.Color.RED,
    )
    with Files(str(inputs)) as files:
        arguments = signature.encode((*given, 7, 8), {"path": module.pathlib.Path("/a"), "extra": 0.5}, files)

    def run(qualname: str, arguments: object) -> dict[str, object]:
        call = {"task": "old.x", "module": "app", "qualname": qualname, "paths": [str(code)], "arguments": arguments}
        (inputs / "call.json").write_text(json.dumps({**call, "homes": {}, "secrets": {}}))
        subprocess.run(
            [
                python,
                "-I",
                "-S",
                "-c",
                f"import sys; sys.path[:0] = [{str(library)!r}]\n{INSIDE}",
                *map(str, directories),
            ],
            check=False,
        )
        document: dict[str, object] = json.loads((outputs / "result.json").read_text())
        return document

    answer = run("mirror", arguments)
    assert "error" not in answer, answer
    with Files(str(outputs), str(memory)) as files:
        assert signature.decode_result(answer["result"], files) == (*given, {"extra": 0.5})
    error = run("fails", {})["error"]
    assert isinstance(error, dict)
    assert (error["type"], error["message"]) == ("KeyError", "rows")
    assert 'raise KeyError("rows")' in error["traceback"]


@pytest.mark.parametrize("python", interpreters(), ids=lambda path: Path(path).name)
def test_each_version_serves_one_call_after_the_other(python: str, tmp_path: Path) -> None:
    """Without forks: after each fork the worker kills all processes that it can, which is safe only in a container."""
    directories = [tmp_path / name for name in ("in", "out", "fast", "lib")]
    for directory in directories:
        directory.mkdir()
    (tmp_path / "lib" / "flyte_images_runtime").symlink_to(_ROOT)
    (tmp_path / "app.py").write_text(SERVED)
    call = {"task": "old.x", "module": "app", "qualname": "count", "paths": [str(tmp_path)], "secrets": {}}
    (tmp_path / "in" / "call.json").write_text(json.dumps({**call, "serve": True, "fork": False}))
    script = f"import sys; sys.path[:0] = [{str(tmp_path / 'lib')!r}]\n{INSIDE}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "in" / "work.sock"))
        listener.listen(1)
        argv = [python, "-I", "-S", "-c", script, *map(str, directories)]
        worker = subprocess.Popen(argv, env={"PYTHONDONTWRITEBYTECODE": "1"})
        listener.settimeout(60)
        link, _ = listener.accept()
    with link:
        streams = CallStreams(link)
        printed: list[str] = []
        for number in (1, 2):
            framing.send(link, {"arguments": {"step": number}, "number": f"c{number}"})
            streams.begin(lambda stream, line: printed.append(f"{stream} {line}"))
            assert streams.pass_on(None)
            outcome, end = framing.receive(link), framing.receive(link)
            streams.finish()
            assert outcome["result"] == [0, 1, 3][number]
            assert end["status"] == 0
        streams.close()
    assert printed == ["stdout step 1", "stdout step 2"]
    assert worker.wait(60) == 0


SERVED = """
import flyte_images as flyte

env = flyte.TaskEnvironment(name="old", image=flyte.Image.from_debian_base("3.8"))
total = 0

@env.task
def count(step: int) -> int:
    global total
    total += step
    print("step", step)
    return total
"""


def _import(code: Path) -> Any:
    import importlib.util

    spec = importlib.util.spec_from_file_location("app_of_versions", code / "app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["app_of_versions"] = module
    spec.loader.exec_module(module)
    return module
