"""`TaskEnvironment`: an image, options, and the tasks that run under both. Making one starts and reads nothing."""

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
    """The image and the options of its tasks.

    `@env.task(...)` and `task.override(...)` take the same options for one task, without those of the first group.

    name                letters a-z and digits, in parts joined by `-` or `_`
    image               an Image, the name of one in a registry, or "auto": Debian with the Python that runs this
    description         text for people; decides nothing
    depends_on          accepted for Flyte's signature; decides nothing

    limits, resources   Resources: hard upper bounds (two names of one option)
    accelerator         GPUAccelerator.NVIDIA_A10G, or the name of a model
    gpu_wait            seconds to wait for a GPU that another task has (default: 0)
    timeout             seconds or a timedelta, from the start of the container; 0 or None: no limit
    pids                processes and threads at once (default: 4096)
    max_result          size of the files, directories, arrays and tables that one result may hold: "50Gi" (default:
                        the largest of 10 GiB, twice the memory limit, and `disk`)
    retries             further attempts after a failure: a number or a RetryStrategy (default: 0)
    cache               "auto": the same code, image and arguments do not run again (default: "disable")
    reusable            True or a ReusePolicy: containers stay warm, and a call is a fork in one of them
    nested              "own": a task that another task calls has its limits beside those of its caller; "shared": its
                        use counts against its caller's limits. Default: "own" if a CPU or memory limit is stated and
                        the call is not below another call of the same environment, else "shared"

    env_vars            environment variables of the task: {"NAME": "value"}
    secrets             names or Secret values; each is read from the caller's environment when the task starts
    mounts              directories of this machine: "data:/data" (read-only), "results:/results:rw", or Mount
    workdir             absolute path of the working directory
    network             "none", "outbound" (default), "host", or the only names that the task reaches, through a proxy:
                        ["example.org", "*.example.com:443", "10.0.0.0/8"]; `Run.refused` counts other requests

    user                "uid:gid" (default: the caller, or a user without an account if the caller is root)
    read_only_root      False: the task may write to the image's directories too (default: True)
    capabilities        Linux capabilities that the task keeps: ["SYS_NICE"] (default: none)
    seccomp             "default" or "unconfined"
    new_privileges      True: setuid programs work (default: False)
    runtime             another OCI runtime that the engine knows: "runsc"

    Raises:
        SpecError: The name, the image or an option is not valid, with the line of this call.

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
                hint="lower-case letters and digits, in parts joined by `-` or `_`",
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
        """Return every environment of this process, in no order."""
        return list(_ALL)

    @property
    def image(self) -> str | Image:
        """The image as the caller gave it."""
        return self._image

    @property
    def built_image(self) -> Image:
        """The Image that is built: "auto" is Debian with this Python, any other text is an image reference."""
        if self._built is None:
            name = str(self._image)
            self._built = Image.from_debian_base() if name == "auto" else Image.from_base(name)
        return self._built

    def clone_with(
        self,
        name: str,
        *,
        image: str | Image | None = None,
        description: str | None = None,
        **settings: Unpack[Settings],
    ) -> TaskEnvironment:
        """Return an environment without tasks that has this one's image and options, and `settings` in their place.

        Raises:
            SpecError: The name or an option is not valid.

        >>> TaskEnvironment(name="ml", timeout=60).clone_with("ml-fast", network="none").options.timeout
        60.0
        """
        location = caller()
        clone = TaskEnvironment(
            name,
            image=self._image if image is None else image,
            description=self.description if description is None else description,
            depends_on=self.depends_on,
        )
        clone.options = self.options.changed(settings, location)
        return clone

    @overload
    def task(self, function: Callable[P, R], /) -> Task[P, R]: ...

    @overload
    def task(self, **settings: Unpack[Settings]) -> Callable[[Callable[P, R]], Task[P, R]]: ...

    def task(self, function: Any = None, /, **settings: Any) -> Any:  # type: ignore[misc]  # mypy compares Unpack[Settings] key by key
        """Make a task of a function: `@env.task`, or `@env.task(timeout=60)` to change options for this task.

        Parameters and result of the function need annotations that can cross to a container: numbers, text, lists,
        dictionaries, dataclasses, arrays, tables, File, Dir, ... The task can still be called as a function.

        Raises:
            SpecError: An option is not valid, or the function cannot be a task.

        >>> env = TaskEnvironment(name="ml")
        >>> @env.task(timeout=60, retries=2)
        ... def add(a: int, b: int = 1) -> int:
        ...     return a + b
        >>> add(2), add.options.timeout, sorted(env.tasks)
        (3, 60.0, ['add'])
        """
        location = caller()
        if function is None:
            options = self.options.changed(cast(Settings, settings), location)
            return lambda decorated: self._add(decorated, options)
        return self._add(function, self.options)

    def _add(self, function: Callable[P, R], options: Options) -> Task[P, R]:
        location = caller()
        check_function(function, location)
        task = Task(function, self, options, location)
        self.tasks[function.__name__] = task
        return task

    def __repr__(self) -> str:
        return f"<environment {self.name}>"


_ALL: weakref.WeakSet[TaskEnvironment] = weakref.WeakSet()
