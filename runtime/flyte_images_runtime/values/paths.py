"""File and Dir: the content at a path crosses, not the path. Results are put into a directory that the caller chooses.

A Dir crosses as an archive of files, directories, links that stay inside, and hard links (archive.py); any other entry
is an error that names the entry. Holes in files stay holes.
"""

from __future__ import annotations

import os
import stat

from .base import Codec
from .errors import Problem, expected, shown
from .files import Files, expect_room
from .sparse import allocated, copy_file, copy_range

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

    from .base import CodecOf

_PROC = 1 << 20  # bytes to read of a file whose size is 0: files of /proc have no size before they are read


class _PathValue:
    """The common part of File and Dir: a path on this machine, which `os.fspath` returns."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.path.abspath(os.fspath(path))

    def __fspath__(self) -> str:
        return self.path

    @property
    def name(self) -> str:
        """The last component of the path."""
        return os.path.basename(self.path)

    def save(self, to: str | os.PathLike[str]) -> Self:
        """Copy the file or directory to `to`, and return the copy.

        What a task has returned is removed after a while, a week by default. A file is copied below `to` if that is a
        directory or ends in a slash; the content of a directory is copied into `to`, beside existing entries.
        """
        text, target = os.fspath(to), os.path.abspath(os.fspath(to))
        os.makedirs(target if text.endswith(os.sep) else os.path.dirname(target), exist_ok=True)
        return type(self)(self._copy(target))

    def _copy(self, target: str) -> str:
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.path!r})"

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.path == self.path

    def __hash__(self) -> int:
        return hash((type(self), self.path))


class File(_PathValue):
    """A file whose content crosses, as an argument or as a result: `File("data.csv")`. `path` is absolute.

    >>> file = File("data/rows.csv")
    >>> file.name, file.read_text().splitlines(), file.save("copies/").name
    ('rows.csv', ['a,b', '1,2'], 'rows.csv')
    """

    def open(self, mode: str = "r", **options: Any) -> Any:
        """Open the file as the built-in `open` does. Raise OSError if that fails."""
        return open(self.path, mode, **options)

    def read_text(self, encoding: str = "utf-8") -> str:
        """Return the content as text. Raise OSError if the file cannot be read, UnicodeDecodeError for other bytes."""
        with open(self.path, encoding=encoding) as file:
            return file.read()

    def read_bytes(self) -> bytes:
        """Return the content. Raise OSError if the file cannot be read."""
        with open(self.path, "rb") as file:
            return file.read()

    def _copy(self, target: str) -> str:
        return copy_file(self.path, os.path.join(target, self.name) if os.path.isdir(target) else target)


class Dir(_PathValue):
    """A directory whose content crosses, as an argument or as a result: `Dir("dataset")`. `path` is absolute.

    >>> import os
    >>> sorted(os.listdir(Dir("data").save("data-copy")))
    ['rows.csv']
    """

    def _copy(self, target: str) -> str:
        import shutil

        for directory, subdirectories, names in os.walk(self.path):
            for name in (*subdirectories, *names):
                copy = os.path.join(target, os.path.relpath(directory, self.path), name)
                if os.path.islink(os.path.join(directory, name)) and os.path.islink(copy):
                    os.unlink(copy)

        def copy_with_times(source: str, to: str) -> None:
            shutil.copystat(source, copy_file(source, to))

        return shutil.copytree(self.path, target, symlinks=True, dirs_exist_ok=True, copy_function=copy_with_times)


class _File(Codec):
    def encode(self, value: Any, files: Files) -> Any:
        if not isinstance(value, (File, os.PathLike, str)):
            raise expected(self.kind, value)
        path = os.fspath(value)
        try:
            source = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise Problem(f"file {path} cannot be read: {error.strerror}") from None
        with os.fdopen(source, "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise Problem(f"{path} is not a regular file")
            name, target = files.new("file", allocated(status))
            with target:
                if copy_range(file.fileno(), target.fileno(), status.st_size) != status.st_size:
                    raise Problem(f"file {path} has changed while it was read")
                target.truncate(status.st_size)
                if not status.st_size:
                    target.write(file.read(_PROC))
        return {"file": name, "name": os.path.basename(path)}

    def decode(self, data: Any, files: Files) -> Any:
        name = _entry(data, self.kind)
        target = os.path.join(files.arrival(), name)
        if files.in_place:
            files.open(data.get("file")).close()
            os.symlink(files.path_of(data["file"]), target)
            return File(target)
        with files.open(data.get("file")) as source, open(target, "xb") as file:
            status = os.fstat(source.fileno())
            files.entry()
            files.on_disk(status.st_size, f"the file {shown(name)}")
            expect_room(target, allocated(status))
            copy_range(source.fileno(), file.fileno(), status.st_size)
            file.truncate(status.st_size)
        return File(target)

    def parse(self, text: str) -> Any:
        if not os.path.isfile(text):
            raise Problem(f"{text} is not a file")
        return File(text)


class _Dir(Codec):
    def encode(self, value: Any, files: Files) -> Any:
        if not isinstance(value, (Dir, os.PathLike, str)):
            raise expected(self.kind, value)
        path = os.fspath(value)
        if not os.path.isdir(path):
            raise Problem(f"{path} is not a directory")
        from .archive import pack, size_of

        name, file = files.new("tar", size_of(path))
        with file:
            pack(path, file.fileno())
        return {"file": name, "name": os.path.basename(os.path.abspath(path))}

    def decode(self, data: Any, files: Files) -> Any:
        from .archive import unpack

        target = os.path.join(files.arrival(), _entry(data, self.kind))
        os.mkdir(target)
        with files.open(data.get("file")) as file:
            expect_room(target, allocated(os.fstat(file.fileno())))
            unpack(file.fileno(), target, files)
        return Dir(target)

    def parse(self, text: str) -> Any:
        if not os.path.isdir(text):
            raise Problem(f"{text} is not a directory")
        return Dir(text)


def _entry(data: Any, kind: Any) -> str:
    name = data.get("name") if isinstance(data, dict) else None
    if not isinstance(name, str) or not 1 <= len(name) <= 255 or "/" in name or "\0" in name or name in (".", ".."):
        raise expected(kind, data)
    return name


def make(annotation: Any, codec_of: CodecOf) -> Codec | None:
    """Return the codec of File or Dir; None for any other annotation."""
    if annotation is File:
        return _File(File)
    if annotation is Dir:
        return _Dir(Dir)
    return None
