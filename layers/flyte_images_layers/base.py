"""What every layer kind has in common. Pure.

A layer kind is one file: a frozen dataclass with a `kind`, what it needs to be resolved, how it lowers to steps, and
`examples`. One line in `LAYERS` (`__init__.py`) registers it.
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
    """What a layer asks of the package resolver.

    `no_binary` are packages, or `:all:`, to be built from source; `constraints` hold if a package is needed at all;
    `hashes` are the sha256 that the file of a package may have, by its name.
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
        """Where it asks, without what."""
        return PythonRequirements(
            requirements=(),
            index_url=self.index_url,
            extra_index_urls=self.extra_index_urls,
            prereleases=self.prereleases,
        )


@record(kw_only=True)
class LocalSource:
    """What a layer asks of the user's disk: `path` (absolute) is to appear in the image as `destination`.

    `patterns` are ignore rules (`.dockerignore` syntax) added to those of the folder itself.
    """

    path: str
    destination: str
    patterns: tuple[str, ...] = ()


@record(kw_only=True)
class Found:
    """What resolving gave to one layer."""

    wheels: tuple[Wheel, ...] = ()
    sdists: tuple[Sdist, ...] = ()
    debs: tuple[Deb, ...] = ()
    contents: tuple[str, ...] = field(default=())


@record(kw_only=True)
class Layer:
    """Base of the layer kinds. `location` is where the user wrote it: shown in errors, never in a digest."""

    kind: ClassVar[str]
    examples: ClassVar[Sequence[Layer]] = ()

    location: object = decoration()

    @property
    def title(self) -> str:
        """One short line for progress and errors."""
        return self.kind

    def python_requirements(self) -> PythonRequirements | None:
        """What the package resolver has to find for this layer."""
        return None

    def apt_packages(self) -> tuple[str, ...]:
        """The names that apt has to find for this layer."""
        return ()

    def local_sources(self) -> tuple[LocalSource, ...]:
        """The local files that this layer is made of."""
        return ()

    def lower(self, found: Found) -> tuple[Step, ...]:
        """Return the steps of this layer, given what was found for it."""
        raise NotImplementedError(self.kind)


def names(items: object, *, what: str, call: str) -> tuple[str, ...]:
    """Check that `items` are separate strings, as in `with_x("a", "b")`.

    >>> names((["a", "b"],), what="package", call="with_pip_packages")
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
