"""One root catches every error that the product raises on purpose, outside a task and inside one."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable

import pytest

import flyte_images as flyte
from flyte_images.errors import FlyteImagesError, Location, SpecError

from .house.house import ROOT, modules

# Exceptions that another module of the same package catches; none reaches a caller.
INTERNAL = {
    *("InvalidDocument", "LayerError", "Problem"),  # converted where a document, a layer or a value is read
    *(
        "BrokenExchangeError",
        "NoSnapshot",
        "NotWritten",
        "Refused",
        "RefusedAnswer",
        "RefusedError",
        "Stopped",
        "Unavailable",
        "Unfit",
    ),
}


def exceptions() -> set[type[Exception]]:
    """Every public exception class of the three packages but those of the code that runs inside containers."""
    found = set()
    for package in ("flyte_images", "flyte_images_layers", "flyte_images_runtime"):
        for module in modules(package):
            if ".inside" in module.name or ".worker" in module.name or "_pb2" in module.name:
                continue
            __import__(module.name)
            members = inspect.getmembers(sys.modules[module.name], inspect.isclass)
            found |= {
                kind
                for name, kind in members
                if issubclass(kind, Exception) and kind.__module__ == module.name and not name.startswith("_")
            }
    return found


def test_every_public_error_derives_from_the_root() -> None:
    outside = {kind.__name__ for kind in exceptions() if not issubclass(kind, FlyteImagesError)}
    assert outside <= INTERNAL


def test_the_module_of_errors_offers_each_of_them() -> None:
    offered = {getattr(flyte.errors, name) for name in flyte.errors.__all__}
    hidden = {kind.__name__ for kind in exceptions() - offered if issubclass(kind, FlyteImagesError)}
    assert hidden == {"ConnectionLostError", "StepError"}  # of buildkit; the public classes are their bases
    assert flyte.NotSerialisable is flyte.NotSerializable


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (lambda: flyte.Resources(cpu="x"), 2),
        (lambda: flyte.Resources(gpu="A10G:9"), 2),
        (lambda: flyte.Image.from_debian_base().with_pip_packages(), 2),
        (lambda: flyte.TaskEnvironment(name="env", memry=1), 2),  # type: ignore[call-arg]
        (lambda: flyte.TaskEnvironment(name="env", max_result="x"), 2),
    ],
)
def test_a_wrong_description_is_caught_by_the_root(wrong: Callable[[], object], code: int) -> None:
    with pytest.raises(FlyteImagesError) as refused:
        wrong()
    assert isinstance(refused.value, SpecError)
    assert refused.value.exit_code == code


def test_the_outcomes_of_a_task_are_caught_by_the_root() -> None:
    for name in ("OutOfMemory", "TimedOut", "Killed", "DiskFull", "EngineLost", "InvalidArgument", "Cancelled"):
        error = getattr(flyte, name)("message", task="env.t", hint="remedy")
        assert isinstance(error, FlyteImagesError)
        assert (str(error), error.hint, error.task, error.location) == ("message", "remedy", "env.t", None)


def test_a_code_and_a_place_belong_to_one_error() -> None:
    error = FlyteImagesError("message", location=Location("/app.py", 7), exit_code=3)
    assert (error.exit_code, FlyteImagesError.exit_code, str(error.location)) == (3, 1, "/app.py:7")


def test_the_root_catches_them_inside_a_task_too() -> None:
    program = """
from flyte_images_runtime.worker import nested_client, stub
stub.install()
import flyte_images as flyte
for name in ("OutOfMemory", "SpecError", "EngineError", "InvalidResult"):
    try:
        raise nested_client.error_class(name)("message")
    except flyte.errors.FlyteImagesError as error:
        print(type(error).__name__, isinstance(error, flyte.TaskError), isinstance(error, ValueError))
"""
    done = subprocess.run((sys.executable, "-c", program), capture_output=True, text=True, cwd=ROOT / "runtime")
    assert done.stdout.splitlines() == [
        "OutOfMemory True False",
        "SpecError False True",
        "EngineError True False",
        "InvalidResult True False",
    ], done.stderr
