"""Copies of files in which holes stay holes: a file of 3 GiB that holds nothing takes nothing."""

from __future__ import annotations

import errno
import os

_STEP = 1 << 26  # bytes at once: an interrupt waits for no more
_CANNOT = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EBADF, errno.ETXTBSY)


def copy_range(source: int, target: int, size: int, *, at: int = 0, to: int = 0) -> int:
    """Copy `size` bytes of one file from `at` into another at `to`; return how many there were.

    What is a hole in the source is left as it is in the target, where nothing has been written yet.
    """
    end = here = at
    end += size
    while here < end:
        here, stop = _next_data(source, here, end)
        if here == stop:  # nothing but a hole, up to its end
            return max(0, min(os.fstat(source).st_size, end) - at)
        while here < stop:
            count = _copy_some(source, target, min(_STEP, stop - here), here, to + here - at)
            if not count:
                return here - at
            here += count
    return size


def _next_data(source: int, here: int, end: int) -> tuple[int, int]:
    """Where the next bytes that are no hole begin, and where they end."""
    try:
        begin = os.lseek(source, here, os.SEEK_DATA)
    except OSError as error:
        return (end, end) if error.errno == errno.ENXIO else (here, end)
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


def allocated(found: os.stat_result) -> int:
    """Bytes that the content of a file takes on disk, as far as copies of it are concerned."""
    return min(found.st_size, found.st_blocks * 512)


def copy_file(source: str, target: str) -> str:
    """Copy the content of the file `source` to `target`, which is made or overwritten."""
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
