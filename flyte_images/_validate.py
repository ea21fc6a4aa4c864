"""What a user writes where an image is described -> checked values, or a SpecError with the line and the remedy."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
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
    """Flyte mounts secrets into the step that installs; here no such step needs any."""
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
    """The secrets that commands are to see: a name or a `Secret` each, by name."""
    several = given if isinstance(given, (list, tuple)) else () if given is None else (given,)
    found = []
    for one in several:
        if isinstance(one, str):
            if not re.fullmatch(r"[A-Za-z0-9_.-]+", one):
                raise SpecError(f"{one!r} is not a secret's key", hint='secret_mounts="hf-token"', location=location)
            found.append(SecretMount(name=one, variable=re.sub(r"[^A-Za-z0-9_]", "_", one).upper()))
        elif all(hasattr(one, name) for name in ("key", "variable", "mount")):
            path = None if one.mount is None else str(one.mount)
            found.append(SecretMount(name=one.key, variable=one.variable, path=path))
        else:
            raise SpecError(
                f"secret_mounts: {one!r} is not a Secret", hint='secret_mounts=[Secret("hf-token")]', location=location
            )
    return tuple(sorted(found, key=lambda it: (it.name, it.path or "", it.variable)))


def step_limits_of(limits: object, timeout: object, location: Location) -> StepLimits:
    """The limits of a build step: the memory of a `Resources`, and seconds or a timedelta."""
    from flyte_images_runtime.resources.request import Resources

    usual = StepLimits()
    memory, seconds = usual.memory, usual.seconds
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
        given = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
        if isinstance(given, bool) or not isinstance(given, (int, float)) or not 1 <= given < 10**9:
            raise SpecError(f"timeout={timeout!r} is not a time", hint="seconds: timeout=3600", location=location)
        seconds = int(given)
    return StepLimits(memory=memory, processes=usual.processes, seconds=seconds)


def dependencies_only(mode: object, location: Location) -> None:
    if mode != "dependencies_only":
        raise SpecError(
            f"project_install_mode={mode!r} is not supported: a project's own code is no package here",
            hint='with_source_folder("src", "/app") and with_env_vars({"PYTHONPATH": "/app/src"}) bring it, '
            "and an edit of it rebuilds no package",
            location=location,
        )


def project_and_lock(
    file: str | os.PathLike[str], lock: str | os.PathLike[str] | None, name: str, maker: str, location: Location
) -> tuple[str, str]:
    """Where a pyproject.toml and its lock are."""
    project = source(file, location, folder=False)
    if os.path.basename(project) != "pyproject.toml":  # noqa: PTH119
        raise SpecError(f"`{file}` is no pyproject.toml", location=location)
    if lock is not None:
        return project, source(lock, location, folder=False)
    beside = os.path.join(os.path.dirname(project), name)  # noqa: PTH118, PTH120
    if not os.path.isfile(beside):  # noqa: PTH113
        raise SpecError(f"there is no `{name}` beside `{project}`", hint=f"`{maker}` makes it", location=location)
    return project, beside


def words_of(text: object) -> list[str]:
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
    """Where a local source is, in full; refused if it is not there."""
    text = os.fspath(src) if isinstance(src, (str, os.PathLike)) else ""
    if not text or "\0" in text:
        raise SpecError(f"`{src!r}` is not a path", location=location)
    written = os.path.expanduser(text)  # noqa: PTH111 - a plain string is all that is needed
    near = os.path.dirname(location.file) if os.path.isfile(location.file) else ""  # noqa: PTH113, PTH120
    path = os.path.abspath(os.path.join(near, written))  # noqa: PTH100, PTH118
    if not os.path.exists(path):  # noqa: PTH110
        raise SpecError(f"there is no `{text}` at `{path}`", hint=_nearby(path), location=location)
    if folder != os.path.isdir(path):  # noqa: PTH112
        call = "with_source_file" if folder else "with_source_folder"
        what = "a file, not a folder" if folder else "a folder, not a file"
        raise SpecError(f"`{text}` is {what}", hint=f"use {call}", location=location)
    return path


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
