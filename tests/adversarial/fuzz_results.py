"""A program that makes hostile results and archives by a grammar, from a seed. test_results.py runs it.

    python fuzz_results.py SEED CASES DIRECTORY

Each case is read as a result of a container is read. It ends as a value or as a Problem; any other error is printed and
ends the program. At the end the program prints one JSON document: how the cases ended, the memory and the most CPU time
that they took, and the files that have appeared outside the directories for results.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import json
import os
import random
import shutil
import stat
import sys
import time
import traceback
import uuid
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypedDict

import numpy
import pandas
import polars
import pyarrow
import pydantic

from flyte_images_runtime.resources.limits import Limits
from flyte_images_runtime.values import Dir, File, Files, Problem, Signature
from flyte_images_runtime.values.budget import Budget

SUFFIXES = ("npy", "bin", "file", "tar", "arrow")
MEMORY = 64 << 20  # bytes: the memory limit of the imagined task
BOMB_EVERY = 1000


class Color(enum.Enum):
    RED = 1


class Flags(enum.Flag):
    A = 1
    B = 2


@dataclasses.dataclass
class Row:
    a: int
    b: list[float] = dataclasses.field(default_factory=list)
    c: Row | None = None


class Pair(NamedTuple):
    x: int
    y: str


class Keys(TypedDict, total=False):
    a: int
    b: dict[str, Any]


class Model(pydantic.BaseModel):
    a: float
    b: list[Model] = []


SAMPLES: list[tuple[Any, Any, int]] = [  # annotation, a value, how often
    (Any, [1, "a", {"b": (1, 2)}, {3}, decimal.Decimal("1.5"), float("nan"), b"x", 10**5000], 60),
    (Any, {"f": fractions.Fraction(1, 3), "t": datetime.datetime(2020, 1, 1), "r": range(3), "c": 1j}, 30),
    (int, 10**5000, 5),
    (float, 1.5, 5),
    (str, "a\ud800", 3),
    (bool, True, 2),
    (bytes, b"x" * 100_000, 10),
    (bytearray, bytearray(b"abc"), 3),
    (list[int], [1, 2], 5),
    (list[float], [1.5, float("inf")], 5),
    (dict[str, list[int]], {"a": [1]}, 5),
    (dict[int, str], {1: "a"}, 5),
    (set[int], {1}, 5),
    (tuple[int, ...], (1, 2), 5),
    (tuple[int, str], (1, "a"), 5),
    (int | str | None, 1, 5),
    (list[Row], [Row(1, [2.0], Row(3))], 20),
    (Pair, Pair(1, "a"), 5),
    (Keys, {"a": 1, "b": {"c": 1}}, 5),
    (Model, Model(a=float("nan"), b=[Model(a=1)]), 10),
    (Color, Color.RED, 5),
    (Flags, Flags.A | Flags.B, 10),
    (Literal["a", 1], 1, 5),
    (fractions.Fraction, fractions.Fraction(1, 3), 10),
    (decimal.Decimal, decimal.Decimal("1e5"), 5),
    (datetime.datetime, datetime.datetime(2020, 1, 1), 5),
    (datetime.timedelta, datetime.timedelta(1), 5),
    (datetime.date, datetime.date(2020, 1, 1), 3),
    (uuid.UUID, uuid.UUID(int=1), 3),
    (complex, 1j, 3),
    (range, range(3), 5),
    (Path, Path("a"), 3),
    (numpy.ndarray, numpy.arange(6).reshape(2, 3), 20),
    (numpy.float32, numpy.float32(1.5), 10),
    (File, "f", 10),
    (Dir, "d", 3),
    (pandas.DataFrame, pandas.DataFrame({"a": [1, 2], "b": ["x", None], "c": pandas.Categorical(["u", "v"])}), 6),
    (pandas.Series, pandas.Series([1, None], dtype="Int64"), 6),
    (pandas.Index, pandas.Index([1, 2]), 4),
    (polars.DataFrame, polars.DataFrame({"a": [1, 2], "b": ["x", None]}), 3),
    (pyarrow.Table, pyarrow.table({"a": [1, 2], "b": ["x", None]}), 5),
]
BOMBS = (
    *("[]", "{}", '{"a":1}', "[[]]", '"ab"', "1.5", '"\\u20ac"'),
    *('{"$type":"set","is":[]}', '{"$type":"Fraction","is":"1/3"}'),
)
EVIL: list[Any] = [
    *(None, True, -1, 0, 2**63, 10**4000, 1e308, float("nan"), float("inf"), "", "a", "\ud800", "9" * 5000),
    *("1e1000000000", "1e-1000000000", "../1.npy", "m1.npy", *(f"{n}.{kind}" for n in range(12) for kind in SUFFIXES)),
    *([], {}, [[]], [[], []], {"$type": "dict"}, {"$type": "Fraction", "is": "1e1000000000"}, {"$type": []}),
    *({"$type": "set", "is": [[]]}, {"$type": "range", "is": "[[[["}, {"$type": "numpy.ndarray", "is": {"npy": 1}}),
    *({"hex": "zz"}, {"hex": "0x" + "f" * 5000}, {"value": 99}, {"value": -(10**30)}, {"file": "1.bin"}),
    *({"file": "2.file", "name": "../../x"}, {"file": "2.file", "name": "x"}, {"file": "3.tar", "name": "d"}),
    *({"$json": "{" * 5000}, {"$json": "NaN"}, ["<f8", "zz"], ["O", "00"], ["V9", "00"], {"zone": "../x"}),
    *({"range": [0, 10**18, 1]}, {"range": [0, 1, 0]}, {"texts": [1, {}]}, {"objects": [[]]}, {"levels": []}),
]
NAMES = (
    *("a", "b", "c", "d/e", "d", "..", "../x", "/abs", ".", "", "a/../../x", "l", "l/in", "l2", "x\0y", "e\udcff"),
    *("d/" * 300, "n" * 300),
)
AIMS = (
    *(*NAMES, "../" * 9, "/etc/passwd", "l", "l2", "l/..", "l/../..", "later", "later/../..", "k0/../k1", "./"),
    *("d/../..", "../made/a"),
)
KINDS = b"00000555222211134567xgLKSV\x00\xff"


class Fuzzer:
    def __init__(self, seed: int, directory: Path) -> None:
        self.random = random.Random(seed)
        self.directory = directory
        self.inside, self.arrivals = directory / "out", directory / "arrivals"
        self.ends: collections.Counter[str] = collections.Counter()
        self.slowest = 0.0
        self.escaped: list[str] = []
        for path in (self.inside, self.arrivals, directory / "around"):
            path.mkdir()
        (directory / "around" / "canary").write_text("sings")
        self.samples = [self.sample(*row) for row in SAMPLES]
        self.weights = [weight for _, _, weight in SAMPLES]
        self.files = {path.name: path.read_bytes() for path in self.inside.iterdir() if path.is_file()}
        os.mkfifo(self.inside / "901.bin")
        (self.inside / "902.bin").symlink_to("../around/canary")
        with (self.inside / "903.bin").open("wb") as sparse:
            sparse.truncate(1 << 40)
        self.around = self.listing()

    def sample(self, annotation: Any, value: Any, _: int) -> tuple[Signature, Any]:
        def function() -> Any: ...

        function.__annotations__["return"] = annotation
        signature = Signature(function, {"return": annotation})
        if annotation in (File, Dir):
            source = self.directory / value
            source.write_text("content") if annotation is File else (source / "sub").mkdir(parents=True)
            value = annotation(source)
        with self.open_files(None) as files:
            files._next = len(list(self.inside.iterdir()))
            return signature, json.loads(json.dumps(signature.encode_result(value, files)))

    def open_files(self, budget: Budget | None) -> Files:
        return Files(str(self.inside), arrivals=str(self.arrivals), budget=budget)

    def listing(self) -> list[str]:
        """Return the names around the directories for results, and the content of the canary."""
        names = []
        for directory in (self.directory, self.directory.parent, self.directory / "around"):
            names += [f"{directory.name}/{name}" for name in sorted(os.listdir(directory))]  # noqa: PTH208
        return [*names, (self.directory / "around" / "canary").read_text()]

    def run(self, number: int) -> None:
        budget = Budget.of(Limits(memory=MEMORY), 1 << 30)
        began = time.thread_time()
        try:
            if number % BOMB_EVERY == BOMB_EVERY - 1:
                end = self.bomb(budget)
            elif number % 10 < 3:
                end = self.archive(budget)
            else:
                end = self.result(budget)
        except Problem as problem:
            assert len(str(problem)) < 3000
            end = "problem"
        self.ends[end] += 1
        self.slowest = max(self.slowest, time.thread_time() - began)

    def result(self, budget: Budget) -> str:
        at = self.random.choices(range(len(self.samples)), self.weights)[0]
        signature, data = self.samples[at]
        if self.random.random() < 0.1:
            self.damage_a_file()
        for _ in range(self.random.choice((0, 1, 1, 2, 3))):
            data = self.changed(data)
        text = json.dumps(data).encode()
        if self.random.random() < 0.1:
            text = self.flipped(text)
        with self.open_files(budget) as files:
            repr(type(signature.decode_result(budget.loads(text), files)))
        if any(self.arrivals.iterdir()):
            self.clear()
        return "value"

    def changed(self, data: Any) -> Any:
        """Return the tree with one branch replaced, repeated, wrapped or renamed."""
        chance = self.random.random()
        if isinstance(data, list) and data and chance < 0.7:
            at = self.random.randrange(len(data))
            return [*data[:at], self.changed(data[at]), *data[at + 1 :]]
        if isinstance(data, dict) and data and chance < 0.7:
            key = self.random.choice(list(data))
            return {**data, key: self.changed(data[key])}
        if chance < 0.75:
            return [data] * self.random.randint(0, 5)
        if chance < 0.8:
            return {self.random.choice(("$type", "is", "file", "npy", "a", "hex", "\ud800")): data}
        if chance < 0.82:
            for _ in range(self.random.choice((3, 300))):
                data = [data]
            return data
        return self.random.choice([*EVIL, *({"file": f"90{n}.bin"} for n in (1, 2, 3)), {"npy": "903.bin"}])

    def damage_a_file(self) -> None:
        name = self.random.choice(list(self.files))
        content = self.files[name]
        if self.random.random() < 0.7:
            content = self.flipped(content)
        (self.inside / name).write_bytes(content)

    def flipped(self, content: bytes) -> bytes:
        """Return the content with bits flipped, bytes replaced or inserted, or the end cut off."""
        changed = bytearray(content)
        for _ in range(self.random.randint(1, 4)):
            at = self.random.randrange(min(len(changed), 2000)) if changed else 0
            match self.random.randrange(4):
                case 0 if changed:
                    changed[at] ^= 1 << self.random.randrange(8)
                case 1 if changed:
                    changed[at] = self.random.choice(b'0129"[]{},\\-\xff\x00')
                case 2:
                    changed[at:at] = changed[: self.random.randrange(50)]
                case _:
                    del changed[at + self.random.randrange(len(changed) + 1) :]
        return bytes(changed)

    def bomb(self, budget: Budget) -> str:
        """Read a list of very many small values, which mostly costs more than the budget."""
        unit = self.random.choice(BOMBS)
        count = self.random.choice((10_000, 100_000, 1_000_000))
        text = ("[" + ",".join([unit] * count) + "]").encode()
        signature = self.samples[0][0]
        with self.open_files(budget) as files:
            signature.decode_result(budget.loads(text), files)
        return "value"

    def archive(self, budget: Budget) -> str:
        content = b"".join(self.entry() for _ in range(self.random.randint(0, 8))) + bytes(1024)
        if self.random.random() < 0.15:
            content = self.flipped(content)
        (self.inside / "99.tar").write_bytes(content)
        signature = next(signature for signature, _ in self.samples if signature.result.kind is Dir)
        try:
            with self.open_files(budget) as files:
                signature.decode_result({"file": "99.tar", "name": "made"}, files)
            self.look_inside()
            return "directory"
        finally:
            self.clear()

    def entry(self) -> bytes:
        """Return one well-formed entry of an archive, with hostile names and sizes."""
        content = b"x" * self.random.choice((0, 0, 1, 600))
        kind = self.random.choice(KINDS)
        size = self.random.choice((len(content),) * 9 + (1 << 33, 513))
        name, aim = self.random.choice(NAMES), self.random.choice(AIMS)
        if self.random.random() < 0.6:
            name, aim = self.random.choice("abcdl"), self.random.choice(("a", "b", "d", "l", "../x", "later"))
        before = b""
        if max(len(name), len(aim)) > 100 or self.random.random() < 0.1:
            pairs = [(b"path", os.fsencode(name)), (b"linkpath", os.fsencode(aim)), (b"size", b"%d" % size)]
            records = b"".join(record(*pair) for pair in pairs[: self.random.randint(1, 3)])
            before = header(b"pax", ord("x"), len(records)) + records + bytes(-len(records) % 512)
        size = size if kind in b"0\0" else self.random.choice((0,) * 9 + (5,))
        body = content + bytes(-len(content) % 512) if kind in b"0\0" else b""
        return before + header(os.fsencode(name)[:100], kind, size, os.fsencode(aim)[:100]) + body

    def look_inside(self) -> None:
        """Note each entry that is not a file, a directory, or a link that stays inside."""
        for top in self.arrivals.iterdir():
            root = os.path.realpath(top / "made")
            for directory, subdirectories, names in os.walk(root):
                for name in (*subdirectories, *names):
                    path = os.path.join(directory, name)  # noqa: PTH118
                    mode = os.lstat(path).st_mode
                    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)):
                        self.escaped.append(f"{path} is special")
                    if not (os.path.realpath(path) + "/").startswith(root + "/"):
                        self.escaped.append(f"{path} -> {os.readlink(path)}")  # noqa: PTH115

    def clear(self) -> None:
        for top in list(self.arrivals.iterdir()):
            shutil.rmtree(top)
        around = self.listing()
        if around != self.around:
            self.escaped.append(f"{around}")


def header(name: bytes, kind: int, size: int, link: bytes = b"") -> bytes:
    head = name.ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + b"%011o\0" % size + b"00000000000\0"
    tail = bytes([kind]) + link.ljust(100, b"\0") + b"ustar\x0000" + bytes(247)
    return head + b"%06o\0 " % (sum(head) + sum(tail) + 256) + tail


def record(key: bytes, value: bytes) -> bytes:
    text = b" " + key + b"=" + value + b"\n"
    return b"%d" % (len(text) + len(str(len(text) + 2))) + text


def peak() -> int:
    """Return this program's peak of memory in KiB. ru_maxrss counts the process that started the program, too."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0])


def main(seed: int, cases: int, directory: Path) -> int:
    fuzzer = Fuzzer(seed, directory)
    for number in range(min(cases, 200)):  # so that libraries are loaded before memory is measured
        if number % BOMB_EVERY != BOMB_EVERY - 1:
            fuzzer.run(number)
    before = peak()
    for number in range(cases):
        state = fuzzer.random.getstate()
        try:
            fuzzer.run(number)
        except BaseException:
            fuzzer.random.setstate(state)
            print(f"case {number} of seed {seed}", file=sys.stderr)
            traceback.print_exc()
            return 1
    grown = (peak() - before) * 1024
    report = {"ends": fuzzer.ends, "memory": grown, "slowest": fuzzer.slowest, "escaped": fuzzer.escaped[:20]}
    print(json.dumps(report))
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])))
