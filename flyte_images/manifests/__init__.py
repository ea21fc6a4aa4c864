"""The package lists of a project (requirements.txt, uv.lock, poetry.lock) -> the requirements of an image.

The files are read when the image is described, and no index is asked. A list has the same effect as if the user had
written its lines into the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flyte_images_layers import LayerError, PipPackages

__all__ = ["PackageList"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageList:
    """Requirements and their options. `hashes` maps the name of a package to the sha256 that its files may have."""

    packages: tuple[str, ...]
    constraints: tuple[str, ...] = ()
    hashes: tuple[tuple[str, tuple[str, ...]], ...] = ()
    index_url: str | None = None
    extra_index_urls: tuple[str, ...] = ()
    pre: bool = False
    no_binary: tuple[str, ...] = ()

    def layer(
        self,
        file_name: str,
        *,
        index_url: str | None = None,
        extra_index_urls: str | Sequence[str] | None = None,
        pre: bool = False,
        extra_args: str | None = None,
        location: object = None,
    ) -> PipPackages:
        """Return the layer for the list of `file_name`, with the arguments that the user gave besides the file.

        Raise LayerError if the list is empty.
        """
        if not self.packages:
            raise LayerError(f"`{file_name}` names no package", hint="remove the call")
        urls = (extra_index_urls,) if isinstance(extra_index_urls, str) else tuple(extra_index_urls or ())
        return PipPackages.of(
            self.packages,
            index_url=index_url or self.index_url,
            extra_index_urls=tuple(dict.fromkeys((*urls, *self.extra_index_urls))),
            pre=pre or self.pre,
            extra_args=extra_args,
            no_binary=self.no_binary,
            constraints=self.constraints,
            hashes=self.hashes,
            location=location,
        )
