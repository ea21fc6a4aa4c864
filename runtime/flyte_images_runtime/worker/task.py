"""The task's own process: read the call, import the module, call the function, leave the result or what was raised."""

from __future__ import annotations

import os
import sys

from flyte_images_runtime.portable import fast_json
from flyte_images_runtime.worker import paths, stub

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def main() -> int:
    with open(paths.IN + "/" + paths.CALL, "rb") as file:
        call = fast_json.loads(file.read())
    settle(call)
    if call.get("shell"):
        from flyte_images_runtime.worker import shell

        return shell.main(call)
    stub.install(call)
    if call.get("serve"):
        from flyte_images_runtime.worker import serve

        return serve.main(call)
    try:
        function, signature = find(call)
        failed, outcome = False, '{"result": %s}' % perform(call, function, signature, "")
    except BaseException as error:  # sys.exit() in a task is no result either, nor is asyncio's CancelledError
        failed, outcome = True, fast_json.dumps({"error": describe(error, call)})
    flush()
    leave(paths.RESULT, outcome)
    return int(failed)


def settle(call: dict[str, Any]) -> None:
    """The environment as a program expects it: a home that exists, secrets in place, the user's code importable."""
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

        way_out.open_it()
    if call.get("workdir"):
        os.chdir(call["workdir"])
    sys.path[:0] = call["paths"]
    sys.argv = [call.get("file") or call["module"], *call.get("argv", ())]


def find(call: dict[str, Any]) -> tuple[Any, Any]:
    """The task's function and its signature."""
    from flyte_images_runtime.values import Problem, Signature

    function, hints = _by_value(call) if call.get("python") else (_find(call), None)
    try:
        return function, Signature(function, hints)
    except Problem as problem:
        raise Unfit("argument", problem) from None


def perform(call: dict[str, Any], function: Any, signature: Any, below: str) -> str:
    """Call the function; return its result as JSON. Files are in the directories `below` those of the container."""
    from flyte_images_runtime.values import Files, Problem

    arrived = Files(paths.IN + below, paths.LARGE + below, in_place=True, waits=True)
    leaving = Files(paths.OUT + below, paths.FAST + below, room=lambda: room(call))
    with arrived, leaving:
        try:
            args, kwargs = signature.decode(call["arguments"], arrived)
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
            return fast_json.dumps(signature.encode_result(value, leaving))
        except Problem as problem:
            raise Unfit("result", problem) from None


def room(call: dict[str, Any]) -> int:
    """How many bytes a result may take in memory: what is there counts against the task's limit."""
    try:
        there = os.statvfs(paths.FAST)
        free = there.f_bavail * there.f_frsize // 2
        limit: int | None = call.get("memory")
        if limit is None:
            return free
        for path in ("/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory/memory.usage_in_bytes"):
            if os.path.exists(path):
                with open(path) as file:
                    return min(free, limit - int(file.read()) - limit // 8)
    except (OSError, ValueError):
        pass
    return 0


class Unfit(Exception):
    """An argument or a result that is not what the annotations say."""

    def __init__(self, what: str, problem: Any) -> None:
        Exception.__init__(self, str(problem))
        self.what = what
        self.hint = problem.hint


def too_long() -> Unfit:
    """What is raised for a result that is too long to be told."""
    from flyte_images_runtime.values import Problem

    return Unfit("result", Problem("result: its JSON is too long", (), "return a table, an array or a File"))


def _find(call: dict[str, Any]) -> Any:
    """The function: the module under its own name, never as `__main__`."""
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
    found: Any = module
    for part in call["qualname"].split("."):
        found = getattr(found, part)
    return stub.function_of(found)


def _by_value(call: dict[str, Any]) -> Any:
    """The function itself and its annotations: the caller's own pickle. On the way out none is ever read."""
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
    """Write a JSON document so that it is there as a whole or not at all."""
    path = paths.OUT + "/." + name
    try:
        _write(path, document)
    except OSError:  # the disk is full: for this its last part was kept
        os.unlink(paths.OUT + "/" + paths.RESERVE)
        _write(path, document)
    os.rename(path, paths.OUT + "/" + name)


def _write(path: str, document: str) -> None:
    with open(path, "w") as file:
        file.write(document)


def flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            pass


def describe(error: BaseException, call: dict[str, Any]) -> dict[str, Any]:
    """What was raised, as data: names and text only."""
    if isinstance(error, Unfit):
        return {"unfit": error.what, "message": str(error), "hint": error.hint}
    import traceback

    lines = traceback.TracebackException.from_exception(error)
    _at_home(lines, call, set())
    return dict(_one(error, set()), traceback="".join(lines.format()))


def _one(error: BaseException, seen: set[int]) -> dict[str, Any]:
    seen.add(id(error))
    kind = type(error)
    try:
        message = str(error.args[0]) if isinstance(error, KeyError) and len(error.args) == 1 else str(error)
    except Exception as failed:
        message = "<its str() raises %s>" % type(failed).__name__
    said: dict[str, Any] = {
        "type": kind.__qualname__ if kind.__module__ == "builtins" else "%s.%s" % (kind.__module__, kind.__qualname__),
        "message": message[:100_000],
        "bases": [base.__name__ for base in kind.__mro__[1:] if base.__module__ == "builtins"],
    }
    number = getattr(error, "errno", None)
    if isinstance(number, int):
        said["errno"] = number
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None and id(cause) not in seen:
        said["cause"] = _one(cause, seen)
    return said


def _at_home(lines: Any, call: dict[str, Any], seen: set[int]) -> None:
    """Drop this program's own frames, and name files as they are called on the caller's machine."""
    if lines is None or id(lines) in seen:
        return
    seen.add(id(lines))
    kept = [frame for frame in lines.stack if not _is_ours(frame.filename)]
    for frame in kept:
        frame.line  # noqa: B018 read now, while the name is the one that is here
        for here, there in call.get("homes", {}).items():
            if frame.filename.startswith(here + "/"):
                frame.filename = there + frame.filename[len(here) :]
    lines.stack[:] = kept
    for other in [lines.__cause__, lines.__context__, *(getattr(lines, "exceptions", None) or [])]:
        _at_home(other, call, seen)


def _is_ours(name: str) -> bool:
    return name.startswith((paths.LIB + "/", "<frozen importlib")) or "/importlib/" in name
