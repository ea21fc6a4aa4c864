"""What a layer lowers to: values that say what has to happen, and nothing of how. Pure.

A step holds everything that decides its result: exact files by hash, content by digest, commands word for word. A
package file has a name that is safe wherever the file is written (file_names.py): no other value can be made.
"""

from __future__ import annotations

from typing import ClassVar

from .canonical import decoration, optional
from .file_names import file_name
from .record import record


@record(kw_only=True)
class Wheel:
    """One wheel of the resolved set. `size` is in bytes (0 when the index does not say it); `sha256` is hexadecimal.

    `url` is where it was seen last; a file is what its hash says, wherever it comes from.
    """

    is_shared: ClassVar[bool] = True
    name: str
    version: str
    filename: str
    sha256: str
    size: int
    url: str = decoration("")

    def __post_init__(self) -> None:
        file_name(self.filename)


@record(kw_only=True)
class Sdist:
    """A source distribution of the resolved set, where there is no wheel; `build` is all that its build needs."""

    name: str
    version: str
    filename: str
    sha256: str
    size: int
    build: tuple[Wheel, ...]
    url: str = decoration("")

    def __post_init__(self) -> None:
        file_name(self.filename)


@record(kw_only=True)
class Deb:
    """One Debian package of the resolved set; `url` as that of a wheel."""

    is_shared: ClassVar[bool] = True
    name: str
    version: str
    architecture: str
    filename: str
    sha256: str
    size: int
    url: str = decoration("")

    def __post_init__(self) -> None:
        file_name(self.filename)


@record(kw_only=True)
class InstallWheels:
    """Put wheels into the virtual environment, and those that are built from source distributions."""

    kind: ClassVar[str] = "install_wheels"
    wheels: tuple[Wheel, ...]
    sdists: tuple[Sdist, ...] = ()


@record(kw_only=True)
class InstallDebs:
    """Install Debian packages over what is below, without network."""

    kind: ClassVar[str] = "install_debs"
    debs: tuple[Deb, ...]


@record(kw_only=True)
class SecretMount:
    """A secret that a command sees: by its name, as the variable `variable` or, with `path`, as a file there.

    The value is read from this machine's variable `variable` when the command runs, and is part of nothing.
    """

    name: str
    variable: str
    path: str | None = None


@record(kw_only=True)
class StepLimits:
    """The most that a step may use: bytes of memory (0: three quarters of the machine's), processes and seconds."""

    memory: int = 0
    processes: int = 8192
    seconds: int = 7200


@record(kw_only=True)
class RunCommand:
    """Run one command over everything above it. `argv` is what is executed: no shell unless it names one."""

    kind: ClassVar[str] = "run_command"
    argv: tuple[str, ...]
    secrets: tuple[SecretMount, ...] = optional(())
    limits: StepLimits = decoration(StepLimits())


@record(kw_only=True)
class AddFiles:
    """Add a local tree or file. `content` is its digest; `destination` absolute, or relative to the work directory."""

    kind: ClassVar[str] = "add_files"
    content: str
    destination: str


@record(kw_only=True)
class SetEnv:
    """Set environment variables of the image and of the commands below."""

    kind: ClassVar[str] = "set_env"
    variables: tuple[tuple[str, str], ...]


@record(kw_only=True)
class SetWorkdir:
    """Set the working directory of the image and of the commands below."""

    kind: ClassVar[str] = "set_workdir"
    path: str


Step = InstallWheels | InstallDebs | RunCommand | AddFiles | SetEnv | SetWorkdir
