"""Arguments of `Image` methods -> checked values, or SpecError with the user's line and a remedy."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import CodeType
from typing import TypeVar

from flyte_images_layers import DebianBase, LayerError
from flyte_images_layers.steps import SecretMount, StepLimits
from flyte_images_runtime.portable.suggest import did_you_mean
from flyte_images_runtime.system.platform import Platform

from .errors import FlyteImagesError, Location, SpecError

PythonVersion = str | tuple[int, int]
Place = TypeVar("Place")

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep  # noqa: PTH100, PTH120
LOGINS = (
    "indexes are asked by this machine with its own logins, and no step sees them: ~/.netrc, a keyring, or "
    "UV_INDEX_<NAME>_USERNAME and _PASSWORD"
)


def no_secrets(given: object, call: str, hint: str, location: Location) -> None:
    """Refuse `secret_mounts`, which Flyte mounts into the step that installs; no such step here needs a secret."""
    if given is not None:
        raise SpecError(f"{call} takes no secret_mounts", hint=hint, location=location)


def no_flyte(install: bool, version: str | None, registry_secret: object, location: Location) -> None:
    """Refuse parameters that `from_debian_base` has in Flyte and that decide nothing here."""
    if install or version is not None:
        package = "flyte" if version is None else f"flyte=={version}"
        message = f"no image has `{package}` by itself: tasks run without it"
        hint = f'.with_pip_packages("{package}") if your own code needs it'
        raise SpecError(message, hint=hint, location=location)
    if registry_secret is not None:
        hint = "registries are asked with this machine's own logins: `docker login`"
        raise SpecError("from_debian_base takes no registry_secret", hint=hint, location=location)


def secret_mounts_of(given: object, location: Location) -> tuple[SecretMount, ...]:
    """Return the secrets that commands see, sorted by name; each is given as a key or as a `Secret`."""
    items = given if isinstance(given, (list, tuple)) else () if given is None else (given,)
    mounts = []
    for item in items:
        if isinstance(item, str):
            if not re.fullmatch(r"[A-Za-z0-9_.-]+", item):
                raise SpecError(f"{item!r} is not a secret's key", hint='secret_mounts="hf-token"', location=location)
            mounts.append(SecretMount(name=item, variable=re.sub(r"[^A-Za-z0-9_]", "_", item).upper()))
        elif all(hasattr(item, name) for name in ("key", "variable", "mount")):
            path = None if item.mount is None else str(item.mount)
            mounts.append(SecretMount(name=item.key, variable=item.variable, path=path))
        else:
            raise SpecError(
                f"secret_mounts: {item!r} is not a Secret", hint='secret_mounts=[Secret("hf-token")]', location=location
            )
    return tuple(sorted(mounts, key=lambda mount: (mount.name, mount.path or "", mount.variable)))


def step_limits_of(limits: object, timeout: object, location: Location) -> StepLimits:
    """Return the limits of a build step, from the memory of a `Resources` and a time in seconds or as a timedelta."""
    from flyte_images_runtime.resources.request import Resources

    default = StepLimits()
    memory, seconds = default.memory, default.seconds
    if limits is not None:
        if not isinstance(limits, Resources):
            raise SpecError(
                f"limits={limits!r} is not Resources", hint='limits=Resources(mem="4Gi")', location=location
            )
        others = [name for name in ("cpu", "gpu", "disk", "shm") if getattr(limits, name) is not None]
        if others:
            raise SpecError(
                f"a build step has no limit of {', '.join(others)}",
                hint='limits=Resources(mem="4Gi")',
                location=location,
            )
        memory = limits.limits().memory or memory
    if timeout is not None:
        from datetime import timedelta  # loaded by nothing else in a build that changes nothing

        value = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 1 <= value < 10**9:
            raise SpecError(f"timeout={timeout!r} is not a time", hint="seconds: timeout=3600", location=location)
        seconds = int(value)
    return StepLimits(memory=memory, processes=default.processes, seconds=seconds)


def dependencies_only(mode: object, location: Location) -> None:
    """Refuse to install a project itself, which would make each edit of it a new package."""
    if mode != "dependencies_only":
        raise SpecError(
            f"project_install_mode={mode!r} is not supported: a project's own code is not installed as a package",
            hint='with_source_folder("src", "/app") and with_env_vars({"PYTHONPATH": "/app/src"}) add the code, '
            "and an edit rebuilds no package",
            location=location,
        )


def project_and_lock(
    file: str | os.PathLike[str], lock: str | os.PathLike[str] | None, name: str, maker: str, location: Location
) -> tuple[str, str]:
    """Return the paths of a pyproject.toml and of its lock, which is beside it unless `lock` names it."""
    project = source(file, location, folder=False)
    if os.path.basename(project) != "pyproject.toml":  # noqa: PTH119
        raise SpecError(f"`{file}` is not a pyproject.toml", location=location)
    if lock is not None:
        return project, source(lock, location, folder=False)
    beside = os.path.join(os.path.dirname(project), name)  # noqa: PTH118, PTH120
    if not os.path.isfile(beside):  # noqa: PTH113
        raise SpecError(f"there is no `{name}` beside `{project}`", hint=f"`{maker}` makes it", location=location)
    return project, beside


def words_of(text: object) -> list[str]:
    """Return the words of `extra_args`, split as a shell splits them."""
    import shlex

    if text is None:
        return []
    if not isinstance(text, str):
        raise LayerError(
            f"extra_args takes a string, not {type(text).__name__}: {text!r}", hint='extra_args="--no-dev"'
        )
    try:
        return shlex.split(text)
    except ValueError as error:
        raise LayerError(f"extra_args=`{text}` cannot be read: {error}") from None


def source(src: str | os.PathLike[str], location: Location, *, folder: bool) -> str:
    """Return the absolute path of a local file or, with `folder`, of a local folder."""
    text = os.fspath(src) if isinstance(src, (str, os.PathLike)) else ""
    if not text or "\0" in text:
        raise SpecError(f"`{src!r}` is not a path", location=location)
    path = local_path(text, location)
    if not os.path.exists(path):  # noqa: PTH110
        raise SpecError(f"there is no `{text}` at `{path}`", hint=_nearby(path), location=location)
    if folder != os.path.isdir(path):  # noqa: PTH112
        call = "with_source_file" if folder else "with_source_folder"
        what = "a file, not a folder" if folder else "a folder, not a file"
        raise SpecError(f"`{text}` is {what}", hint=f"use {call}", location=location)
    return path


def local_path(text: str, location: Location) -> str:
    """Return an absolute path; a relative one is relative to the file that names it, or to the working directory."""
    near = os.path.dirname(location.file) if os.path.isfile(location.file) else ""  # noqa: PTH113, PTH120
    return os.path.abspath(os.path.join(near, os.path.expanduser(text)))  # noqa: PTH100, PTH111, PTH118


def _nearby(path: str) -> str:
    folder, name = os.path.split(path)
    remedy = "paths are relative to the file that names them"
    try:
        return did_you_mean(name, os.listdir(folder)) or remedy  # noqa: PTH208
    except OSError:
        return remedy


def python_of(version: object, location: Location) -> str:
    match version:
        case None:
            return f"{sys.version_info.major}.{sys.version_info.minor}"
        case (int(major), int(minor)):
            text = f"{major}.{minor}"
        case str():
            text = version
        case _:
            hint = 'python_version="3.12" or (3, 12)'
            raise SpecError(f"{version!r} is not a Python version", hint=hint, location=location)
    with at(location):
        return DebianBase(python=text).python


def platforms_of(platform: str | Sequence[str] | None, location: Location) -> tuple[str, ...]:
    if platform is None:
        return (str(Platform.of_this_machine()),)
    several = (platform,) if isinstance(platform, str) else tuple(platform)
    for text in several:
        try:
            is_linux = isinstance(text, str) and Platform.parse(text).os == "linux"
        except ValueError:
            is_linux = False
        if not is_linux:
            raise SpecError(f"{text!r} is not a platform", hint='platform="linux/amd64"', location=location)
    if not several:
        raise SpecError("an image needs a platform", hint='platform="linux/amd64"', location=location)
    return several


def name_of(name: str | None, location: Location) -> str | None:
    import re

    if name is None:
        return None
    if not isinstance(name, str) or not re.fullmatch(r"[a-z0-9]+(?:(?:[._]|__|-+|/)[a-z0-9]+)*", name):
        raise SpecError(
            f"{name!r} is not the name of an image", hint="lower-case letters, digits, `-`, `_`, `.`", location=location
        )
    return name


def registry_of(registry: str | None, location: Location) -> str | None:
    from flyte_images_layers.bases import REGISTRY

    if registry is None:
        return None
    if not isinstance(registry, str) or not REGISTRY.fullmatch(registry):
        raise SpecError(f"{registry!r} is not a registry", hint='"registry.example:5000/team"', location=location)
    return registry.rstrip("/")


def caller() -> Location:
    """Return the innermost line outside this package that is being run."""
    frame = sys._getframe(1)
    while frame.f_back is not None and _is_ours(frame.f_code):
        frame = frame.f_back
    return Location(frame.f_code.co_filename, frame.f_lineno)


def _is_ours(code: CodeType) -> bool:
    made_by_dataclasses = code.co_filename == "<string>" and code.co_name == "__init__"
    return made_by_dataclasses or code.co_filename.startswith(_PACKAGE)


@contextmanager
def at(location: Place) -> Iterator[Place]:
    """Give errors that are raised inside this block the user's line, and turn a LayerError into a SpecError."""
    place = location if isinstance(location, Location) else None
    try:
        yield location
    except LayerError as error:
        raise SpecError(str(error), hint=error.hint, location=place) from None
    except FlyteImagesError as error:
        error.location = error.location or place
        raise
