"""`Image`: the description of an image, a frozen value. Reads package lists when they are named, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from flyte_images_layers import (
    AptPackages,
    Base,
    Commands,
    DebianBase,
    EnvVars,
    Layer,
    PipPackages,
    ReferenceBase,
    SourceFile,
    SourceFolder,
    Workdir,
    decoration,
    digest,
)
from flyte_images_layers.record import record
from flyte_images_runtime.portable.suggest import did_you_mean

from ._validate import (
    LOGINS,
    PythonVersion,
    at,
    caller,
    dependencies_only,
    name_of,
    no_flyte,
    no_secrets,
    platforms_of,
    project_and_lock,
    python_of,
    registry_of,
    secret_mounts_of,
    source,
    step_limits_of,
    words_of,
)
from .errors import Location


@record(kw_only=True)
class Image:
    """An image: a base and the layers above it. An image never changes; each `with_*` method returns a new one.

    `name`, `registry` and the lines of the user's code are labels: no digest covers them. Every method raises SpecError
    for a value that no image can have, with the line that holds the value and a hint.

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
        """Return Debian with Python.

        `python_version` is "3.12" or (3, 12); the default is the Python that runs this. `platform` is "linux/amd64" or
        several; the default is this machine's. The build decides whether a source offers that Python.
        `install_flyte`, `flyte_version` and `registry_secret` are accepted for Flyte's signature, with their defaults
        alone: tasks need no package in the image, and registries get the logins of `docker login`.

        Raises:
            SpecError: The version, the platform, the name or the registry is not valid.

        >>> Image.from_debian_base("3.12", name="app").python_version
        (3, 12)
        """
        location = caller()
        no_flyte(install_flyte, flyte_version, registry_secret, location)
        python = python_of(python_version, location)
        return cls(
            base=DebianBase(python=python),
            python=python,
            name=name_of(name, location),
            registry=registry_of(registry, location),
            platform=platforms_of(platform, location),
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
        """Return an image of a registry or of the engine, by name with a tag or a digest.

        `python_version` is the version of the Python in it, which `with_pip_packages` needs.

        Raises:
            SpecError: `image_uri` is not an image reference, or another value is not valid.

        >>> Image.from_base("ubuntu:24.04", python_version="3.12").base.title
        'ubuntu:24.04'
        """
        with at(caller()) as location:
            base = ReferenceBase(reference=image_uri)
        return cls(
            base=base,
            python=python_of(python_version, location),
            name=name_of(name, location),
            registry=registry_of(registry, location),
            platform=platforms_of(platform, location),
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
        """Add Python packages by requirement (PEP 508).

        All packages of an image are resolved together. Each large package is a layer and small ones share a few layers,
        so that adding a package costs that package alone. `index_url` replaces the default index; `extra_index_urls`
        are asked first; `pre` admits pre-releases; `extra_args` has these options as pip spells them, and
        `--no-binary NAME` to build a package from source. Indexes are asked by this machine with its own logins, so
        `secret_mounts` is refused.

        Raises:
            SpecError: A requirement, an index address or an option is not valid.

        >>> Image.from_debian_base().with_pip_packages("pandas>=2", "httpx[http2]").layers[0].packages
        ('httpx[http2]', 'pandas>=2')
        """
        with at(caller()) as location:
            no_secrets(secret_mounts, "with_pip_packages", LOGINS, location)
            layer = PipPackages.of(
                packages,
                index_url=index_url,
                extra_index_urls=extra_index_urls,
                pre=pre,
                extra_args=extra_args,
                location=location,
            )
        return self._append(layer)

    def with_requirements(
        self,
        file: str | os.PathLike[str],
        *,
        index_url: str | None = None,
        extra_index_urls: str | Sequence[str] | None = None,
        pre: bool = False,
        extra_args: str | None = None,
        secret_mounts: object = None,
    ) -> Image:
        """Add the packages of a requirements.txt, with its hashes and constraints.

        `file`, relative to the file that names it, and the files that it includes are read now. The other parameters
        are those of `with_pip_packages`.

        Raises:
            SpecError: The file is missing, or a line of it is not supported.

        >>> Image.from_debian_base().with_requirements("requirements.txt").layers[0].packages
        ('httpx==0.28.1', 'pandas>=2')
        """
        from .manifests import requirements

        with at(caller()) as location:
            no_secrets(secret_mounts, "with_requirements", LOGINS, location)
            path = source(file, location, folder=False)
            layer = requirements.read(path).layer(
                os.path.basename(path),  # noqa: PTH119
                index_url=index_url,
                extra_index_urls=extra_index_urls,
                pre=pre,
                extra_args=extra_args,
                location=location,
            )
        return self._append(layer)

    def with_uv_project(
        self,
        pyproject_file: str | os.PathLike[str],
        uvlock: str | os.PathLike[str] | None = None,
        *,
        index_url: str | None = None,
        extra_index_urls: str | Sequence[str] | None = None,
        pre: bool = False,
        extra_args: str | None = None,
        secret_mounts: object = None,
        project_install_mode: str = "dependencies_only",
    ) -> Image:
        """Add the dependencies of a uv project, in the versions and with the hashes of its uv.lock.

        `pyproject_file` and `uvlock` (default: uv.lock beside it) are read now, and no other file of the project; the
        project itself is not installed. `extra_args` selects extras and groups as `uv sync` does: `--no-dev`,
        `--extra NAME`, `--group NAME`, ...

        Raises:
            SpecError: A file is missing or not valid, or the lock does not fit the project.

        >>> Image.from_debian_base("3.12").with_uv_project("uv-project/pyproject.toml").layers[0].title
        'pip packages idna==3.10'
        """
        from .manifests import uv_project

        with at(caller()) as location:
            no_secrets(secret_mounts, "with_uv_project", LOGINS, location)
            dependencies_only(project_install_mode, location)
            project, lock = project_and_lock(pyproject_file, uvlock, "uv.lock", "uv lock", location)
            words, others = uv_project.split_options(words_of(extra_args))
            layer = uv_project.read(project, lock, words, self.python, os.environ).layer(
                "pyproject.toml",
                index_url=index_url,
                extra_index_urls=extra_index_urls,
                pre=pre,
                extra_args=others,
                location=location,
            )
        return self._append(layer)

    def with_poetry_project(
        self,
        pyproject_file: str | os.PathLike[str],
        poetry_lock: str | os.PathLike[str] | None = None,
        *,
        extra_args: str | None = None,
        secret_mounts: object = None,
        project_install_mode: str = "dependencies_only",
    ) -> Image:
        """Add the dependencies of a Poetry 2 project, in the versions and with the hashes of its poetry.lock.

        `pyproject_file` and `poetry_lock` (default: poetry.lock beside it) are read now, and no other file of the
        project; the project itself is not installed. `extra_args` selects as `poetry install` does: `--only main`,
        `--with GROUP`, `--extras NAME`, ...

        Raises:
            SpecError: A file is missing or not valid, or the lock does not fit the project.

        >>> Image.from_debian_base("3.12").with_poetry_project("poetry-project/pyproject.toml").layers[0].title
        'pip packages idna==3.10'
        """
        from .manifests import poetry

        with at(caller()) as location:
            no_secrets(secret_mounts, "with_poetry_project", LOGINS, location)
            dependencies_only(project_install_mode, location)
            project, lock = project_and_lock(pyproject_file, poetry_lock, "poetry.lock", "poetry lock", location)
            selected = poetry.read(project, lock, words_of(extra_args), self.python, os.environ)
            layer = selected.layer("pyproject.toml", location=location)
        return self._append(layer)

    def with_apt_packages(self, *packages: str, secret_mounts: object = None) -> Image:
        """Add Debian packages by `name` or `name=version`, without the packages that they only recommend.

        The base's own apt asks its archives, so `secret_mounts` is refused.

        Raises:
            SpecError: A name is not that of a Debian package.

        >>> Image.from_debian_base().with_apt_packages("git", "curl").layers[0].packages
        ('curl', 'git')
        """
        with at(caller()) as location:
            no_secrets(secret_mounts, "with_apt_packages", "the base's own apt asks its archives", location)
            return self._append(AptPackages(packages=packages, location=location))

    def with_env_vars(self, env_vars: Mapping[str, str]) -> Image:
        """Set environment variables, for the layers that follow and for programs that run in the image.

        Raises:
            SpecError: A name or a value is not a string that a process can have.

        >>> Image.from_debian_base().with_env_vars({"MODE": "fast"}).layers[0].title
        'environment MODE'
        """
        with at(caller()) as location:
            return self._append(EnvVars(variables=env_vars, location=location))

    def with_workdir(self, workdir: str) -> Image:
        """Set the working directory, an absolute path; relative destinations of the layers that follow are in it.

        Raises:
            SpecError: The path is not absolute.

        >>> Image.from_debian_base().with_workdir("/app").layers[0].path
        '/app'
        """
        with at(caller()) as location:
            return self._append(Workdir(path=workdir, location=location))

    def with_commands(
        self,
        commands: Sequence[str | Sequence[str]],
        *,
        secret_mounts: object = None,
        limits: object = None,
        timeout: object = None,
    ) -> Image:
        """Run commands on the layers so far, as root and with network.

        `/bin/sh -ec` runs a string; a list is an argv that no shell reads. `secret_mounts` are secrets, by name or as
        `Secret`, that these commands see and that no layer keeps. `limits=Resources(mem="8Gi")` bounds the memory of
        each command (default: three quarters of the machine's), `timeout`, in seconds or as a timedelta, its time
        (default: two hours).

        Raises:
            SpecError: A command, a secret or a limit is not valid.

        >>> Image.from_debian_base().with_commands(["useradd app", ["touch", "/a b"]], timeout=60).layers[0].title
        'useradd app (+1 more)'
        """
        with at(caller()) as location:
            mounts, most = secret_mounts_of(secret_mounts, location), step_limits_of(limits, timeout, location)
            return self._append(
                Commands(commands=commands, secret_mounts=mounts, limits=most, location=location)  # type: ignore[arg-type]
            )

    def with_source_folder(
        self,
        src: str | os.PathLike[str],
        dst: str = ".",
        copy_contents_only: bool = False,
        *,
        ignore: Sequence[str] = (),
    ) -> Image:
        """Add a local folder as `dst/<its name>`, or with `copy_contents_only` its contents as `dst`.

        `src` is relative to the file that names it. The folder's `.dockerignore` holds; `ignore` are further patterns.

        Raises:
            SpecError: `src` is not a folder, or `dst` leaves the image's root.

        >>> Image.from_debian_base().with_source_folder("src", "/app").layers[0].target
        '/app/src'
        """
        with at(caller()) as location:
            path = source(src, location, folder=True)
            return self._append(
                SourceFolder.at(path, dst=dst, contents_only=copy_contents_only, ignore=ignore, location=location)
            )

    def with_source_file(self, src: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], dst: str = ".") -> Image:
        """Add local files, each as `dst/<its name>`. Each `src` is relative to the file that names it.

        Raises:
            SpecError: A file is missing or is a folder, or `dst` leaves the image's root.

        >>> Image.from_debian_base().with_source_file(["main.py"], "/app").layers[0].targets
        ('/app/main.py',)
        """
        several = [src] if isinstance(src, (str, os.PathLike)) else list(src)
        with at(caller()) as location:
            paths = [source(path, location, folder=False) for path in several]
            return self._append(SourceFile.at(paths, dst=dst, location=location))

    def clone(
        self,
        *,
        name: str | None = None,
        registry: str | None = None,
        python_version: PythonVersion | None = None,
        platform: str | Sequence[str] | None = None,
        base_image: str | None = None,
    ) -> Image:
        """Return the same image with another name, registry, Python, platform or base; None leaves a value as it is.

        Raises:
            SpecError: A value is not valid.

        >>> Image.from_debian_base("3.11").clone(python_version=(3, 12)).base.title
        'debian with python 3.12'
        """
        with at(caller()) as location:
            python = self.python if python_version is None else python_of(python_version, location)
            if base_image is not None:
                base: Base = ReferenceBase(reference=base_image)
            else:
                base = DebianBase(python=python) if isinstance(self.base, DebianBase) else self.base
        return replace(
            self,
            base=base,
            python=python,
            name=self.name if name is None else name_of(name, location),
            registry=self.registry if registry is None else registry_of(registry, location),
            platform=self.platform if platform is None else platforms_of(platform, location),
            location=location,
        )

    @property
    def python_version(self) -> tuple[int, int]:
        """The version of the Python in the image, as `(3, 12)`."""
        major, minor = self.python.split(".")
        return int(major), int(minor)

    @property
    def digest(self) -> str:
        """The identity of the description, `sha256:...`: every layer, the base by name, the content of local files.

        Needs neither an engine nor network; reads the local files that changed since the last time. Two descriptions
        with one digest are built to the same image as long as the packages that they name resolve to the same files.

        Raises:
            SpecError: A local file cannot be read.

        >>> Image.from_debian_base("3.11").digest == Image.from_debian_base("3.11", name="app").digest
        True
        """
        from .context import content_digests

        contents = tuple(content_digests(layer) for layer in self.layers)
        return digest("image", (self.base, self.python, self.platform, self.layers, contents))

    if not TYPE_CHECKING:  # a type checker would take every name for an attribute of an image

        def __getattr__(self, name: str) -> Any:
            """Raise AttributeError with the closest method."""
            question = None if name.startswith("_") else did_you_mean(name, dir(type(self)))
            message = f"an image has no `{name}`" + (f", {question}" if question else "")
            raise AttributeError(message, name=name, obj=self)

    def _append(self, layer: Layer) -> Image:
        return replace(self, layers=(*self.layers, layer))
