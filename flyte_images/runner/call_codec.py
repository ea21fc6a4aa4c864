"""A call's arguments -> JSON and files for its container; the container's JSON and files -> the call's result."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flyte_images_runtime.system.atomic import private_directory
from flyte_images_runtime.values import Files, Problem

from ..errors import DiskFull, InvalidArgument, InvalidResult
from .artifacts import ArtifactDir
from .result_cache import ResultCache

if TYPE_CHECKING:
    from ..task import Task


class CallCodec:
    """The arguments and the result of one call. Files of the result arrive in one ArtifactDir."""

    def __init__(
        self, task: Task[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], environ: Mapping[str, str]
    ) -> None:
        self._task = task
        self._args = args
        self._kwargs = kwargs
        self._environ = environ
        self._artifacts: ArtifactDir | None = None
        self.cache_key: str | None = None
        """The key under which `decode` stores the result in the result cache; None for no caching."""

    def check_arguments(self) -> None:
        """Raise InvalidArgument if the arguments do not fit the function's parameters, before an image is built."""
        signature = self._task.signature.signature
        try:
            signature.bind(*self._args, **self._kwargs)
        except TypeError as error:  # with Python's own message
            raise InvalidArgument(
                f"task `{self._task.name}`: {error}", task=self._task.name, hint=f"it takes {signature}"
            ) from None

    def encode(self, files: Files) -> dict[str, Any]:
        """Return the JSON form of the arguments by name; large values and files go into `files`.

        Raise InvalidArgument for a value that the parameter's annotation does not allow.
        """
        try:
            return self._task.signature.encode(self._args, self._kwargs, files)
        except Problem as problem:
            raise InvalidArgument(
                f"task `{self._task.name}`: {problem.message}", task=self._task.name, hint=problem.hint
            ) from None
        except OSError as error:
            raise self.write_error(error, "arguments") from error

    def decode(self, document: Any, files: Files) -> Any:
        """Return the result whose JSON form the task left, and store it in the result cache if `cache_key` is set.

        Raise InvalidResult for a value that the return annotation does not allow.
        """
        try:
            result = self.receive(document, files)
        except Problem as problem:
            raise InvalidResult(
                f"task `{self._task.name}`: {problem.message}", task=self._task.name, hint=problem.hint
            ) from None
        except OSError as error:
            raise self.write_error(error, "result") from error
        if self.cache_key is not None:
            ResultCache.of(self._environ).store(self.cache_key, document, files)
        return result

    def receive(self, document: Any, files: Files) -> Any:
        """Return the result. Its files are in the ArtifactDir of this call. Raise Problem for a bad document."""
        files.arrivals = self._artifact_path
        try:
            result = self._task.signature.decode_result(document, files)
        except BaseException:
            self.discard_artifacts()
            raise
        if self._artifacts is not None:
            self._artifacts.commit()
        return result

    def discard_artifacts(self) -> None:
        """Remove the files of the result."""
        if self._artifacts is not None:
            self._artifacts.discard()

    def write_error(self, error: OSError, what: str) -> Exception:
        """Return DiskFull if the error says that this machine has no space left for `what`, else the error itself."""
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            return error
        where = f" in {os.path.dirname(error.filename)}" if isinstance(error.filename, str) else ""  # noqa: PTH120
        return DiskFull(
            f"task `{self._task.name}`: this machine has no space for its {what}{where}: {error.strerror}",
            task=self._task.name,
            hint="free some space, or let the task read and write large data by mounts=",
        )

    def _artifact_path(self) -> str:
        """Return the directory for artifacts; make it when the first one arrives."""
        if self._artifacts is None:
            self._artifacts = ArtifactDir.of(self._environ)
            private_directory(self._artifacts.path)
        return str(self._artifacts.path)
