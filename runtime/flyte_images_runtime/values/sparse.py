"""Copies of files in which holes stay holes: a copy of an empty sparse file of 3 GiB takes no space."""

from __future__ import annotations

import errno
import os

_STEP = 1 << 26  # bytes of one call, since an interrupt waits for its end
_CANNOT = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EBADF, errno.ETXTBSY)


def copy_range(source: int, target: int, size: int, *, at: int = 0, to: int = 0) -> int:
    """Copy `size` bytes of one file from `at` into another file at `to`; return how many bytes the source had.

    A hole of the source is skipped in the target, where the file must be empty.
    """
    offset, end = at, at + size
    while offset < end:
        offset, stop = _next_data(source, offset, end)
        if offset == stop:  # a hole up to the end
            return max(0, min(os.fstat(source).st_size, end) - at)
        while offset < stop:
            count = _copy_some(source, target, min(_STEP, stop - offset), offset, to + offset - at)
            if not count:
                return offset - at
            offset += count
    return size


def _next_data(source: int, offset: int, end: int) -> tuple[int, int]:
    """Return the bounds of the next bytes that are not a hole."""
    try:
        begin = os.lseek(source, offset, os.SEEK_DATA)
    except OSError as error:
        return (end, end) if error.errno == errno.ENXIO else (offset, end)
    return min(begin, end), min(os.lseek(source, begin, os.SEEK_HOLE), end)


def _copy_some(source: int, target: int, count: int, at: int, to: int) -> int:
    if hasattr(os, "copy_file_range"):
        try:
            copied = os.copy_file_range(source, target, count, at, to)
            if copied:
                return copied
        except OSError as error:
            if error.errno not in _CANNOT:
                raise
    data = os.pread(source, min(count, 1 << 20), at)
    written = 0
    while written < len(data):
        written += os.pwrite(target, data[written:], to + written)
    return written


def allocated(status: os.stat_result) -> int:
    """Return the bytes that a copy of a file takes on disk."""
    return min(status.st_size, status.st_blocks * 512)


def copy_file(source: str, target: str) -> str:
    """Copy the content of the file `source` to `target`, which is made or overwritten; return `target`."""
    import shutil

    if os.path.exists(target) and os.path.samefile(source, target):
        raise shutil.SameFileError(f"{source} and {target} are one file")
    begin = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        end = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        try:
            size = os.fstat(begin).st_size
            copy_range(begin, end, size)
            os.ftruncate(end, size)
        finally:
            os.close(end)
    finally:
        os.close(begin)
    return target
