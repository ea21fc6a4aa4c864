"""`Layer`, the base class of the layer kinds, and the values with which layers are resolved. Pure.

A layer kind is one file: a record with a `kind`, its checks, the packages and files that it needs, `lower` to steps,
and `examples`. One line in `LAYERS` (`__init__.py`) registers the kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import ClassVar

from .canonical import decoration
from .errors import LayerError
from .record import record
from .steps import Deb, Sdist, Step, Wheel


@record(kw_only=True)
class PythonRequirements:
    """The packages that a layer needs, for the package resolver.

    `no_binary` names packages to build from source, or `:all:`; `constraints` restrict versions of packages that are
    needed anyway; `hashes` are the sha256 that the files of a package may have, by package name.
    """

    requirements: tuple[str, ...]
    index_url: str | None = None
    extra_index_urls: tuple[str, ...] = ()
    prereleases: bool = False
    no_binary: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    hashes: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def indexes(self) -> PythonRequirements:
        """The indexes alone, without packages."""
        return PythonRequirements(
            requirements=(),
            index_url=self.index_url,
            extra_index_urls=self.extra_index_urls,
            prereleases=self.prereleases,
        )


@record(kw_only=True)
class LocalSource:
    """A local file or folder that a layer needs: the image has the absolute `path` as `destination`.

    `patterns` are ignore rules (`.dockerignore` syntax), in addition to those of the folder itself.
    """

    path: str
    destination: str
    patterns: tuple[str, ...] = ()


@record(kw_only=True)
class Resolved:
    """The files that were resolved for one layer: packages, and the digests of its local sources."""

    wheels: tuple[Wheel, ...] = ()
    sdists: tuple[Sdist, ...] = ()
    debs: tuple[Deb, ...] = ()
    contents: tuple[str, ...] = field(default=())


@record(kw_only=True)
class Layer:
    """Base of the layer kinds. `location` is the user's line: errors show it, and no digest covers it."""

    kind: ClassVar[str]
    examples: ClassVar[Sequence[Layer]] = ()

    location: object = decoration()

    @property
    def title(self) -> str:
        """A short line for progress and errors."""
        return self.kind

    def python_requirements(self) -> PythonRequirements | None:
        """Return the Python packages that this layer needs, or None."""
        return None

    def apt_packages(self) -> tuple[str, ...]:
        """Return the names of the Debian packages that this layer needs."""
        return ()

    def local_sources(self) -> tuple[LocalSource, ...]:
        """Return the local files that this layer adds."""
        return ()

    def lower(self, resolved: Resolved) -> tuple[Step, ...]:
        """Return the steps of this layer, given the files that were resolved for it."""
        raise NotImplementedError(self.kind)


def check_names(items: object, *, what: str, call: str) -> tuple[str, ...]:
    """Return `items` without surrounding spaces. Raise LayerError unless they are separate, non-empty strings.

    >>> check_names((["a", "b"],), what="package", call="with_pip_packages")
    Traceback (most recent call last):
    ...
    flyte_images_layers.errors.LayerError: with_pip_packages takes names as separate arguments, not a list: ['a', 'b']
    """
    if isinstance(items, str):
        items = (items,)
    if not isinstance(items, (tuple, list)):
        raise LayerError(f"{call} takes strings, not {type(items).__name__}: {items!r}")
    for item in items:
        if isinstance(item, (list, tuple, set, frozenset)):
            spread = ", ".join(f'"{x}"' for x in item)
            raise LayerError(
                f"{call} takes names as separate arguments, not a {type(item).__name__}: {item!r}",
                hint=f"write {call}({spread}) or {call}(*{what}s)",
            )
        if not isinstance(item, str):
            raise LayerError(f"{call} takes strings, not {type(item).__name__}: {item!r}")
        if not item.strip():
            raise LayerError(f"{call} was given an empty {what}")
    if not items:
        raise LayerError(f"{call} was given no {what}", hint=f"name at least one {what}, or leave the call out")
    return tuple(item.strip() for item in items)
