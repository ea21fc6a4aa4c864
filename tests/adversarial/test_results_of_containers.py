"""The worst results that containers can send, sent by containers; and honest results, which cross unchanged."""

from __future__ import annotations

import json
import math
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import flyte_images as flyte
from tests.adversarial import result_tasks as tasks

pytestmark = pytest.mark.engine
quiet = flyte.run.using(on_line=None)
MIB = 1 << 20


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def test_a_flood_of_json_is_refused_before_it_is_read() -> None:
    """D10: 96 MiB of `[],[],...` from a task of 256Mi took 6 GiB of the caller, warm or not."""
    before = peak()
    with pytest.raises(flyte.InvalidResult, match="caller's"):
        quiet(tasks.flood, 24)
    warm = tasks.flood.override(reusable=True)
    try:
        with pytest.raises(flyte.InvalidResult, match="caller's"):
            quiet(warm, 8, warm=True)
    finally:
        flyte.run.close()
    assert peak() - before < 512 * MIB


@pytest.mark.parametrize(
    ("task", "args", "message"),
    [
        (tasks.fraction, (), r"result at `result\['a'\]`"),
        (tasks.holes, (2 << 30,), "2Gi of the caller's memory"),
        (tasks.archive, ("link",), "leads out of it: 'shadow'"),
        (tasks.archive, ("size",), "incomplete file: 'big'"),
        (tasks.sparse, (1 << 40,), "max_result"),
    ],
    ids=["fraction", "holes as bytes", "a link that climbs", "a size that is not there", "a sparse tebibyte"],
)
def test_a_result_that_would_harm_the_caller_is_refused(
    task: flyte.environment.Task[..., object], args: tuple[object, ...], message: str
) -> None:
    """D7, D10: the result is refused, and no file of it is left."""
    with pytest.raises(flyte.InvalidResult, match=message):
        quiet(task, *args)


def test_holes_and_hard_links_cross(tmp_path: Path) -> None:
    """D10, D6: a sparse file of 3 GiB takes no space; hard links stay, pipes are named."""
    big = Path(quiet(tasks.sparse, 3 << 30).result.path).stat()
    assert (big.st_size, big.st_blocks) == (3 << 30, 0)
    found = Path(quiet(tasks.directory, False).result.path)
    assert sorted(path.name for path in found.rglob("*")) == ["a", "b", "c", "sub"]
    assert (found / "a").stat().st_nlink == 3
    with pytest.raises(flyte.NotSerializable, match="named pipe: 'sub/pipe'"):
        quiet(tasks.directory, True)
    (found / "l").symlink_to("a")
    result = quiet(tasks.honest, flyte.Dir(found)).result
    assert result["links"] == {"a": 3, "b": 3, "l": 3, "sub": 2}
    assert (math.isnan(result["numbers"][0]), result["numbers"][1:]) == (True, [-math.inf, 10**5000])
    assert result["text"] == "a\ud800"
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(flyte.InvalidArgument, match="named pipe: 'pipe'"):
        quiet(tasks.honest, flyte.Dir(tmp_path))


def test_printed_results_are_json(tmp_path: Path) -> None:
    """D25: NaN, an int of 5,000 digits and a lone surrogate on stdout."""
    done = subprocess.run(
        (str(Path(sys.executable).parent / "flyte-images"), "run", tasks.__file__, "honest", "--given", str(tmp_path)),
        capture_output=True,
        check=True,
    )
    printed = json.loads(done.stdout, parse_constant=pytest.fail)
    assert printed["numbers"] == ["NaN", "-Infinity", hex(10**5000)]
    assert printed["text"] == "a\ud800"
