"""Where things are inside the container; the engines mount them there."""

ROOT = "/run/flyte-images"
LIB = ROOT + "/lib"
IN = ROOT + "/in"
OUT = ROOT + "/out"
CODE = ROOT + "/code"
FAST = ROOT + "/fast"
HOME = "/tmp/home"

CALL = "call.json"
FUNCTION = "function.pickle"
PACKAGES = "packages"
HOST = "host.sock"
WORK = "work.sock"
SHELL = "shell.sock"
SHELL_RC = "shell.rc"
STOP = "stop"
BEGAN = "began"
RESULT = "result.json"
END = "end.json"

ABANDONED = 113
"""Exit status of a container whose caller is gone."""
