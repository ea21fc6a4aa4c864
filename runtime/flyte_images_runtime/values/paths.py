"""File and Dir: what is on disk at a path crosses, not the path. Results are moved to a place of the caller's choice.

A Dir crosses as an archive of files, directories, links that stay inside, and hard links (archive.py); what else it
holds is an error that names it. Holes in files stay holes.
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

_PROC = 1 << 20  # bytes of a file that says that it has none


class _OnDisk:
    """`File("data.csv")` as an argument or a result: an object with the path of a file (or directory) that is here."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.path.abspath(os.fspath(path))

    def __fspath__(self) -> str:
        return self.path

    @property
    def name(self) -> str:
        return os.path.basename(self.path)

    def save(self, to: str | os.PathLike[str]) -> Self:
        """Copy it to `to` and return it there. What a task has returned is kept for a while only, a week as a rule.

        A file goes below `to` if that is a directory or ends in a slash; a directory's content goes into `to`, to what
        is there already.
        """
        written, target = os.fspath(to), os.path.abspath(os.fspath(to))
        os.makedirs(target if written.endswith(os.sep) else os.path.dirname(target), exist_ok=True)
        return type(self)(self._copy(target))

    def _copy(self, target: str) -> str:
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.path!r})"

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.path == self.path

    def __hash__(self) -> int:
        return hash((type(self), self.path))


class File(_OnDisk):
    """A file whose content crosses.

    >>> File("/data/a.csv").name
    'a.csv'
    """

    def open(self, mode: str = "r", **options: Any) -> Any:
        return open(self.path, mode, **options)

    def read_text(self, encoding: str = "utf-8") -> str:
        with open(self.path, encoding=encoding) as file:
            return file.read()

    def read_bytes(self) -> bytes:
        with open(self.path, "rb") as file:
            return file.read()

    def _copy(self, target: str) -> str:
        return copy_file(self.path, os.path.join(target, self.name) if os.path.isdir(target) else target)


class Dir(_OnDisk):
    """A directory whose content crosses."""

    def _copy(self, target: str) -> str:
        import shutil

        for place, directories, names in os.walk(self.path):
            for name in (*directories, *names):
                copy = os.path.join(target, os.path.relpath(place, self.path), name)
                if os.path.islink(os.path.join(place, name)) and os.path.islink(copy):
                    os.unlink(copy)

        def one(source: str, to: str) -> None:
            shutil.copystat(source, copy_file(source, to))

        return shutil.copytree(self.path, target, symlinks=True, dirs_exist_ok=True, copy_function=one)


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
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise Problem(f"{path} is not a regular file")
            name, target = files.new("file", allocated(found))
            with target:
                if copy_range(file.fileno(), target.fileno(), found.st_size) != found.st_size:
                    raise Problem(f"file {path} has changed while it was read")
                target.truncate(found.st_size)
                if not found.st_size:  # files of /proc have no size before they are read
                    target.write(file.read(_PROC))
        return {"file": name, "name": os.path.basename(path)}

    def decode(self, data: Any, files: Files) -> Any:
        name = _entry(data, self.kind)
        target = os.path.join(files.arrival(), name)
        if files.in_place:
            files.open(data.get("file")).close()
            os.symlink(files.place(data["file"]), target)
            return File(target)
        with files.open(data.get("file")) as source, open(target, "xb") as file:
            found = os.fstat(source.fileno())
            files.entry()
            files.on_disk(found.st_size, f"the file {shown(name)}")
            expect_room(target, allocated(found))
            copy_range(source.fileno(), file.fileno(), found.st_size)
            file.truncate(found.st_size)
        return File(target)

    def parse(self, text: str) -> Any:
        if not os.path.isfile(text):
            raise Problem(f"there is no file {text}")
        return File(text)


class _Dir(Codec):
    def encode(self, value: Any, files: Files) -> Any:
        if not isinstance(value, (Dir, os.PathLike, str)):
            raise expected(self.kind, value)
        path = os.fspath(value)
        if not os.path.isdir(path):
            raise Problem(f"there is no directory {path}")
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
            raise Problem(f"there is no directory {text}")
        return Dir(text)


def _entry(data: Any, kind: Any) -> str:
    name = data.get("name") if isinstance(data, dict) else None
    if not isinstance(name, str) or not 1 <= len(name) <= 255 or "/" in name or "\0" in name or name in (".", ".."):
        raise expected(kind, data)
    return name


def make(annotation: Any, codec_of: CodecOf) -> Codec | None:
    """The codec of File and Dir, if the annotation is one."""
    if annotation is File:
        return _File(File)
    if annotation is Dir:
        return _Dir(Dir)
    return None
