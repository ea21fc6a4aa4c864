"""Digest and ImageRef: the name of a blob and the name of an image, parsed once. Immutable values; pure."""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple

_SHA256 = re.compile(r"sha256:([0-9a-f]{64})")
_HUB = "docker.io"


class Digest(NamedTuple):
    """The sha256 digest of some content. `hex` are its 64 hexadecimal digits.

    >>> str(Digest.of(b""))[:14]
    'sha256:e3b0c44'
    """

    hex: str

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Parse `sha256:<64 hexadecimal digits>`. Raises ValueError for any other text."""
        match = _SHA256.fullmatch(text)
        if match is None:
            raise ValueError(f"not a sha256 digest: `{text}`")
        return cls(match[1])

    @classmethod
    def of(cls, data: bytes) -> Digest:
        """Return the digest of `data`."""
        return cls(hashlib.sha256(data).hexdigest())

    def __str__(self) -> str:
        return f"sha256:{self.hex}"


class ImageRef(NamedTuple):
    """The name of an image: registry, repository, and a tag, a digest (`sha256:...`), both or neither.

    >>> ImageRef.parse("python:3.12")
    ImageRef(registry='docker.io', repository='library/python', tag='3.12', digest='')
    >>> str(ImageRef.parse("team/app")), ImageRef.parse("docker.io/library/python:3.12").familiar
    ('docker.io/team/app', 'python:3.12')
    """

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    @classmethod
    def parse(cls, text: str) -> ImageRef:
        """Parse a name as people write it: without a registry it is Docker Hub's, where one word is `library/word`.

        The text is split, not checked: an engine or a registry refuses a name that cannot exist.
        """
        name, _, digest = text.partition("@")
        path, slash, last = name.rpartition("/")  # a colon before the last slash is that of a port
        last, _, tag = last.partition(":")
        first, has_host, remainder = f"{path}{slash}{last}".partition("/")
        if not has_host or not (set(".:") & set(first) or first == "localhost"):
            first, remainder = _HUB, f"{path}{slash}{last}"
        if first == f"index.{_HUB}":
            first = _HUB
        if first == _HUB and "/" not in remainder:
            remainder = f"library/{remainder}"
        return cls(first, remainder, tag, digest)

    @property
    def name(self) -> str:
        """Registry and repository: `docker.io/library/python`."""
        return f"{self.registry}/{self.repository}"

    @property
    def familiar(self) -> str:
        """The short form by which Docker lists the image: `python:3.12`, `team/app`, `registry.test/app:1`.

        >>> ImageRef.parse("docker.io/a.b/app").familiar
        'docker.io/a.b/app'
        """
        if self.registry == _HUB:
            for short in (self.repository.removeprefix("library/"), self.repository):
                if ImageRef.parse(short)[:2] == self[:2]:
                    return short + self._suffix
        return str(self)

    @property
    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    def __str__(self) -> str:
        return self.name + self._suffix
