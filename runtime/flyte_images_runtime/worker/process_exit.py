"""The end of a task's process: wait for threads, run exit handlers, write buffered files; then exit at once.

Python would take its modules apart, one by one, before the kernel frees them all. For a short task that is a tenth of
its CPU time, and after a fork every page that this touches is copied first.
"""

from __future__ import annotations

import atexit
import gc
import io
import os
import stat
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


def end(status: int) -> NoReturn:
    """End this process as a program ends, except that no `__del__` is called for the objects that are left."""
    threading = sys.modules.get("threading")
    if threading is not None:
        threading._shutdown()  # waits for all but daemon threads, as multiprocessing does in its forks
    try:
        atexit._run_exitfuncs()
    except BaseException:
        sys.excepthook(*sys.exc_info())
    flush()
    for candidate in gc.get_objects() if writes_to_files() else ():
        if issubclass(type(candidate), io.IOBase):
            try:
                candidate.flush()
            except (OSError, ValueError):  # closed, or open for reading
                pass
    os._exit(status)


def flush() -> None:
    """Flush stdout and stderr."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            pass


def has_foreign_code() -> bool:
    """Return whether a compiled module that is not Python's own is loaded: it may have buffers and exit handlers."""
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and not file.endswith((".py", ".pyc")) and "/lib-dynload/" not in file:
            return True
    return False


def writes_to_files() -> bool:
    """Return whether a file is open for writing, besides stdout, stderr, and files without a name any more."""
    try:
        numbers = [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:
        return True
    return any(_is_written_to(number) for number in numbers if number > 2)


def _is_written_to(number: int) -> bool:
    try:
        status = os.fstat(number)
        return stat.S_ISREG(status.st_mode) and status.st_nlink > 0 and os.write(number, b"") == 0
    except OSError:  # open for reading, or the directory that was just listed
        return False
