"""How a task's process ends: threads, exit handlers, what is written to files; then at once.

Python would take its modules apart, one by one, before the kernel takes them all. For a short task that is a tenth of
its CPU time, and after a fork every page that is touched for it is copied first.
"""

from __future__ import annotations

import atexit
import gc
import io
import os
import stat
import sys

from flyte_images_runtime.worker import task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


def end(status: int) -> NoReturn:
    """End this process. What is done at the end of a program is done, but no `__del__` is called for what is left."""
    threading = sys.modules.get("threading")
    if threading is not None:
        threading._shutdown()  # waits for those that are no daemons, as multiprocessing does in its forks
    try:
        atexit._run_exitfuncs()
    except BaseException:
        sys.excepthook(*sys.exc_info())
    task.flush()
    for thing in gc.get_objects() if writes_to_files() else ():
        if issubclass(type(thing), io.IOBase):
            try:
                thing.flush()
            except (OSError, ValueError):  # closed, or for reading
                pass
    os._exit(status)


def needs_all_of_it() -> bool:
    """Has the task loaded code that is not Python's own or in Python? It may have buffers and handlers of its own."""
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and not file.endswith((".py", ".pyc")) and "/lib-dynload/" not in file:
            return True
    return False


def writes_to_files() -> bool:
    """Is any file open for writing, beside stdout, stderr, and what has no name any more?"""
    try:
        numbers = [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:
        return True
    return any(_is_written_to(number) for number in numbers if number > 2)


def _is_written_to(number: int) -> bool:
    try:
        found = os.fstat(number)
        return stat.S_ISREG(found.st_mode) and found.st_nlink > 0 and os.write(number, b"") == 0
    except OSError:  # it is for reading, or is the directory that was just listed
        return False
