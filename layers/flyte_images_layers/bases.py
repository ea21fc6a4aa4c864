"""The bases of an image: Debian with a Python version, or any image by name. Pure."""

from __future__ import annotations

import re
from typing import ClassVar

from .errors import LayerError
from .record import record

# The reference grammar of the OCI distribution specification, without its length limits.
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_HOST = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:]+\])(?::[0-9]+)?"
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
REGISTRY = re.compile(rf"{_HOST}(?:/{_COMPONENT})*/?")
_REFERENCE = re.compile(
    rf"(?:{_HOST}/)?"
    rf"{_COMPONENT}(?:/{_COMPONENT})*(?::[\w][\w.-]{{0,127}})?(?:@sha256:[0-9a-f]{{64}})?"
)


@record(kw_only=True)
class DebianBase:
    """Debian with Python X.Y.

    >>> DebianBase(python="3.11").python
    '3.11'
    """

    kind: ClassVar[str] = "debian"
    python: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"3\.\d{1,2}", self.python):
            raise LayerError(f"`{self.python}` is not a Python version", hint='python_version="3.12" or (3, 12)')

    @property
    def title(self) -> str:
        return f"debian with python {self.python}"


@record(kw_only=True)
class ReferenceBase:
    """An image by name, with a tag or a digest.

    >>> ReferenceBase(reference="ubuntu:24.04").reference
    'ubuntu:24.04'
    """

    kind: ClassVar[str] = "reference"
    reference: str

    def __post_init__(self) -> None:
        if not isinstance(self.reference, str) or not _REFERENCE.fullmatch(self.reference):
            raise LayerError(
                f"{self.reference!r} is not an image reference", hint='from_base("registry.example/team/image:tag")'
            )

    @property
    def title(self) -> str:
        return self.reference


Base = DebianBase | ReferenceBase
