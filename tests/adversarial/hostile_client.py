"""The client of a hostile index, run in a separate process: `hostile_client.py CASES PLACE`, a JSON report on stdout.

Each case goes the way of a build: the file is chosen, inspected, and downloaded. An audit hook of the interpreter
hears of each file that is opened for writing, moved or linked, and of each program that is started.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from flyte_images.errors import FlyteImagesError
from flyte_images.resolve import sdists, wheel_contents
from flyte_images.resolve.offered import choose_file
from flyte_images.resolve.target import Target
from flyte_images.serving import download as downloads
from flyte_images.serving.download import Patience
from flyte_images_layers.steps import Wheel

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
PATHS = {
    "os.rename": (0, 1),
    "os.link": (0, 1),
    "os.symlink": (1,),
    "os.mkdir": (0,),
    "os.remove": (0,),
    "os.chmod": (0,),
}
PROGRAMS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "ctypes.dlopen")
TARGET = Target(python="3.11", platform="linux/amd64", libc="2.36")
PATIENCE = Patience(window=0.4)


class Watch:
    """Records the paths that were written and the programs that were run."""

    def __init__(self, place: str) -> None:
        self.place, self.outside, self.run = place, list[str](), list[str]()

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(args[0], (str, bytes)) and args[2] & WRITES:
            self._check(args[0])
        for number in PATHS.get(event, ()) if args[-1] == -1 else ():  # otherwise relative to an open folder
            self._check(args[number])
        if event in PROGRAMS:
            self.run.append(f"{event} {args!r}")

    def _check(self, path: str | bytes) -> None:
        if not os.path.realpath(os.fsdecode(path)).startswith(self.place + "/"):
            self.outside.append(os.fsdecode(path))


def take(case: dict[str, Any], environ: dict[str, str], place: Path) -> str:
    """Return the outcome of a case: `right`, or the name of the error."""
    try:
        file = choose_file(case["package"], TARGET, (), {})
        if isinstance(file, Wheel):
            wheel_contents.shared([file], environ)
        else:
            sdists.build_requirements(file, environ)
        with tempfile.TemporaryDirectory(dir=place) as folder:
            found = downloads.download(file, Path(folder), environ, patience=PATIENCE)
            if found.parent != Path(folder) or found.name != file.filename or [*Path(folder).iterdir()] != [found]:
                return f"a file elsewhere: {found}"
        return "right"
    except FlyteImagesError as error:
        text = f"{error} {error.hint}"
        return type(error).__name__ if len(text) < 3000 else f"an error of {len(text)} characters"
    except Exception as error:
        return f"a fault: {error!r} in case {case['number']}"


def main(cases: str, folder: str) -> None:
    place = Path(folder).resolve()
    tempfile.tempdir = str(place)
    environ = {"HOME": str(place / "home"), "FLYTE_IMAGES_CACHE": str(place / "cache")}
    address = json.loads(Path(cases).read_text())["address"]
    environ["UV_DEFAULT_INDEX"] = f"http://robot:s3cret@{address}/simple"  # sent to this address only
    downloads._PATIENCE = wheel_contents._PATIENCE = PATIENCE
    downloads.download.__kwdefaults__["patience"] = PATIENCE
    downloads._MAX_SIZE = 64 << 20  # otherwise an endless file fills this machine's disk first
    watch = Watch(str(place))
    sys.addaudithook(watch)
    several = json.loads(Path(cases).read_text())["cases"]
    with ThreadPoolExecutor(8) as pool:
        ends = Counter(pool.map(lambda case: take(case, environ, place), several))
    left = [str(path) for path in place.iterdir() if path.name not in ("cache", "home")]
    # not ru_maxrss, which counts the process that started this one, too
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak = int(status.partition("VmHWM:")[2].split()[0]) >> 10
    print(json.dumps({"ends": ends, "outside": watch.outside, "run": watch.run, "left": left, "peak": peak}))


if __name__ == "__main__":
    main(*sys.argv[1:])
