"""D20: the output of a step is passed on without the values of its secrets, wherever the engine splits the output."""

from __future__ import annotations

import pytest

from flyte_images.buildkit.events import Event, Vertex, VertexLog
from flyte_images.buildkit.redact import Masked, masked
from flyte_images.errors import BuildError
from flyte_images_runtime.task.redaction import Redactor

REDACTOR = Redactor(["sesäme-value"])


def passed(*pieces: bytes, error: str = "") -> tuple[str, list[Event]]:
    seen: list[Event] = []
    pass_on = Masked(seen.append, REDACTOR)
    for piece in pieces:
        pass_on(VertexLog(vertex="v", stream=1, data=piece))
    pass_on(Vertex(digest="v", name="step", completed=1.0, error=error))
    return b"".join(it.data for it in seen if isinstance(it, VertexLog)).decode(), seen


@pytest.mark.parametrize("cut", [1, 7, 8, 9, 10, 14])
def test_a_value_that_is_split_between_pieces(cut: int) -> None:
    data = "open sesäme-value!\nmore\r1 %\r2 %".encode()
    assert passed(data[:cut], data[cut:])[0] == "open ***!\nmore\r1 %\r2 %"


def test_an_endless_line_is_passed_on_in_parts() -> None:
    line = b"." * 70_000 + "sesäme-value".encode() + b"," * 70_000
    said, seen = passed(*(line[at : at + 999] for at in range(0, len(line), 999)))
    assert said == "." * 70_000 + "***" + "," * 70_000
    assert len(seen) > 3


def test_bytes_that_are_not_text_are_unchanged() -> None:
    seen: list[Event] = []
    pass_on = Masked(seen.append, REDACTOR)
    pass_on(VertexLog(vertex="v", stream=2, data=b"\xff\xfe sesame\n"))
    assert seen == [VertexLog(vertex="v", stream=2, data=b"\xff\xfe sesame\n")]


def test_errors_do_not_contain_the_values() -> None:
    _, seen = passed(error="it says sesäme-value")
    assert isinstance(seen[-1], Vertex) and seen[-1].error == "it says ***"
    with pytest.raises(BuildError) as caught, masked(REDACTOR):
        raise BuildError("failed: sesäme-value", log="a\nsesäme-value\n", hint="not sesäme-value")
    assert (str(caught.value), caught.value.log, caught.value.hint) == ("failed: ***", "a\n***\n", "not ***")
