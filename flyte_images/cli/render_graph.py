"""Plan -> a drawing: DOT for Graphviz, or SVG. Pure.

Boxes are the base, the steps and the image. An arrow goes from a box to each box that reads it; a box is to the right
of all boxes that it reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from ..plan.model import Command, Debs, Plan, Venv, Wheels
from ..progress.terminal_text import clean, size
from .render_plan import bytes_of, kind_of, label

_FILL = {
    "base": "#dbe7f6",
    "toolchain": "#dbe7f6",
    "wheels": "#e2f2dd",
    "debs": "#fbeccb",
    "command": "#f9dcd7",
    "files": "#ece3f5",
    "directory": "#ece3f5",
    "venv": "#e2f2dd",
    "image": "#d9d9d9",
}
_WIDTH, _HEIGHT, _GAP_X, _GAP_Y, _EDGE = 250, 40, 70, 14, 16
_LONGEST = 36  # characters that fit into a box


@dataclass(frozen=True, slots=True, kw_only=True)
class _Box:
    key: str
    kind: str
    title: str
    detail: str
    reads: tuple[str, ...]


def to_dot(name: str, plan: Plan) -> str:
    """Return the graph in the DOT language."""
    lines = [
        "digraph plan {",
        "  rankdir=LR;",
        '  node [shape=box, style="filled,rounded", fontname="sans-serif", fontsize=11, color="#666666"];',
    ]
    boxes = list(_boxes(name, plan))
    for box in boxes:
        text = _quoted(f"{box.title}\n{box.detail}" if box.detail else box.title)
        lines.append(f'  {box.key} [label={text}, fillcolor="{_FILL[box.kind]}"];')
    lines += [f"  {read} -> {box.key};" for box in boxes for read in box.reads]
    return "\n".join([*lines, "}", ""])


def to_svg(name: str, plan: Plan) -> str:
    """Return an SVG document."""
    boxes = list(_boxes(name, plan))
    rank: dict[str, int] = {}
    for box in boxes:  # the list is in reading order too
        rank[box.key] = max((rank[read] + 1 for read in box.reads), default=0)
    for box in boxes:
        if not box.reads and box.kind not in (
            "base",
            "toolchain",
        ):  # files are drawn one column before their reader, not beside the base
            rank[box.key] = min(rank[reader.key] for reader in boxes if box.key in reader.reads) - 1
    columns: dict[int, list[_Box]] = {}
    for box in boxes:
        columns.setdefault(rank[box.key], []).append(box)
    tallest = max(len(column) for column in columns.values())
    place: dict[str, tuple[float, float]] = {}
    for number, column in columns.items():
        above = (tallest - len(column)) * (_HEIGHT + _GAP_Y) / 2
        for row, box in enumerate(column):
            place[box.key] = (_EDGE + number * (_WIDTH + _GAP_X), _EDGE + above + row * (_HEIGHT + _GAP_Y))
    width = 2 * _EDGE + len(columns) * (_WIDTH + _GAP_X) - _GAP_X
    height = 2 * _EDGE + tallest * (_HEIGHT + _GAP_Y) - _GAP_Y
    extent = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {extent} font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        '<g fill="none" stroke="#888888">',
        *(_arrow(place[read], place[box.key]) for box in boxes for read in box.reads),
        "</g>",
        *(_drawn(box, *place[box.key]) for box in boxes),
        "</svg>",
        "",
    ]
    return "\n".join(parts)


def _boxes(name: str, plan: Plan) -> Iterator[_Box]:
    """Yield the boxes, each after all boxes that it reads."""
    yield _Box(key="base", kind="base", title=plan.base.description or plan.base.reference, detail="base", reads=())
    toolchain = "base"
    if plan.toolchain is not None and plan.toolchain.digest != plan.base.digest:
        toolchain = "toolchain"
        title = plan.toolchain.description or plan.toolchain.reference
        yield _Box(key=toolchain, kind="toolchain", title=title, detail="installs packages", reads=())
    whole: str | None = None  # the last command: its result contains everything before it
    loose: list[str] = []
    for index, step in enumerate(plan.steps):
        match step.body:
            case Wheels():
                reads: tuple[str, ...] = (toolchain,)
            case Command() | Debs():
                reads = tuple(
                    dict.fromkeys((whole or "base", *(f"step{i}" for i in step.reads if f"step{i}" in loose)))
                )
            case Venv():
                reads = ("base",)
            case _:
                reads = ()
        fetched = bytes_of(step)
        detail = kind_of(step) + (f", {size(fetched)}" if fetched else "")
        yield _Box(key=f"step{index}", kind=step.body.kind, title=label(step), detail=detail, reads=reads)
        if isinstance(step.body, Command):
            whole, loose = f"step{index}", []
        else:
            loose.append(f"step{index}")
    yield _Box(key="image", kind="image", title=name, detail=plan.digest[:19], reads=(whole or "base", *loose))


def _arrow(start: tuple[float, float], end: tuple[float, float]) -> str:
    x1, y1 = start[0] + _WIDTH, start[1] + _HEIGHT / 2
    x2, y2 = end[0], end[1] + _HEIGHT / 2
    bend = max(20.0, (x2 - x1) / 2)
    return f'<path d="M{x1:.0f} {y1:.0f}C{x1 + bend:.0f} {y1:.0f} {x2 - bend:.0f} {y2:.0f} {x2:.0f} {y2:.0f}"/>'


def _drawn(box: _Box, x: float, y: float) -> str:
    title = clean(box.title)
    shown = title if len(title) <= _LONGEST else title[: _LONGEST - 3] + "..."
    return (
        f'<g><title>{escape(title)}</title><rect x="{x:.0f}" y="{y:.0f}" width="{_WIDTH}" height="{_HEIGHT}" rx="5" '
        f'fill="{_FILL[box.kind]}" stroke="#666666"/><text x="{x + 8:.0f}" y="{y + 17:.0f}">{escape(shown)}</text>'
        f'<text x="{x + 8:.0f}" y="{y + 32:.0f}" font-size="10" fill="#555555">{escape(box.detail)}</text></g>'
    )


def _quoted(text: str) -> str:
    lines = [clean(line).replace("\\", "\\\\").replace('"', '\\"') for line in text.splitlines()]
    return '"' + "\\n".join(lines) + '"'
