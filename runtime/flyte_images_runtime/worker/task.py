"""The task's own process: load the call, import the module, call the function, leave the result or what was raised."""

from __future__ import annotations

import os
import sys

from flyte_images_runtime.portable import fast_json
from flyte_images_runtime.worker import paths, process_exit, stub

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def load_call() -> dict[str, Any]:
    """Return the document `call.json`, which the caller has written."""
    with open(paths.IN + "/" + paths.CALL, "rb") as file:
        call: dict[str, Any] = fast_json.loads(file.read())
    return call


def main(call: dict[str, Any]) -> int:
    """Perform one call; leave `result.json` and return the exit status."""
    try:
        function, signature = find(call)
        failed, outcome = False, '{"result": %s}' % perform(call, function, signature, "")
    except BaseException as error:  # neither sys.exit() nor asyncio's CancelledError is a result
        failed, outcome = True, fast_json.dumps({"error": describe(error, call)})
    process_exit.flush()
    leave(paths.RESULT, outcome)
    return int(failed)


def prepare(call: dict[str, Any]) -> None:
    """Make the environment that a program expects: a home that exists, secrets as variables, importable user code."""
    home = os.environ.get("HOME")
    if home:
        try:
            os.makedirs(home, mode=0o700, exist_ok=True)
        except OSError:
            pass
    for name, file in call.get("secrets", {}).items():
        with open(paths.IN + "/" + file) as secret:
            os.environ[name] = secret.read()
    if call.get("way_out"):
        from flyte_images_runtime.worker import way_out

        way_out.open_proxy()
    if call.get("workdir"):
        os.chdir(call["workdir"])
    sys.path[:0] = call["paths"]
    sys.argv = [call.get("file") or call["module"], *call.get("argv", ())]


def find(call: dict[str, Any]) -> tuple[Any, Any]:
    """Return the task's function and its signature."""
    from flyte_images_runtime.values import Problem, Signature

    function, hints = _unpickle(call) if call.get("python") else (_import(call), None)
    try:
        return function, Signature(function, hints)
    except Problem as problem:
        raise Unfit("argument", problem) from None


def perform(call: dict[str, Any], function: Any, signature: Any, below: str) -> str:
    """Call the function; return its result as JSON. `below` is the call's directory in each directory of files."""
    from flyte_images_runtime.values import Files, Problem

    inputs = Files(paths.IN + below, paths.LARGE + below, in_place=True, waits=True)
    outputs = Files(paths.OUT + below, paths.FAST + below, room=lambda: room(call))
    with inputs, outputs:
        try:
            args, kwargs = signature.decode(call["arguments"], inputs)
        except Problem as problem:
            raise Unfit("argument", problem) from None
        if not call.get("serve"):
            _mark_began()
        stub.begin(call)
        value = function(*args, **kwargs)
        if hasattr(value, "cr_frame"):  # a coroutine
            import asyncio

            value = asyncio.run(value)
        try:
            return fast_json.dumps(signature.encode_result(value, outputs))
        except Problem as problem:
            raise Unfit("result", problem) from None


def room(call: dict[str, Any]) -> int:
    """Return how many bytes a result may take in memory: files in memory count against the task's limit."""
    from flyte_images_runtime.worker import cgroup_files

    try:
        status = os.statvfs(paths.FAST)
        free = status.f_bavail * status.f_frsize // 2
        limit: int | None = call.get("memory")
        if limit is None:
            return free
        path = cgroup_files.used_memory_path()
        used = cgroup_files.read(path) if path else None
        return 0 if used is None else min(free, limit - int(used) - limit // 8)
    except (OSError, ValueError):
        return 0


class Unfit(Exception):
    """An argument or a result that does not fit its annotation."""

    def __init__(self, part: str, problem: Any) -> None:
        Exception.__init__(self, str(problem))
        self.part = part
        self.hint = problem.hint


def too_long() -> Unfit:
    """Return the error for a result whose JSON is too long for one message."""
    from flyte_images_runtime.values import Problem

    return Unfit("result", Problem("result: its JSON is too long", (), "return a table, an array or a File"))


def _import(call: dict[str, Any]) -> Any:
    """Return the function from its module, which is imported under its own name, never as `__main__`."""
    name = call["module"]
    if call.get("file") and "." not in name:
        try:
            from _frozen_importlib import module_from_spec
            from _frozen_importlib_external import spec_from_file_location
        except ImportError:  # another Python than CPython
            from importlib.util import module_from_spec, spec_from_file_location

        spec: Any = spec_from_file_location(name, call["file"])
        module = module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    else:
        __import__(name)
        module = sys.modules[name]
    target: Any = module
    for part in call["qualname"].split("."):
        target = getattr(target, part)
    return stub.function_of(target)


def _unpickle(call: dict[str, Any]) -> Any:
    """Return the function and its annotations from the caller's own pickle. The caller reads no pickle of a task's."""
    if list(sys.version_info[:2]) != call["python"]:
        from flyte_images_runtime.values import Problem

        theirs, ours = ".".join(map(str, call["python"])), "%d.%d" % sys.version_info[:2]
        problem = Problem(
            "its function goes by value, from Python %s to an image with Python %s" % (theirs, ours),
            (),
            "write the task at the top of a .py file, or use an image with Python %s" % theirs,
        )
        raise Unfit("argument", problem)
    import pickle

    sys.path.insert(0, paths.IN + "/" + paths.PACKAGES)
    with open(paths.IN + "/" + paths.FUNCTION, "rb") as file:
        return pickle.load(file)


def _mark_began() -> None:
    with open(paths.OUT + "/" + paths.BEGAN, "w"):
        pass


def leave(name: str, document: str) -> None:
    """Write the JSON document `name` to the exchange atomically: whole, or not at all."""
    path = paths.OUT + "/." + name
    try:
        _write(path, document)
    except OSError:  # the disk is full: the file `.reserve` holds room for this document
        os.unlink(paths.OUT + "/" + paths.RESERVE)
        _write(path, document)
    os.rename(path, paths.OUT + "/" + name)


def _write(path: str, document: str) -> None:
    with open(path, "w") as file:
        file.write(document)


def describe(error: BaseException, call: dict[str, Any]) -> dict[str, Any]:
    """Return an exception as data: names and text only."""
    if isinstance(error, Unfit):
        return {"unfit": error.part, "message": str(error), "hint": error.hint}
    import traceback

    lines = traceback.TracebackException.from_exception(error)
    _translate_files(lines, call, set())
    return dict(_summary(error, set()), traceback="".join(lines.format()))


def _summary(error: BaseException, seen: set[int]) -> dict[str, Any]:
    """Return type, message and causes of an exception."""
    seen.add(id(error))
    kind = type(error)
    try:
        message = str(error.args[0]) if isinstance(error, KeyError) and len(error.args) == 1 else str(error)
    except Exception as failed:
        message = "<its str() raises %s>" % type(failed).__name__
    summary: dict[str, Any] = {
        "type": kind.__qualname__ if kind.__module__ == "builtins" else "%s.%s" % (kind.__module__, kind.__qualname__),
        "message": message[:100_000],
        "bases": [base.__name__ for base in kind.__mro__[1:] if base.__module__ == "builtins"],
    }
    number = getattr(error, "errno", None)
    if isinstance(number, int):
        summary["errno"] = number
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None and id(cause) not in seen:
        summary["cause"] = _summary(cause, seen)
    return summary


def _translate_files(lines: Any, call: dict[str, Any], seen: set[int]) -> None:
    """Drop the worker's own frames from a traceback, and name files as they are named on the caller's machine."""
    if lines is None or id(lines) in seen:
        return
    seen.add(id(lines))
    frames = [frame for frame in lines.stack if not _is_of_worker(frame.filename)]
    for frame in frames:
        frame.line  # noqa: B018 reads the line now, while the file's name is the one in this container
        for inside, outside in call.get("homes", {}).items():
            if frame.filename.startswith(inside + "/"):
                frame.filename = outside + frame.filename[len(inside) :]
    lines.stack[:] = frames
    for other in [lines.__cause__, lines.__context__, *(getattr(lines, "exceptions", None) or [])]:
        _translate_files(other, call, seen)


def _is_of_worker(file: str) -> bool:
    return file.startswith((paths.LIB + "/", "<frozen importlib")) or "/importlib/" in file
