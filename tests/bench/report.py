"""Samples -> a Markdown table and a JSON document. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

_ROWS = (
    ("no-op", "nothing changed, whole process", "s"),
    ("package added", "httpx added", "s"),
    ("source changed", "one source file changed", "s"),
    ("cold", "cold build", "s"),
    ("bytes pushed", "pushed after adding httpx", "bytes"),
    ("bytes of one", "numpy, scipy and a small package, pushed", "bytes"),
    ("bytes of many", "20 such images, pushed", "bytes"),
    ("many", "20 such images, built and pushed", "s"),
    ("define an image", "import and define an image", "s"),
    ("--help", "`--help`", "s"),
)


def table(samples: Mapping[str, Mapping[str, list[float]]], columns: tuple[str, ...]) -> str:
    """Medians, and in brackets how many times as much as the first column.

    >>> print(table({"no-op": {"ours": [0.2, 0.1, 0.3], "theirs": [1.0]}}, ("ours", "theirs")))
    | | ours | theirs |
    |---|---|---|
    | nothing changed, whole process | 0.20 s | 1.00 s (5.0x) |
    """
    lines = ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for case, words, unit in _ROWS:
        measured = samples.get(case)
        if not measured:
            continue
        first = measured.get(columns[0])
        cells = []
        for column in columns:
            values = measured.get(column)
            if not values:
                cells.append("")
                continue
            text = _amount(statistics.median(values), unit)
            if first and column != columns[0]:
                ratio = statistics.median(values) / statistics.median(first)
                text += f" ({ratio:.1f}x)" if ratio < 100 else f" ({ratio:.0f}x)"
            cells.append(text)
        lines.append(f"| {words} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def missing_samples(missing: Sequence[tuple[str, str, str]]) -> str:
    """Return the note that says which samples failed: empty if none did.

    >>> missing_samples([("flyte", "round 2 of builds", "docker buildx build exited with 1:")])
    'Missing, because a command failed: flyte, round 2 of builds (docker buildx build exited with 1).'
    """
    if not missing:
        return ""
    return "Missing, because a command failed: " + "; ".join(f"{a}, {b} ({c.rstrip(':')})" for a, b, c in missing) + "."


def between_marks(text: str, content: str, *, name: str = "bench") -> str:
    """Return a document with `content` in the place that is kept for it.

    >>> between_marks("a <!-- bench:begin -->old<!-- bench:end --> b", "new")
    'a <!-- bench:begin -->\\nnew\\n<!-- bench:end --> b'
    """
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    before, _, rest = text.partition(begin)
    return f"{before}{begin}\n{content}\n{end}{rest.partition(end)[2]}"


def document(
    samples: Mapping[str, Mapping[str, list[float]]],
    *,
    machine: Mapping[str, object],
    inside: Mapping[str, object],
    missing: Sequence[tuple[str, str, str]],
) -> dict[str, object]:
    cases = {
        case: {
            name: {"median": statistics.median(values), "min": min(values), "max": max(values), "samples": values}
            for name, values in measured.items()
        }
        for case, measured in samples.items()
    }
    return {"machine": machine, "inside": inside, "cases": cases, "missing": [list(one) for one in missing]}


def _amount(value: float, unit: str) -> str:
    if unit == "bytes":
        return f"{value / 1e6:,.2f} MB"
    return f"{value:.2f} s" if value < 10 else f"{value:.1f} s"
