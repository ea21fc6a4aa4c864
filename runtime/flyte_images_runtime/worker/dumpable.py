"""Linux's "dumpable" flag: whether another process of the same user may read and write this process's memory.

A fork inherits the flag. With the flag off, root owns every file below /proc/PID that shows memory or open files, and
the kernel refuses ptrace, process_vm_writev and pidfd_getfd to processes without CAP_SYS_PTRACE.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PR_SET_DUMPABLE = 4


def _load() -> Any:
    """Return a function that calls `prctl`, from the C half of ctypes: the Python half takes longer than a fork."""
    try:
        import _ctypes

        ctypes: Any = _ctypes
        address = ctypes.dlsym(ctypes.dlopen(None, 0), "prctl")
        return lambda value: ctypes.call_function(address, (_PR_SET_DUMPABLE, value)) == 0
    except (ImportError, AttributeError, OSError):  # a Python without `_ctypes`, or another Python than CPython
        return lambda value: False


_set: Any = None


def set_dumpable(value: bool) -> bool:
    """Set the flag of this process. Return False where that is not possible."""
    global _set
    if _set is None:
        _set = _load()
    done: bool = _set(int(value))
    return done
