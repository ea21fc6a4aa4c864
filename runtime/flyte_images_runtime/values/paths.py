"""File and Dir: what is on disk at a path crosses, not the path. Results are moved to a place of the caller's choice.

A Dir crosses as a tar of regular files, directories and links that stay inside; reading one back never leaves the
directory that it is unpacked to.
"""

from __future__ import annotations

import os

from .codec import Codec
from .files import Files
from .problem import Problem, expected, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tarfile import TarFile, TarInfo
    from typing import Any, Self


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
        import shutil

        return shutil.copyfile(self.path, os.path.join(target, self.name) if os.path.isdir(target) else target)


class Dir(_OnDisk):
    """A directory whose content crosses."""

    def _copy(self, target: str) -> str:
        import shutil

        for place, directories, names in os.walk(self.path):
            for name in (*directories, *names):
                copy = os.path.join(target, os.path.relpath(place, self.path), name)
                if os.path.islink(os.path.join(place, name)) and os.path.islink(copy):
                    os.unlink(copy)
        return shutil.copytree(self.path, target, symlinks=True, dirs_exist_ok=True)


class _File(Codec):
    def encode(self, value: Any, files: Files) -> Any:
        if not isinstance(value, (File, os.PathLike, str)):
            raise expected(self.kind, value)
        path = os.fspath(value)
        try:
            source = open(path, "rb")
        except OSError as error:
            raise Problem(f"file {path} cannot be read: {error.strerror}") from None
        with source:
            name, target = files.new("file", os.path.getsize(path))
            with target:
                _copy(source, target)
        return {"file": name, "name": os.path.basename(path)}

    def decode(self, data: Any, files: Files) -> Any:
        name = _entry(data, self.kind)
        target = os.path.join(files.arrival(), name)
        if files.in_place:
            files.open(data.get("file")).close()
            os.symlink(files.place(data["file"]), target)
            return File(target)
        with files.open(data.get("file")) as source, open(target, "xb") as file:
            _copy(source, file)
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
        import tarfile

        name, file = files.new("tar", _size(path))
        with file, tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
            archive.add(path, arcname=".", filter=_anonymous)
        return {"file": name, "name": os.path.basename(os.path.abspath(path))}

    def decode(self, data: Any, files: Files) -> Any:
        import tarfile

        target = os.path.join(files.arrival(), _entry(data, self.kind))
        os.mkdir(target)
        with files.open(data.get("file")) as file, tarfile.open(fileobj=file, mode="r:") as archive:
            for member in archive:
                _unpack(archive, member, target)
        return Dir(target)

    def parse(self, text: str) -> Any:
        if not os.path.isdir(text):
            raise Problem(f"there is no directory {text}")
        return Dir(text)


def _size(path: str) -> int:
    """What the files below a directory hold together, as far as that can be seen."""
    total = 0
    for place, _, names in os.walk(path):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_size
            except OSError:
                pass
    return total


def _anonymous(member: TarInfo) -> TarInfo | None:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member if member.isreg() or member.isdir() or member.issym() else None


def _unpack(archive: TarFile, member: TarInfo, target: str) -> None:
    """One member, if it stays below `target` whatever it is called and whatever came before it."""
    path = os.path.normpath(os.path.join(target, member.name))
    parent = os.path.realpath(os.path.dirname(path))
    root = os.path.realpath(target)
    if path == target:
        return
    if not path.startswith(target + os.sep) or (parent + os.sep).find(root + os.sep) != 0:
        raise Problem(f"the directory holds an entry that leads out of it: {shown(member.name)}")
    if member.isdir():
        os.makedirs(path, exist_ok=True)
    elif member.issym():
        aim = os.path.realpath(os.path.join(parent, member.linkname))
        if os.path.isabs(member.linkname) or not (aim + os.sep).startswith(root + os.sep):
            raise Problem(f"the directory holds a link that leads out of it: {shown(member.name)}")
        os.symlink(member.linkname, path)
    elif member.isreg():
        source = archive.extractfile(member)
        assert source is not None
        fd = os.open(
            path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o700 if member.mode & 0o100 else 0o600
        )
        with os.fdopen(fd, "wb") as file:
            _copy(source, file)


def _copy(source: Any, target: Any) -> None:
    while True:
        chunk = source.read(1 << 20)
        if not chunk:
            return
        target.write(chunk)


def _entry(data: Any, kind: Any) -> str:
    name = data.get("name") if isinstance(data, dict) else None
    if not isinstance(name, str) or not 1 <= len(name) <= 255 or "/" in name or "\0" in name or name in (".", ".."):
        raise expected(kind, data)
    return name


def make(annotation: Any) -> Codec | None:
    """The codec of File and Dir, if the annotation is one."""
    if annotation is File:
        return _File(File)
    if annotation is Dir:
        return _Dir(Dir)
    return None
