"""Lists of packages that a project has already -> what is asked for: requirements.txt, uv.lock, poetry.lock.

Only the files that are named are read, here and when the image is described; nobody is asked, and what they say is the
same as if the user had written it into the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flyte_images_layers import LayerError, PipPackages

__all__ = ["Listed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """Requirements, and what goes for them: `hashes` are the sha256 that files of a package may have, by its name."""

    packages: tuple[str, ...]
    constraints: tuple[str, ...] = ()
    hashes: tuple[tuple[str, tuple[str, ...]], ...] = ()
    index_url: str | None = None
    extra_index_urls: tuple[str, ...] = ()
    pre: bool = False
    no_binary: tuple[str, ...] = ()

    def layer(
        self,
        shown: str,
        *,
        index_url: str | None = None,
        extra_index_urls: str | Sequence[str] | None = None,
        pre: bool = False,
        extra_args: str | None = None,
        location: object = None,
    ) -> PipPackages:
        """The layer of it, with what the user wrote beside the file, which is called `shown`."""
        if not self.packages:
            raise LayerError(f"`{shown}` names no package", hint="leave the call out")
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
