"""Layers as values: what one state has and another has not (diff), and states on top of each other (merge). Pure."""

from __future__ import annotations

from collections.abc import Sequence

from .pb import ops_pb2
from .state import Inputs, Note, State, scratch, vertex


def merge(states: Sequence[State], *, note: Note | None = None) -> State:
    """All `states` in one; where they have the same path, the later one's counts.

    Nothing is copied. Of one state it is that state, of none it is scratch.
    """
    kept = [state for state in states if state.vertex is not None]
    if len(kept) < 2:
        return kept[0] if kept else scratch()
    body = ops_pb2.MergeOp(inputs=[ops_pb2.MergeInput(input=index) for index in range(len(kept))])
    return State(vertex(body, inputs=kept, caps={"mergeop"}, note=note))


def diff(lower: State, upper: State, *, note: Note | None = None) -> State:
    """What has to be laid over `lower` to get `upper`: new and changed files, and the marks of removed ones.

    Over scratch that is `upper` itself.
    """
    if lower.vertex is None:
        return upper
    inputs = Inputs()
    body = ops_pb2.DiffOp(
        lower=ops_pb2.LowerDiffInput(input=inputs.index(lower)),
        upper=ops_pb2.UpperDiffInput(input=inputs.index(upper)),
    )
    return State(vertex(body, inputs=inputs.states, caps={"diffop"}, note=note))
