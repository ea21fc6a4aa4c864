"""`workdir`: the working directory of the image. Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from typing import ClassVar

from .base import Layer, Resolved
from .errors import LayerError
from .record import record
from .steps import SetWorkdir, Step


@record(kw_only=True)
class Workdir(Layer):
    """The working directory, an absolute path. The build makes it if it does not exist.

    >>> Workdir(path="/app/").path
    '/app'
    """

    kind: ClassVar[str] = "workdir"
    examples: ClassVar[Sequence[Layer]] = ()

    path: str

    def __post_init__(self) -> None:
        if not isinstance(self.path, str) or not self.path.startswith("/") or "\0" in self.path:
            raise LayerError(f"`{self.path}` is not an absolute path", hint='with_workdir("/app")')
        object.__setattr__(self, "path", "/" + posixpath.normpath(self.path).lstrip("/"))

    @property
    def title(self) -> str:
        return f"workdir {self.path}"

    def lower(self, resolved: Resolved) -> tuple[Step, ...]:
        return (SetWorkdir(path=self.path),)


Workdir.examples = (Workdir(path="/app"),)
