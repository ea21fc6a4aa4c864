"""Where things are inside the container; the engines mount them there."""

from __future__ import annotations

ROOT = "/run/flyte-images"
LIB = ROOT + "/lib"
IN = ROOT + "/in"
OUT = ROOT + "/out"
CODE = ROOT + "/code"
FAST = ROOT + "/fast"
LARGE = ROOT + "/large"
HOME = "/tmp/home"

CALL = "call.json"
FUNCTION = "function.pickle"
PACKAGES = "packages"
HOST = "host.sock"
LARGE_IN, LARGE_OUT = "in", "fast"
PROXY = "proxy.sock"
WORK = "work.sock"
SHELL = "shell.sock"
SHELL_RC = "shell.rc"
STOP = "stop"
RESERVE = ".reserve"
BEGAN = "began"
RESULT = "result.json"
END = "end.json"


def command(python: str) -> list[str]:
    """The worker's command. -s: no code from below the home directory, where tasks write.

    PYTHON* variables hold: the environment's definition and the image alone say them, never another container.
    """
    return [python, "-s", LIB + "/flyte_images_runtime/worker/start.py", "--watch-stdin"]


ABANDONED = 113
"""Exit status of a container whose caller is gone."""
