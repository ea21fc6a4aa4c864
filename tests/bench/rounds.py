"""Runs the cases. A round goes through all cases once for each contender; rounds are interleaved and rotated."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from .contenders import Command, Definition, Dockerfile, Failed, Flyte, Ours
from .engine import Engine, Registry

Contender = Ours | Flyte | Dockerfile

STACK = ("pandas", "scikit-learn")
ADDED = (*STACK, "httpx")
MANY_SHARED = ("numpy", "scipy")
MANY = (
    *("attrs", "certifi", "click", "cachetools", "colorama", "decorator", "filelock", "fsspec", "idna", "isodate"),
    *("itsdangerous", "jmespath", "more-itertools", "mypy-extensions", "networkx", "packaging", "platformdirs"),
    *("pluggy", "pyparsing", "tabulate"),
)
_NO_OPS = 5
_CHECK = """
import importlib.util, json, os, pathlib, site, sys
import pandas, sklearn
root = pathlib.Path(pandas.__file__).parents[1]
sources = list(root.rglob("*.py"))
print(json.dumps({
    "python": sys.version.split()[0],
    "pandas": pandas.__version__,
    "scikit-learn": sklearn.__version__,
    "httpx": importlib.util.find_spec("httpx") is not None,
    "modules": len(sources),
    "compiled": sum(os.path.exists(importlib.util.cache_from_source(str(p))) for p in sources),
}))
"""


@dataclass(slots=True)
class Results:
    """All samples: case -> contender -> values. `facts` is what the checks saw inside each image.

    Each sample is appended to `kept`, a file of JSON lines, as it comes: a run that ends early keeps what it measured.
    `missing` lists the samples that failed, as (contender, what was measured, the first line of the failure).
    """

    kept: Path | None = None
    samples: dict[str, dict[str, list[float]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    facts: dict[str, object] = field(default_factory=dict)
    missing: list[tuple[str, str, str]] = field(default_factory=list)

    def add(self, case: str, contender: str, value: float) -> None:
        self.samples[case][contender].append(value)
        self._keep({"case": case, "contender": contender, "value": value})
        print(f"bench: {contender:>14}  {case:<28} {value:,.3f}", file=sys.stderr, flush=True)

    @contextmanager
    def going_on(self, contender: str, what: str) -> Iterator[None]:
        """Note a contender's failure as a missing sample, and let the bench go on."""
        try:
            yield
        except Failed as error:
            message = str(error)
            self.missing.append((contender, what, message.splitlines()[0]))
            self._keep({"missing": what, "contender": contender, "error": message})
            print(f"bench: {contender:>14}  {what}: failed, goes on without it\n{message}", file=sys.stderr, flush=True)

    def _keep(self, line: dict[str, object]) -> None:
        if self.kept is not None:
            with self.kept.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")


def build_rounds(
    engine: Engine, contenders: list[Contender], results: Results, *, rounds: int, keep: tuple[str, ...]
) -> None:
    for number in range(rounds):
        turn = number % len(contenders)
        for contender in contenders[turn:] + contenders[:turn]:
            with results.going_on(contender.label, f"round {number + 1} of builds"):
                engine.forget_builds(keep=keep)
                contender.forget()
                _one_round(engine, contender, results, number, check=number == 0)


def _one_round(engine: Engine, contender: Contender, results: Results, number: int, *, check: bool) -> None:
    first = Definition(packages=STACK, sources="first")

    def timed(case: str, definition: Definition) -> str:
        command = contender.define(engine, definition)
        seconds, output = _timed(command)
        results.add(case, contender.label, seconds)
        return contender.image(output)

    image = timed("cold", first)
    if check:
        results.facts[f"{contender.label}: cold"] = _look_inside(engine, image)
    if contender.cold_only:
        return
    for _ in range(_NO_OPS):
        timed("no-op", first)
    timed("source changed", Definition(packages=STACK, sources=f"changed {number}"))
    image = timed("package added", Definition(packages=ADDED, sources="first"))
    if check:
        results.facts[f"{contender.label}: package added"] = _look_inside(engine, image)


def pushes(engine: Engine, registry: Registry, contender: Contender, results: Results) -> None:
    """Bytes that reach the registry's store when one package is added to an image that it holds already."""
    contender.define(engine, Definition(packages=STACK, sources="first", registry=registry.address)).run()
    before = registry.bytes_held()
    contender.define(engine, Definition(packages=ADDED, sources="first", registry=registry.address)).run()
    results.add("bytes of the whole push", contender.label, before)
    results.add("bytes pushed", contender.label, registry.bytes_held() - before)


def many(
    engine: Engine, registry: Registry, contender: Ours | Dockerfile, results: Results, *, keep: tuple[str, ...]
) -> None:
    """MANY images that share a large package and have a small one each, built at once and pushed."""
    engine.forget_builds(keep=keep)
    contender.forget()
    before = registry.bytes_held()
    contender.define_many(engine, MANY_SHARED, MANY[:1], registry.address).run()
    one = registry.bytes_held() - before
    engine.forget_builds(keep=keep)
    contender.forget()
    seconds, _ = _timed(contender.define_many(engine, MANY_SHARED, MANY, registry.address))
    results.add("many", contender.label, seconds)
    results.add("bytes of one", contender.label, one)
    results.add("bytes of many", contender.label, registry.bytes_held() - before)


def client_rounds(engine: Engine, contenders: list[Contender], results: Results, *, rounds: int) -> None:
    """What needs no engine: to define an image, and --help."""
    commands = [
        (case, contender.label, Command(argv=argv, cwd=contender.directory, env=engine.env))
        for contender in contenders
        if not contender.cold_only
        for case, argv in (("define an image", contender.import_and_define()), ("--help", contender.help()))
        if argv
    ]
    for case, name, command in commands:
        with results.going_on(name, case):
            command.run()  # byte-code of the client's own files is on disk from here on
    for _ in range(rounds):
        for case, name, command in commands:
            with results.going_on(name, case):
                results.add(case, name, _timed(command)[0])


def _timed(command: Command) -> tuple[float, str]:
    began = time.perf_counter()
    output = command.run()
    return time.perf_counter() - began, output


def _look_inside(engine: Engine, image: str) -> str:
    argv = ("docker", "run", "--rm", "--network=none", "--entrypoint=/opt/venv/bin/python", image, "-c", _CHECK)
    done = subprocess.run(argv, env=engine.env, capture_output=True, text=True)
    if done.returncode:
        raise Failed(f"the image {image} does not work:\n{done.stderr[-2000:]}")
    return done.stdout.strip()
