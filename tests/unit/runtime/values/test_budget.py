"""The cost of one result for the caller is counted before objects are made."""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any

import numpy
import pyarrow
import pytest

from flyte_images_runtime.resources.limits import Limits
from flyte_images_runtime.values import Files, Problem, codec
from flyte_images_runtime.values.budget import Budget, _counted, _counted_at_most

MIB = 1 << 20
_ESCAPES = "\\\\" * 40_000
_FLOOD = """
import resource, sys
from typing import Any
from flyte_images_runtime.values.budget import Budget
from flyte_images_runtime.resources.limits import Limits
from flyte_images_runtime.values import Files, Problem, codec
unit = sys.argv[1]
text = f"[{(unit + ',') * ((24 << 20) // (len(unit) + 1))}{unit}]".encode()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
budget = Budget.of(Limits(memory=64 << 20))
try:
    with Files("/", budget=budget) as files:
        codec(Any).decode(budget.loads(text), files)
except Problem as problem:
    print(problem)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_the_content_of_strings_is_not_counted() -> None:
    """D10: a window of the counter ends anywhere but within an escape."""
    random = Random(1)
    pieces = (
        "[1,2]",
        '{"a":[]}',
        r'"[\\\"{,:"',
        '"\\\\"',
        r'"\u005b[["',
        "[[]]",
        '"' + "\\\\" * 40_000 + '"',
        '"[{,:"',
    )
    for _ in range(50):
        texts = [f'"{"x" * random.randrange(70_000)}"', *random.choices(pieces, k=20)]
        text = "[" + ",".join(texts) + "]"
        json.loads(text)
        bare = re.sub(r'"(?:[^"\\]|\\.)*"', "", text)
        assert _counted(text.encode()) == (bare.count("{"), bare.count("["), bare.count(",") + bare.count(":"))


def test_the_quick_count_is_never_less() -> None:
    text = b'{"a": [1, 2, "[{,:"]}'
    assert all(quick >= exact for quick, exact in zip(_counted_at_most(text), _counted(text), strict=True))


@pytest.mark.parametrize("unit", ["[]", "{}", '{"a":1}', "[[]]", '"ab"', "1.5", '"\\u20ac"'])
def test_a_flood_of_json_is_refused_before_it_is_read_in(unit: str) -> None:
    """D10: 32 MiB of `[],[],...` took 1,570 MiB. It is refused before the first object is made."""
    done = subprocess.run((sys.executable, "-c", _FLOOD, unit), capture_output=True, text=True, check=True)
    *messages, grown = done.stdout.splitlines()
    assert int(grown) < 128
    assert messages == [] or any(why in messages[0] for why in ("is left", "too long", "CPU time"))


def test_cpu_time_is_bounded() -> None:
    """D10: 10 s of CPU time, and more in proportion to the size of files."""
    budget = Budget(memory=MIB, disk=MIB, seconds=0.0)
    with Files("/", budget=budget) as files, pytest.raises(Problem, match="CPU time"):
        codec(Any).decode([[[1]] * 3000] * 2, files)


def test_bytes_with_holes_are_not_read(tmp_path: Path) -> None:
    """D10: a sparse file of 2 GiB as bytes."""
    with (tmp_path / "1.bin").open("wb") as file:
        file.truncate(2 << 30)
    message = r"2Gi of the caller's memory; 512Mi of 512Mi is left"
    budget = Budget.of(Limits(memory=256 * MIB))
    with Files(str(tmp_path), budget=budget) as files, pytest.raises(Problem, match=message):
        codec(bytes).decode({"file": "1.bin"}, files)


def test_a_large_array_is_mapped(tmp_path: Path) -> None:
    """A mapped array takes no memory until it is read, so it is not charged as memory."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    numpy.lib.format.open_memmap(tmp_path / "1.npy", mode="w+", dtype="u1", shape=(1 << 30,)).flush()
    with Files(str(tmp_path), budget=Budget(memory=MIB, disk=2 << 30)) as files:
        assert codec(numpy.ndarray).decode({"npy": "1.npy"}, files)[1 << 29] == 0
        with pytest.raises(Problem, match="max_result"):
            codec(list[numpy.ndarray]).decode([{"npy": "1.npy"}] * 2, files)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
def test_a_compressed_table_is_not_unpacked(compression: str, tmp_path: Path) -> None:
    """D10: buffers that are a thousand times as large in memory."""
    table = pyarrow.table({"a": [0] * MIB})
    options = pyarrow.ipc.IpcWriteOptions(compression=compression)
    with pyarrow.ipc.new_file(str(tmp_path / "1.arrow"), table.schema, options=options) as writer:
        writer.write_table(table)
    with Files(str(tmp_path)) as files, pytest.raises(Problem, match="compressed"):
        codec(pyarrow.Table).decode({"arrow": "1.arrow"}, files)


def test_budgets_follow_the_limits() -> None:
    small, large = Budget.of(Limits(memory=64 * MIB)), Budget.of(Limits(memory=64 << 30))
    small.take_memory(128 * MIB, "it")
    with pytest.raises(Problem):
        small.take_memory(1, "it")
    large.take_disk(128 << 30, "it")
    named = Budget.of(Limits(), 5 * MIB)
    with pytest.raises(Problem, match="6Mi; 5Mi of 5Mi") as caught:
        named.take_disk(6 * MIB, "it")
    assert 'max_result="12Mi"' in str(caught.value.hint)
