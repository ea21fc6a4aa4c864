"""How long a call takes, beside `docker run` with the same limits on the same machine in the same run.

    python -m tests.bench.calls [--rounds 20] [--readme]

Every figure is a median; the first call of each kind is left out, as it loads what later ones have.
"""

from __future__ import annotations

import argparse
import datetime
import os
import statistics
import subprocess
import time
from collections.abc import Callable

import numpy as np

import flyte_images as flyte

from . import report
from .called import IMAGE, add, add_warm, nap
from .called_arrays import give, take
from .contenders import REPOSITORY

_GIB = 1 << 30
_HARDENED = (
    *("--rm", "--network=none", "--cpus=1", "--memory=512m", "--memory-swap=512m", "--pids-limit=4096", "--read-only"),
    *("--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--user=1000"),
)


def main() -> None:
    options = _options()
    ref = flyte.build(IMAGE).ref.removeprefix("docker.io/library/")
    quiet = flyte.run.using(on_line=None)
    docker, oci = quiet.using(engine="docker"), quiet.using(engine="oci")
    argv = ("docker", "run", *_HARDENED, ref, "python", "-c", "pass")

    def reference() -> None:
        subprocess.run(argv, check=True, capture_output=True)

    base = _median(reference, options.rounds)
    rows = [
        ("`docker run` of `python -c pass`, Docker's own client", _ms(base), ""),
        _call("a typed call in a fresh container, docker engine", lambda: docker(add, 1), options.rounds, base),
        _call("a typed call in a fresh container, oci engine", lambda: oci(add, 1), options.rounds, base),
        _call("a warm call, forked (`reusable`)", lambda: quiet(add_warm, 1), options.rounds, base),
        _many("1,000 warm calls one after the other", lambda: [quiet(add_warm, i) for i in range(1000)]),
        _rate("fresh containers a second, oci engine, 200 calls", lambda: oci.map(add, range(200))),
        _many("100 tasks of 100 ms in two warm containers", lambda: quiet.map(nap, [100] * 100, concurrency=2)),
    ]
    array = np.ones(_GIB, dtype=np.uint8)
    rows += [
        _call("1 GiB numpy array as an argument", lambda: quiet(take, array), 3, None),
        _call("1 GiB numpy array as the result", lambda: quiet(give, _GIB), 3, None),
    ]
    date = datetime.datetime.now(datetime.UTC).date()
    lines = ["| | | against `docker run` |", "|---|---|---|", *(f"| {' | '.join(row)} |" for row in rows)]
    facts = (
        f"Medians of {options.rounds} calls on {os.cpu_count()} cores, {date}; containers hardened and limited alike."
    )
    content = "\n".join([*lines, "", facts])
    print(content)
    if options.readme:
        readme = REPOSITORY / "README.md"
        readme.write_text(report.between_marks(readme.read_text(), content, name="calls"))


def _median(call: Callable[[], object], rounds: int) -> float:
    call()
    samples = []
    for _ in range(rounds):
        began = time.perf_counter()
        call()
        samples.append(time.perf_counter() - began)
    return statistics.median(samples)


def _call(name: str, call: Callable[[], object], rounds: int, base: float | None) -> tuple[str, str, str]:
    seconds = _median(call, rounds)
    return name, _ms(seconds), f"{seconds / base:.2f} times" if base else ""


def _many(name: str, work: Callable[[], object]) -> tuple[str, str, str]:
    began = time.perf_counter()
    work()
    return name, f"{time.perf_counter() - began:.2f} s", ""


def _rate(name: str, work: Callable[[], list[object]]) -> tuple[str, str, str]:
    began = time.perf_counter()
    count = len(work())
    return name, f"{count / (time.perf_counter() - began):.1f} a second", ""


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.bench.calls")
    parser.add_argument("--rounds", type=int, default=20, help="calls of each kind (default 20)")
    parser.add_argument("--readme", action="store_true", help="put the table into README.md")
    return parser.parse_args()


if __name__ == "__main__":
    main()
