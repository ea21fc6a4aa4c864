"""Functions that cannot be imported go by value: those of a notebook, and those inside of another function."""

from __future__ import annotations

import dataclasses
import subprocess
import threading
from collections.abc import Callable

import pytest

import flyte_images as flyte

from . import nested_tasks

pytestmark = pytest.mark.engine
quiet = flyte.run.using(on_line=None)
env = flyte.TaskEnvironment(name="value", limits=flyte.Resources(memory="128Mi"), network="none")


@pytest.mark.parametrize("reusable", [None, True])
def test_a_closure_brings_the_objects_that_it_refers_to(reusable: bool | None) -> None:
    @dataclasses.dataclass
    class Row:
        n: int
        text: str

    factor = 7

    def helper(n: int) -> int:
        return n * factor

    @env.task
    def work(rows: list[Row], more: int = 1) -> dict[str, Row]:
        if more > 1:
            return work(rows, more - 1)
        return {row.text: Row(helper(row.n), row.text.upper()) for row in rows}

    task = work.override(reusable=reusable)
    assert quiet(task, [Row(1, "a"), Row(2, "b")], more=3).result == {"a": Row(7, "A"), "b": Row(14, "B")}
    factor = 10
    assert quiet(task, [Row(1, "a")]).result == {"a": Row(10, "A")}


def test_a_closure_can_call_tasks_of_other_environments() -> None:
    @env.task
    def work(n: int) -> tuple[str | None, int, str]:
        return nested_tasks.where(n)

    assert quiet(work, 1).result == ("inner", 2, "1")


def test_an_object_that_cannot_be_pickled_is_an_error() -> None:
    lock = threading.Lock()

    @env.task
    def work() -> None:
        with lock:
            pass

    with pytest.raises(
        flyte.errors.SpecError, match=r"task `value.work` is defined in no module and cannot go by value"
    ):
        quiet(work)


def test_another_version_of_python_is_an_error(image: str) -> None:
    from flyte_images.runner import call as call_module

    @env.task
    def work() -> None: ...

    call = quiet.call(work, (), {})
    document = call_module.call_document

    def older(*args: object, **kwargs: object) -> dict[str, object]:
        return {**document(*args, **kwargs), "python": [3, 9]}  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(call_module, "call_document", older)
        with pytest.raises(flyte.InvalidArgument, match=r"from Python 3\.9 to an image with Python 3\.") as caught:
            call.run()
    assert "top of a .py file" in str(caught.value.hint)


def test_a_task_in_a_notebook_cell(program: Callable[..., subprocess.Popen[str]]) -> None:
    process = program(
        """
        import code
        session = code.InteractiveInterpreter({"__name__": "__main__"})
        import sys
        del sys.modules["__main__"].__file__
        cell = '''
        from __future__ import annotations
        import flyte_images as flyte
        import dataclasses
        env = flyte.TaskEnvironment(name="cell", image="{image}", limits=flyte.Resources(memory="128Mi"))
        @dataclasses.dataclass
        class Row:
            n: int
        @env.task
        def double(row: Row) -> list[Row]:
            return [Row(2 * row.n)]
        print(flyte.run(double, Row(4)).result)
        '''
        import textwrap
        exec(compile(textwrap.dedent(cell), "<cell 1>", "exec"), sys.modules["__main__"].__dict__)
        """
    )
    out, errors = process.communicate(timeout=120)
    assert out.strip() == "[Row(n=8)]", errors
