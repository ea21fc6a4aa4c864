"""`LayerError`, the one error of this package. flyte_images raises it as SpecError, with the user's line."""

from __future__ import annotations


class LayerError(ValueError):
    """A value that no layer can have. `str(error)` names the value; `hint` is the remedy."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint
