"""The one error of this package: a layer that cannot be."""

from __future__ import annotations


class LayerError(ValueError):
    """A value that no layer can have. `str(error)` names the value, `hint` the remedy."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint
