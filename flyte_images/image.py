"""`Image`: what a user says an image is. A frozen value; making one reads nothing but whether a source is there."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flyte_images_layers import (
    AptPackages,
    Base,
    Commands,
    DebianBase,
    EnvVars,
    Layer,
    LayerError,
    PipPackages,
    ReferenceBase,
    SourceFile,
    SourceFolder,
    Workdir,
    decoration,
    digest,
)
from flyte_images_layers.records import dataclass

from .errors import Location, SpecError

PythonVersion = str | tuple[int, int]

_PACKAGE = str(Path(__file__).parent) + os.sep
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64", "amd64": "amd64"}


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image: a base and layers on it. It never changes; each `with_*` returns a new one.

    `name`, `registry` and the places in the user's code are how it is called, not what it is: they are in no digest.

    >>> image = Image.from_debian_base("3.11").with_pip_packages("pandas", "scikit-learn")
    >>> [layer.title for layer in image.layers]
    ['pip packages pandas, scikit-learn']
    """

    base: Base
    layers: tuple[Layer, ...] = ()
    platform: tuple[str, ...]
    python: str
    name: str | None = decoration(None, compare=True)
    registry: str | None = decoration(None, compare=True)
    location: Location | None = decoration(None)

    @classmethod
    def from_debian_base(
        cls,
        python_version: PythonVersion | None = None,
        *,
        registry: str | None = None,
        registry_secret: object = None,
        name: str | None = None,
        platform: str | Sequence[str] | None = None,
        install_flyte: bool = False,
        flyte_version: str | None = None,
    ) -> Image:
        """Debian with Python `python_version` (default: the one that runs this), for this machine's platform.

        Raises SpecError for what is no Python version; whether a source offers it is asked when it is built. No image
        has the `flyte` package by itself: tasks need nothing of it (`install_flyte`, `flyte_version` are Flyte's).
        """
        location = _caller()
        if install_flyte or flyte_version is not None:
            wanted = "flyte" if flyte_version is None else f"flyte=={flyte_version}"
            said = f"no image has `{wanted}` by itself: tasks run without it"
            raise SpecError(said, hint=f'.with_pip_packages("{wanted}") if your own code needs it', location=location)
        if registry_secret is not None:
            hint = "registries are asked with this machine's own logins: `docker login`"
            raise SpecError("from_debian_base takes no registry_secret", hint=hint, location=location)
        python = _python(python_version, location)
        return cls(
            base=DebianBase(python=python),
            python=python,
            name=_name(name, location),
            registry=_registry(registry, location),
            platform=_platforms(platform, location),
            location=location,
        )

    @classmethod
    def from_base(
        cls,
        image_uri: str,
        *,
        python_version: PythonVersion | None = None,
        registry: str | None = None,
        name: str | None = None,
        platform: str | Sequence[str] | None = None,
    ) -> Image:
        """Any image by name. `python_version` is that of its Python, which `with_pip_packages` needs to know."""
        location = _caller()
        with _At(location):
            base = ReferenceBase(reference=image_uri)
        return cls(
            base=base,
            python=_python(python_version, location),
            name=_name(name, location),
            registry=_registry(registry, location),
            platform=_platforms(platform, location),
            location=location,
        )

    def with_pip_packages(
        self,
        *packages: str,
        index_url: str | None = None,
        extra_index_urls: str | Sequence[str] | None = None,
        pre: bool = False,
        extra_args: str | None = None,
        secret_mounts: object = None,
    ) -> Image:
        """Add Python packages by requirement (PEP 508): `with_pip_packages("pandas>=2", "httpx[http2]")`.

        All packages of an image are resolved together, and each is a layer of its own (small ones share a few), so
        that adding one costs that one. `index_url` replaces the default index, `extra_index_urls` are asked first;
        `extra_args` are those options as pip spells them, and `--no-binary NAME`: build that one from source.
        """

        def layer(location: Location) -> Layer:
            _no_secrets(secret_mounts, "with_pip_packages", _LOGINS, location)
            return PipPackages.of(
                packages,
                index_url=index_url,
                extra_index_urls=extra_index_urls,
                pre=pre,
                extra_args=extra_args,
                location=location,
            )

        return self._with(layer)

    def with_apt_packages(self, *packages: str, secret_mounts: object = None) -> Image:
        """Add Debian packages, by name or `name=version`, without what they only recommend."""

        def layer(location: Location) -> Layer:
            _no_secrets(secret_mounts, "with_apt_packages", "the base's own apt asks its archives", location)
            return AptPackages(packages=packages, location=location)

        return self._with(layer)

    def with_env_vars(self, env_vars: Mapping[str, str]) -> Image:
        """Set environment variables, for the commands below and for what runs in the image."""
        return self._with(lambda location: EnvVars(variables=env_vars, location=location))

    def with_workdir(self, workdir: str) -> Image:
        """Set the working directory (absolute); relative destinations below are in it."""
        return self._with(lambda location: Workdir(path=workdir, location=location))

    def with_commands(self, commands: Sequence[str | Sequence[str]]) -> Image:
        """Run commands on all that is above, as root, with network.

        A string is run by `/bin/sh -ec`; a list is an argv that meets no shell.
        """
        return self._with(lambda location: Commands(commands=commands, location=location))  # type: ignore[arg-type]

    def with_source_folder(
        self,
        src: str | os.PathLike[str],
        dst: str = ".",
        copy_contents_only: bool = False,
        *,
        ignore: Sequence[str] = (),
    ) -> Image:
        """Add a local folder as `dst/<its name>`, or its contents alone in `dst`.

        `src` is relative to the file that says so. Its `.dockerignore` holds; `ignore` are more of such patterns.
        """

        def layer(location: Location) -> Layer:
            path = _source(src, location, folder=True)
            return SourceFolder.at(path, dst=dst, contents_only=copy_contents_only, ignore=ignore, location=location)

        return self._with(layer)

    def with_source_file(self, src: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], dst: str = ".") -> Image:
        """Add local files, each as `dst/<its name>`; relative to the file that says so."""
        several = [src] if isinstance(src, (str, os.PathLike)) else list(src)
        return self._with(
            lambda location: SourceFile.at(
                [_source(path, location, folder=False) for path in several], dst=dst, location=location
            )
        )

    def clone(
        self,
        *,
        name: str | None = None,
        registry: str | None = None,
        python_version: PythonVersion | None = None,
        platform: str | Sequence[str] | None = None,
        base_image: str | None = None,
    ) -> Image:
        """Return the same image with another name, registry, Python, platform or base; what is not given stays."""
        location = _caller()
        python = self.python if python_version is None else _python(python_version, location)
        with _At(location):
            if base_image is not None:
                base: Base = ReferenceBase(reference=base_image)
            else:
                base = DebianBase(python=python) if isinstance(self.base, DebianBase) else self.base
        return replace(
            self,
            base=base,
            python=python,
            name=self.name if name is None else _name(name, location),
            registry=self.registry if registry is None else _registry(registry, location),
            platform=self.platform if platform is None else _platforms(platform, location),
            location=location,
        )

    @property
    def python_version(self) -> tuple[int, int]:
        """The Python of the image, as `(3, 12)`."""
        major, minor = self.python.split(".")
        return int(major), int(minor)

    @property
    def digest(self) -> str:
        """Identity of the description, `sha256:...`: every layer, the base by name, the content of local files.

        Needs no engine and no network; reads the local files that changed since the last time. Two descriptions with
        the same digest are built to the same image as long as the packages they name are resolved to the same files.
        """
        from .context import content_digests

        contents = tuple(content_digests(layer) for layer in self.layers)
        return digest("image", (self.base, self.python, self.platform, self.layers, contents))

    if not TYPE_CHECKING:  # or any name would be one of an image to a type checker

        def __getattr__(self, name: str) -> Any:
            """Say what was meant."""
            import difflib

            close = [] if name.startswith("_") else difflib.get_close_matches(name, dir(type(self)), n=1)
            meant = f", did you mean `{close[0]}`?" if close else ""
            raise AttributeError(f"an image has no `{name}`{meant}", name=name, obj=self)

    def _with(self, make: Any) -> Image:
        location = _caller()
        with _At(location):
            return replace(self, layers=(*self.layers, make(location)))


_LOGINS = (
    "indexes are asked by this machine with its own logins, and no step sees them: ~/.netrc, a keyring, or "
    "UV_INDEX_<NAME>_USERNAME and _PASSWORD"
)


def _no_secrets(given: object, call: str, hint: str, location: Location) -> None:
    """Flyte mounts secrets into the step that installs; here no such step needs any."""
    if given is not None:
        raise SpecError(f"{call} takes no secret_mounts", hint=hint, location=location)


class _At:
    """A layer's own error becomes ours, with the user's line."""

    def __init__(self, location: Location) -> None:
        self.location = location

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, LayerError):
            raise SpecError(str(error), hint=error.hint, location=self.location) from None


def _caller() -> Location:
    """The line outside this package that is being run."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    return Location(frame.f_code.co_filename, frame.f_lineno)


def _source(src: str | os.PathLike[str], location: Location, *, folder: bool) -> str:
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
    import difflib

    folder, name = os.path.split(path)
    try:
        close = difflib.get_close_matches(name, os.listdir(folder), n=1)  # noqa: PTH208
    except OSError:
        return "paths are relative to the file that names them"
    return f"did you mean `{close[0]}`?" if close else "paths are relative to the file that names them"


def _python(version: object, location: Location) -> str:
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
    with _At(location):
        return DebianBase(python=text).python


def _platforms(platform: str | Sequence[str] | None, location: Location) -> tuple[str, ...]:
    if platform is None:
        machine = os.uname().machine
        return (f"linux/{_ARCHITECTURES.get(machine, machine)}",)
    several = (platform,) if isinstance(platform, str) else tuple(platform)
    for one in several:
        system, _, rest = one.partition("/") if isinstance(one, str) else ("", "", "")
        if system != "linux" or not rest:
            raise SpecError(f"{one!r} is not a platform", hint='platform="linux/amd64"', location=location)
    if not several:
        raise SpecError("an image needs a platform", hint='platform="linux/amd64"', location=location)
    return several


def _name(name: str | None, location: Location) -> str | None:
    import re

    if name is None:
        return None
    if not isinstance(name, str) or not re.fullmatch(r"[a-z0-9]+(?:(?:[._]|__|-+|/)[a-z0-9]+)*", name):
        raise SpecError(
            f"{name!r} is not the name of an image", hint="lower-case letters, digits, `-`, `_`, `.`", location=location
        )
    return name


def _registry(registry: str | None, location: Location) -> str | None:
    import re

    if registry is None:
        return None
    if not isinstance(registry, str) or not re.fullmatch(
        r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(?::[0-9]+)?(?:/[a-z0-9._/-]+)?", registry
    ):
        raise SpecError(f"{registry!r} is not a registry", hint='"registry.example:5000/team"', location=location)
    return registry.rstrip("/")
