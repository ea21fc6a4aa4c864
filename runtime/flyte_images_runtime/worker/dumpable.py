"""Whether another process of the same user may look into this one, and write its memory: Linux's "dumpable" flag.

A fork has what its parent has. With the flag off everything below /proc/PID that shows memory or open files is root's,
and ptrace, process_vm_writev and pidfd_getfd are refused, but for processes with CAP_SYS_PTRACE.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PR_SET_DUMPABLE = 4


def _load() -> Any:
    """`prctl`, by the C half of ctypes: the other half takes longer to load than all that a fork does."""
    try:
        import _ctypes

        half: Any = _ctypes
        address = half.dlsym(half.dlopen(None, 0), "prctl")
        return lambda value: half.call_function(address, (_PR_SET_DUMPABLE, value)) == 0
    except (ImportError, AttributeError, OSError):  # a Python without it, or another one than CPython
        return lambda value: False


_set: Any = None


def set_dumpable(value: bool) -> bool:
    """Set the flag of this process. False if that is not possible here."""
    global _set
    if _set is None:
        _set = _load()
    done: bool = _set(int(value))
    return done
