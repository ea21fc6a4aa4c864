"""Layers as values: the difference of two states (`diff`) and states stacked on each other (`merge`). Pure."""

from __future__ import annotations

from collections.abc import Sequence

from .pb import ops_pb2
from .state import Inputs, Note, State, scratch, vertex


def merge(states: Sequence[State], *, note: Note | None = None) -> State:
    """Return all `states` stacked in order; of two files with the same path, the later state's file is visible.

    Nothing is copied. One state returns that state, and an empty list returns scratch.
    """
    filled = [state for state in states if state.vertex is not None]
    if len(filled) < 2:
        return filled[0] if filled else scratch()
    body = ops_pb2.MergeOp(inputs=[ops_pb2.MergeInput(input=index) for index in range(len(filled))])
    return State(vertex(body, inputs=filled, caps={"mergeop"}, note=note))


def diff(lower: State, upper: State, *, note: Note | None = None) -> State:
    """Return the layer that turns `lower` into `upper`: new and changed files, and whiteouts of removed files.

    The diff over scratch is `upper` itself.
    """
    if lower.vertex is None:
        return upper
    inputs = Inputs()
    body = ops_pb2.DiffOp(
        lower=ops_pb2.LowerDiffInput(input=inputs.index(lower)),
        upper=ops_pb2.UpperDiffInput(input=inputs.index(upper)),
    )
    return State(vertex(body, inputs=inputs.states, caps={"diffop"}, note=note))
