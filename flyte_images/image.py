"""`Image`: what a user says an image is. A frozen value; making one reads the lists of packages that it names, and of
other sources whether they are there."""

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

from ._validate import (
    LOGINS,
    PythonVersion,
    at,
    caller,
    dependencies_only,
    did_you_mean,
    name_of,
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
from .errors import Location, SpecError


@record(kw_only=True)
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
        location = caller()
        if install_flyte or flyte_version is not None:
            wanted = "flyte" if flyte_version is None else f"flyte=={flyte_version}"
            said = f"no image has `{wanted}` by itself: tasks run without it"
            raise SpecError(said, hint=f'.with_pip_packages("{wanted}") if your own code needs it', location=location)
        if registry_secret is not None:
            hint = "registries are asked with this machine's own logins: `docker login`"
            raise SpecError("from_debian_base takes no registry_secret", hint=hint, location=location)
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
        """Any image by name. `python_version` is that of its Python, which `with_pip_packages` needs to know."""
        location = caller()
        with at(location):
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
        """Add Python packages by requirement (PEP 508): `with_pip_packages("pandas>=2", "httpx[http2]")`.

        All packages of an image are resolved together, and each is a layer of its own (small ones share a few), so
        that adding one costs that one. `index_url` replaces the default index, `extra_index_urls` are asked first;
        `extra_args` are those options as pip spells them, and `--no-binary NAME`: build that one from source.
        """

        def layer(location: Location) -> Layer:
            no_secrets(secret_mounts, "with_pip_packages", LOGINS, location)
            return PipPackages.of(
                packages,
                index_url=index_url,
                extra_index_urls=extra_index_urls,
                pre=pre,
                extra_args=extra_args,
                location=location,
            )

        return self._with(layer)

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
        """Add what a requirements.txt asks for: as `with_pip_packages` of its lines, with its hashes and constraints.

        `file`, and what it includes, is read now. Options are those of `with_pip_packages`.
        """

        def layer(location: Location) -> Layer:
            from .manifests import requirements

            no_secrets(secret_mounts, "with_requirements", LOGINS, location)
            path = source(file, location, folder=False)
            return requirements.read(path).layer(
                os.path.basename(path),  # noqa: PTH119
                index_url=index_url,
                extra_index_urls=extra_index_urls,
                pre=pre,
                extra_args=extra_args,
                location=location,
            )

        return self._with(layer)

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
        """Add what a uv project needs, in the versions and with the hashes of its uv.lock; not the project itself.

        `pyproject_file` and `uvlock` (default: uv.lock beside it) are read now, and no other file of the project.
        `extra_args` chooses among extras and groups as `uv sync` does: `--no-dev`, `--extra NAME`, `--group NAME`, ...
        """

        def layer(location: Location) -> Layer:
            from .manifests import uv_project

            no_secrets(secret_mounts, "with_uv_project", LOGINS, location)
            dependencies_only(project_install_mode, location)
            project, lock = project_and_lock(pyproject_file, uvlock, "uv.lock", "uv lock", location)
            words, others = uv_project.own_words(words_of(extra_args))
            return uv_project.read(project, lock, words, self.python, os.environ).layer(
                "pyproject.toml",
                index_url=index_url,
                extra_index_urls=extra_index_urls,
                pre=pre,
                extra_args=others,
                location=location,
            )

        return self._with(layer)

    def with_poetry_project(
        self,
        pyproject_file: str | os.PathLike[str],
        poetry_lock: str | os.PathLike[str] | None = None,
        *,
        extra_args: str | None = None,
        secret_mounts: object = None,
        project_install_mode: str = "dependencies_only",
    ) -> Image:
        """Add what a Poetry project needs, in the versions and with the hashes of its poetry.lock; not the project.

        `pyproject_file` and `poetry_lock` (default: poetry.lock beside it; of Poetry 2) are read now, and nothing else.
        `extra_args` chooses as `poetry install` does: `--only main`, `--with GROUP`, `--extras NAME`, ...
        """

        def layer(location: Location) -> Layer:
            from .manifests import poetry

            no_secrets(secret_mounts, "with_poetry_project", LOGINS, location)
            dependencies_only(project_install_mode, location)
            project, lock = project_and_lock(pyproject_file, poetry_lock, "poetry.lock", "poetry lock", location)
            found = poetry.read(project, lock, words_of(extra_args), self.python, os.environ)
            return found.layer("pyproject.toml", location=location)

        return self._with(layer)

    def with_apt_packages(self, *packages: str, secret_mounts: object = None) -> Image:
        """Add Debian packages, by name or `name=version`, without what they only recommend."""

        def layer(location: Location) -> Layer:
            no_secrets(secret_mounts, "with_apt_packages", "the base's own apt asks its archives", location)
            return AptPackages(packages=packages, location=location)

        return self._with(layer)

    def with_env_vars(self, env_vars: Mapping[str, str]) -> Image:
        """Set environment variables, for the commands below and for what runs in the image."""
        return self._with(lambda location: EnvVars(variables=env_vars, location=location))

    def with_workdir(self, workdir: str) -> Image:
        """Set the working directory (absolute); relative destinations below are in it."""
        return self._with(lambda location: Workdir(path=workdir, location=location))

    def with_commands(
        self,
        commands: Sequence[str | Sequence[str]],
        *,
        secret_mounts: object = None,
        limits: object = None,
        timeout: object = None,
    ) -> Image:
        """Run commands on all that is above, as root, with network.

        A string is run by `/bin/sh -ec`; a list is an argv that meets no shell. `secret_mounts` are secrets, by name or
        as `Secret`, that these commands see and nothing keeps; `limits=Resources(mem="8Gi")` is the most memory of each
        command (default: three quarters of the machine's) and `timeout` its time (default: two hours).
        """

        def layer(location: Location) -> Layer:
            mounts, most = secret_mounts_of(secret_mounts, location), step_limits_of(limits, timeout, location)
            return Commands(commands=commands, secret_mounts=mounts, limits=most, location=location)  # type: ignore[arg-type]

        return self._with(layer)

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
            path = source(src, location, folder=True)
            return SourceFolder.at(path, dst=dst, contents_only=copy_contents_only, ignore=ignore, location=location)

        return self._with(layer)

    def with_source_file(self, src: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], dst: str = ".") -> Image:
        """Add local files, each as `dst/<its name>`; relative to the file that says so."""
        several = [src] if isinstance(src, (str, os.PathLike)) else list(src)
        return self._with(
            lambda location: SourceFile.at(
                [source(path, location, folder=False) for path in several], dst=dst, location=location
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
        location = caller()
        python = self.python if python_version is None else python_of(python_version, location)
        with at(location):
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
            question = None if name.startswith("_") else did_you_mean(name, dir(type(self)))
            raise AttributeError(
                f"an image has no `{name}`" + (f", {question}" if question else ""), name=name, obj=self
            )

    def _with(self, make: Any) -> Image:
        location = caller()
        with at(location):
            return replace(self, layers=(*self.layers, make(location)))
