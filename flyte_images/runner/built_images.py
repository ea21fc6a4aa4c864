"""An image -> the reference under which the engine has it, built if needed, once for each Runner state."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..image import Image
    from ..progress import Progress
    from .engines import Engines


class BuiltImages:
    """The references of the images that are built, by the digests of their descriptions."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines
        self._references: dict[str, str] = {}
        self._building = threading.Lock()

    def reference(self, image: Image, *, progress: Progress | None = None, builder: str | None = None) -> str:
        """Return the reference of `image` in the engine.

        An image without layers on a base by reference is taken as it is if the engine has it. Every other image is
        built, one at a time.
        """
        from flyte_images_layers import ReferenceBase

        if not image.layers and isinstance(image.base, ReferenceBase):
            reference = image.base.reference
            if self._engines.image_store().has_image(reference):
                return reference
        digest = image.digest
        with self._building:
            if digest not in self._references:
                from ..builder import build

                self._references[digest] = build(image, progress=progress, builder=builder).ref
            return self._references[digest]
