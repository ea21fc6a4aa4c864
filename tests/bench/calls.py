"""How long a call takes, each kind beside its reference, on the same machine in the same run; and what it is to reach.

    python -m tests.bench.calls [--rounds 20] [--readme] [--only fresh,warm,many,arrays]

Every figure is a median; the first call of each kind is left out, as it loads what later ones have. A reference and
what is compared with it take turns, so that whatever else the machine does meets both.
"""

from __future__ import annotations

import argparse
import datetime
import os
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

import flyte_images as flyte
from flyte_images.runner.runner import Runner

from . import references, report
from .called import IMAGE, add, add_here, add_warm, nap
from .called_arrays import give, take
from .contenders import REPOSITORY

_GIB = 1 << 30
_HARDENED = (
    *("--rm", "--network=none", "--cpus=1", "--memory=512m", "--memory-swap=512m", "--pids-limit=4096", "--read-only"),
    *("--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--user=1000"),
)
_QUIET = flyte.run.using(on_line=None)
_OCI, _DOCKER = _QUIET.using(engine="oci"), _QUIET.using(engine="docker")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table. `reached` is None for what is there to compare with."""

    what: str
    measured: str
    goal: str = ""
    reached: bool | None = None

    def cells(self) -> tuple[str, ...]:
        return self.what, self.measured, self.goal, {None: "", True: "yes", False: "no"}[self.reached]


def main() -> None:
    options = _options()
    ref = flyte.build(IMAGE).ref.removeprefix("docker.io/library/")
    rows = [row for name, part in _PARTS.items() if name in options.only for row in part(ref, options.rounds)]
    lines = ["| | median | to reach | reached |", "|---|---|---|---|"]
    lines += [f"| {' | '.join(row.cells())} |" for row in rows]
    date = datetime.datetime.now(datetime.UTC).date()
    facts = (
        f"Medians of {options.rounds} calls on {os.cpu_count()} cores, {date}; containers hardened and limited alike."
    )
    content = "\n".join([*lines, "", facts])
    print(content)
    if options.readme:
        readme = REPOSITORY / "README.md"
        readme.write_text(report.between_marks(readme.read_text(), content, name="calls"))


def fresh(ref: str, rounds: int) -> Iterator[Row]:
    """A container for each call."""
    argv = ("docker", "run", *_HARDENED, ref, "python", "-c", "pass")

    def docker_run() -> None:
        subprocess.run(argv, check=True, capture_output=True)

    base, docker, oci = _medians(rounds, docker_run, lambda: _DOCKER(add, 1), lambda: _OCI(add, 1))
    yield Row(what="`docker run` of `python -c pass`, Docker's own client", measured=_ms(base))
    yield Row(
        what="a typed call in a fresh container, docker engine",
        measured=f"{_ms(docker)}, {docker / base:.2f} of it",
        goal="no slower",
        reached=docker <= base,
    )
    yield Row(
        what="a typed call in a fresh container, oci engine",
        measured=f"{_ms(oci)}, {base / oci:.1f} times faster",
        goal="3 times faster",
        reached=base >= 3 * oci,
    )
    slow, quick = _rate(_DOCKER, 4, 40), _rate(_OCI, 4, 200)
    yield Row(what="fresh containers a second, docker engine", measured=f"{slow:.1f}")
    yield Row(
        what="fresh containers a second, oci engine, 4 at once", measured=f"{quick:.1f}", goal="40", reached=quick >= 40
    )


def warm(ref: str, rounds: int) -> Iterator[Row]:
    """Containers that stay up."""
    with references.echo() as trip:
        trip_time, fork_time, forked, here = _medians(
            rounds, trip, references.fork, lambda: _QUIET(add_warm, 1), lambda: _QUIET(add_here, 1), in_a_row=10
        )
    yield Row(what="a round trip over a unix socket; a fork of an empty Python", measured=_pair(trip_time, fork_time))
    yield Row(what="a warm call (`reusable`), forked", measured=_ms(forked), goal="1.5 ms", reached=forked <= 0.0015)
    yield Row(what="a warm call, `fork=False`", measured=_ms(here), goal="0.3 ms", reached=here <= 0.0003)


def many(ref: str, rounds: int) -> Iterator[Row]:
    """Much of it."""
    _QUIET(add_warm, 1)
    thousand = _seconds(lambda: [_QUIET(add_warm, i) for i in range(1000)])
    yield Row(
        what="1,000 forked warm calls one after the other", measured=_ms(thousand), goal="2 s", reached=thousand <= 2
    )
    _QUIET.map(nap, [1, 1], concurrency=2)
    naps = _seconds(lambda: _QUIET.map(nap, [100] * 100, concurrency=2))
    yield Row(
        what="100 tasks of 100 ms in two warm containers (5 s of pure work)",
        measured=_ms(naps),
        goal="6 s",
        reached=naps <= 6,
    )


def arrays(ref: str, rounds: int) -> Iterator[Row]:
    """Large values."""
    array = np.ones(_GIB, dtype=np.uint8)
    few = max(3, rounds // 4)
    with references.in_memory(array) as (save, map_it):
        saved, mapped, there, back = _medians(
            few, save, map_it, lambda: _QUIET(take, array), lambda: _QUIET(give, _GIB)
        )
    yield Row(what="1 GiB: `np.save` to /dev/shm; to map and read the file", measured=_pair(saved, mapped))
    yield Row(what="1 GiB numpy array as an argument", measured=_ms(there), goal="0.3 s", reached=there <= 0.3)
    yield Row(what="1 GiB numpy array as the result", measured=_ms(back), goal="1 s", reached=back <= 1)


_PARTS: dict[str, Callable[[str, int], Iterator[Row]]] = {"fresh": fresh, "warm": warm, "many": many, "arrays": arrays}


def _medians(rounds: int, *calls: Callable[[], object], in_a_row: int = 1) -> list[float]:
    """The median of each, taking turns."""
    samples: list[list[float]] = [[] for _ in calls]
    for round_ in range(rounds + 1):
        for call, seen in zip(calls, samples, strict=True):
            _settle()
            took = [_seconds(call) for _ in range(in_a_row)]
            if round_:
                seen += took
    return [statistics.median(seen) for seen in samples]


def _settle() -> None:
    """Let the removal of the last call's container come to its end: nobody waits for it, but it is work."""
    for thread in threading.enumerate():
        if thread.name.startswith("removal of "):
            thread.join()


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    kept = work()
    took = time.perf_counter() - began
    del kept  # to free a result is not part of the call
    return took


def _rate(runner: Runner, at_once: int, count: int) -> float:
    runner.map(add, range(at_once), concurrency=at_once)
    _settle()
    return count / _seconds(lambda: runner.map(add, range(count), concurrency=at_once))


def _ms(seconds: float) -> str:
    digits = 2 if seconds < 0.01 else 1
    return f"{1000 * seconds:.{digits}f} ms" if seconds < 1 else f"{seconds:.2f} s"


def _pair(one: float, other: float) -> str:
    return f"{_ms(one)}; {_ms(other)}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.bench.calls")
    parser.add_argument("--rounds", type=int, default=20, help="calls of each kind (default 20)")
    parser.add_argument("--readme", action="store_true", help="put the table into README.md")
    parser.add_argument("--only", default=",".join(_PARTS), type=lambda text: text.split(","), help="parts of it")
    return parser.parse_args()


if __name__ == "__main__":
    main()
