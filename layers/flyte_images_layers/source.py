"""`source_folder` and `source_file`: local files in the image. Pure.

The digest of a layer covers the content of its files and their destinations in the image, not their local paths.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from pathlib import PurePath
from typing import ClassVar

from .base import Layer, LocalSource, Resolved
from .canonical import decoration
from .errors import LayerError
from .record import record
from .steps import AddFiles, Step


@record(kw_only=True)
class SourceFolder(Layer):
    """The folder `src` as `target` in the image.

    `target` is absolute or relative to the work directory. `ignore` are patterns as in `.dockerignore`, in
    addition to the folder's own `.dockerignore` and to the defaults (`__pycache__`, `.git`, virtual environments, ...).
    """

    kind: ClassVar[str] = "source_folder"
    examples: ClassVar[Sequence[Layer]] = ()

    target: str = ""
    ignore: tuple[str, ...] = ()
    src: str = decoration("", compare=True)

    @classmethod
    def at(cls, src: str, *, dst: str, contents_only: bool, ignore: Sequence[str], location: object) -> SourceFolder:
        """Return the layer for the absolute path `src`, as `dst/<its name>` or, with `contents_only`, as `dst`."""
        if isinstance(ignore, str):
            raise LayerError(f"ignore takes a list of patterns, not a string: {ignore!r}", hint=f"ignore=[{ignore!r}]")
        name = PurePath(src).name
        target = destination(dst) if contents_only else posixpath.join(destination(dst), name)
        return cls(target=target, ignore=tuple(ignore), src=src, location=location)

    @property
    def title(self) -> str:
        return f"source folder {PurePath(self.src).name} -> {self.target}"

    def local_sources(self) -> tuple[LocalSource, ...]:
        return (LocalSource(path=self.src, destination=self.target, patterns=self.ignore),)

    def lower(self, resolved: Resolved) -> tuple[Step, ...]:
        return tuple(AddFiles(content=content, destination=self.target) for content in resolved.contents)


@record(kw_only=True)
class SourceFile(Layer):
    """Single files: `srcs` on this machine, as `targets` in the image."""

    kind: ClassVar[str] = "source_file"
    examples: ClassVar[Sequence[Layer]] = ()

    targets: tuple[str, ...] = ()
    srcs: tuple[str, ...] = decoration((), compare=True)

    @classmethod
    def at(cls, srcs: Sequence[str], *, dst: str, location: object) -> SourceFile:
        """Return the layer for the absolute paths `srcs`, each as `dst/<its name>`."""
        names = [PurePath(src).name for src in srcs]
        duplicates = sorted({name for name in names if names.count(name) > 1})
        if duplicates:
            raise LayerError(
                f"two source files have the same name `{duplicates[0]}`", hint="copy them to different folders"
            )
        if not srcs:
            raise LayerError("with_source_file was given no file")
        pairs = sorted(zip((posixpath.join(destination(dst), name) for name in names), srcs, strict=True))
        return cls(targets=tuple(t for t, _ in pairs), srcs=tuple(s for _, s in pairs), location=location)

    @property
    def title(self) -> str:
        return "source file " + ", ".join(PurePath(src).name for src in self.srcs)

    def local_sources(self) -> tuple[LocalSource, ...]:
        pairs = zip(self.srcs, self.targets, strict=True)
        return tuple(LocalSource(path=src, destination=target) for src, target in pairs)

    def lower(self, resolved: Resolved) -> tuple[Step, ...]:
        pairs = zip(resolved.contents, self.targets, strict=True)
        return tuple(AddFiles(content=content, destination=target) for content, target in pairs)


def destination(dst: object) -> str:
    """Return `dst` normalized. Raise LayerError if it leaves the image's root or work directory.

    >>> destination("/app//x/"), destination("."), destination("a/b")
    ('/app/x', '.', 'a/b')
    """
    if not isinstance(dst, str) or not dst or "\0" in dst:
        raise LayerError(f"{dst!r} is not a path in the image", hint="an absolute path, or one relative to the workdir")
    normal = posixpath.normpath(dst)
    if normal == ".." or normal.startswith("../"):
        raise LayerError(f"`{dst}` leaves the work directory", hint="give an absolute path: dst='/app'")
    return "/" + normal.lstrip("/") if normal.startswith("/") else normal


SourceFolder.examples = (SourceFolder(target="./src", src="/home/me/src"),)
SourceFile.examples = (SourceFile(targets=("/app/main.py",), srcs=("/home/me/main.py",)),)
