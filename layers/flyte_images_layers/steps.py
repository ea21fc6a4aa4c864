"""Steps, the values that a layer lowers to: what has to happen in the image, without how. Pure.

A step holds everything that decides its result: exact files by hash, content by digest, commands word for word. The
name of a package file is safe wherever the file is written (file_names.py): a value with another name cannot be made.
"""

from __future__ import annotations

from typing import ClassVar

from .canonical import decoration, optional
from .file_names import file_name
from .record import record

EPOCH = 315_532_800
"""The time of every file that a build makes: 1980-01-01 in seconds since 1970. Zip files have no earlier time."""


@record(kw_only=True)
class Wheel:
    """One wheel of the resolved set. `size` is in bytes (0 if the index does not report it); `sha256` is hexadecimal.

    `url` is the address at which the wheel was last seen. The hash identifies the file, whatever its address.
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
    """A source distribution of the resolved set, for a package without a wheel. `build` is all that its build needs."""

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
    """One Debian package of the resolved set; `url` has the same meaning as in Wheel."""

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
    """Install wheels into the virtual environment, and the wheels that are built from source distributions."""

    kind: ClassVar[str] = "install_wheels"
    wheels: tuple[Wheel, ...]
    sdists: tuple[Sdist, ...] = ()


@record(kw_only=True)
class InstallDebs:
    """Install Debian packages on the steps before, without network."""

    kind: ClassVar[str] = "install_debs"
    debs: tuple[Deb, ...]


@record(kw_only=True)
class SecretMount:
    """A secret that a command sees: as the variable `variable` or, with `path`, as a file at that path.

    The value is read from this machine's variable `variable` when the command runs. No layer and no digest holds it.
    """

    name: str
    variable: str
    path: str | None = None


@record(kw_only=True)
class StepLimits:
    """The limits of a step: bytes of memory (0: three quarters of the machine's memory), processes, and seconds."""

    memory: int = 0
    processes: int = 8192
    seconds: int = 7200


@record(kw_only=True)
class RunCommand:
    """Run one command on the steps before. `argv` is executed without a shell, unless it names one."""

    kind: ClassVar[str] = "run_command"
    argv: tuple[str, ...]
    secrets: tuple[SecretMount, ...] = optional(())
    limits: StepLimits = decoration(StepLimits())


@record(kw_only=True)
class AddFiles:
    """Add a local tree or file, with the digest `content`. `destination` may be relative to the work directory."""

    kind: ClassVar[str] = "add_files"
    content: str
    destination: str


@record(kw_only=True)
class SetEnv:
    """Set environment variables of the image and of the commands that follow."""

    kind: ClassVar[str] = "set_env"
    variables: tuple[tuple[str, str], ...]


@record(kw_only=True)
class SetWorkdir:
    """Set the working directory of the image and of the commands that follow."""

    kind: ClassVar[str] = "set_workdir"
    path: str


Step = InstallWheels | InstallDebs | RunCommand | AddFiles | SetEnv | SetWorkdir
