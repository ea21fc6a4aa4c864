"""Paths inside the container, where the engines mount them, and names of files in the exchange directories."""

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
    """Return the worker's command line. `-s`: no code is imported from the home directory, where tasks write.

    PYTHON* variables are obeyed: only the environment's definition and the image set them, never another container.
    """
    return [python, "-s", LIB + "/flyte_images_runtime/worker/start.py", "--watch-stdin"]


ABANDONED = 113
"""Exit status of a container whose caller is gone."""
