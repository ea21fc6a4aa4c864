"""A driver's library made of C, in a directory of its own, where the real client library finds it as the real one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).with_name("nvml.c")
VERSION = "580.95.05"


@dataclass(frozen=True)
class Driver:
    """`directory` holds libnvidia-ml.so.1 and, empty, other libraries of a driver; `table` the cards."""

    directory: Path
    table: Path

    def cards(self, *lines: str) -> Driver:
        """Put these cards into the machine: name|uuid|minor|MiB|pids|MIG profiles."""
        self.table.write_text("".join(f"{line}\n" for line in lines))
        return self

    def environ(self, **more: str) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "LD_LIBRARY_PATH": str(self.directory),
            "NVML_STAND_IN": str(self.table),
            **more,
        }

    def ask(self, code: str, **more: str) -> Any:
        """Run `code` in a new process of this machine; return what it gives to `answer(...)`."""
        prelude = "import json, sys\ndef answer(value): print(json.dumps(value, default=str))\n"
        done = subprocess.run(
            (sys.executable, "-c", prelude + code), env=self.environ(**more), capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


def make(directory: Path) -> Driver:
    """Compile the stand-in."""
    libraries = directory / "driver"
    libraries.mkdir()
    built = libraries / f"libnvidia-ml.so.{VERSION}"
    subprocess.run(
        ("gcc", "-shared", "-fPIC", "-Wall", "-Wno-unused", "-Wl,-soname,libnvidia-ml.so.1", "-o", built, SOURCE),
        check=True,
    )
    (libraries / "libnvidia-ml.so.1").symlink_to(built.name)
    return Driver(libraries, directory / "cards")
