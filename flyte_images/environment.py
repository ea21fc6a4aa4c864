"""TaskEnvironment: an image, limits, and the tasks that run under both. Making one starts nothing and reads nothing."""

from __future__ import annotations

import re
import weakref
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, Unpack, cast, overload

from ._validate import caller
from .errors import SpecError
from .image import Image
from .options import Options, RetryStrategy, ReusePolicy, Secret, Settings
from .task import Task, check_function

__all__ = ["Options", "RetryStrategy", "ReusePolicy", "Secret", "Settings", "Task", "TaskEnvironment"]

_NAME = re.compile(r"[a-z0-9]+([_-][a-z0-9]+)*")
P = ParamSpec("P")
R = TypeVar("R")


class TaskEnvironment:
    """Where tasks run: `image` under `limits`.

    limits, resources   Resources: hard upper bounds (two names of one thing)
    accelerator         GPUAccelerator.NVIDIA_A10G, or a model's name as text
    env_vars, secrets   what the task finds in its environment
    timeout             seconds or a timedelta, from the start of the container
    retries             further attempts after a failure: a number or a RetryStrategy
    cache               "auto": the same code, image and arguments are not run again
    network             "none", "outbound" (default), "host", or what alone may be reached, by name, through a proxy:
                        ["example.org", "*.example.com:443", "10.0.0.0/8"]; `Run.refused` counts the rest
    mounts              "data:/data", "results:/results:rw": directories of this machine
    user, workdir, read_only_root, capabilities, seccomp, new_privileges, pids, runtime
                        how tightly it is held; the defaults are as tight as numeric Python can be held
    gpu_wait            seconds to wait for a GPU that another task has
    nested              "own": a task called from inside another one has these limits beside its caller's; "shared":
                        what it uses counts against its caller's. Default: "own" where a CPU or memory limit is stated
                        and the call is not below another one of the same environment, else "shared"
    max_result          bytes of files, directories, arrays and tables that one result may hold: "50Gi"; by default
                        the largest of 10 GiB, twice the memory limit, and disk=

    >>> env = TaskEnvironment(name="ml", env_vars={"MODE": "fast"}, timeout=60)
    >>> @env.task
    ... def double(n: int) -> int:
    ...     return 2 * n
    >>> double(4), double.name
    (8, 'ml.double')
    """

    def __init__(
        self,
        name: str,
        *,
        image: str | Image = "auto",
        description: str | None = None,
        depends_on: tuple[TaskEnvironment, ...] | list[TaskEnvironment] = (),
        **settings: Unpack[Settings],
    ) -> None:
        self.location = caller()
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise SpecError(
                f"{name!r} is not a name for an environment",
                hint="small letters and digits, in parts joined by `-` or `_`",
                location=self.location,
            )
        if not isinstance(image, (str, Image)):
            raise SpecError(
                f"image={image!r} is not an Image", hint="image=Image.from_debian_base()", location=self.location
            )
        self.name = name
        self.description = description
        self.depends_on = tuple(depends_on)
        self.options = Options().changed(settings, self.location)
        self.tasks: dict[str, Task[..., Any]] = {}
        _ALL.add(self)
        self._image = image
        self._built: Image | None = image if isinstance(image, Image) else None

    @staticmethod
    def all() -> list[TaskEnvironment]:
        """Every environment of this process."""
        return list(_ALL)

    @property
    def image(self) -> str | Image:
        """The image as it was given."""
        return self._image

    @property
    def built_image(self) -> Image:
        """The image as it is built: "auto" is Debian with this Python, any other text a reference."""
        if self._built is None:
            made = Image.from_debian_base() if self._image == "auto" else Image.from_base(str(self._image))
            self._built = made
        return self._built

    def clone_with(
        self,
        name: str,
        *,
        image: str | Image | None = None,
        description: str | None = None,
        **settings: Unpack[Settings],
    ) -> TaskEnvironment:
        """Another environment, with this one's image and options but for what is given. It has no tasks yet.

        >>> TaskEnvironment(name="ml", timeout=60).clone_with("ml-fast", network="none").options.timeout
        60.0
        """
        location = caller()
        made = TaskEnvironment(
            name,
            image=self._image if image is None else image,
            description=self.description if description is None else description,
            depends_on=self.depends_on,
        )
        made.options = self.options.changed(settings, location)
        return made

    @overload
    def task(self, function: Callable[P, R], /) -> Task[P, R]: ...

    @overload
    def task(self, **settings: Unpack[Settings]) -> Callable[[Callable[P, R]], Task[P, R]]: ...

    def task(self, function: Any = None, /, **settings: Any) -> Any:  # type: ignore[misc]  # mypy compares Unpack[Settings] key by key
        """Make a task of a function: `@env.task`, or with options of its own `@env.task(timeout=60)`."""
        location = caller()
        if function is None:
            options = self.options.changed(cast(Settings, settings), location)
            return lambda later: self._made(later, options)
        return self._made(function, self.options)

    def _made(self, function: Callable[P, R], options: Options) -> Task[P, R]:
        location = caller()
        check_function(function, location)
        made = Task(function, self, options, location)
        self.tasks[function.__name__] = made
        return made

    def __repr__(self) -> str:
        return f"<environment {self.name}>"


_ALL: weakref.WeakSet[TaskEnvironment] = weakref.WeakSet()
