"""Platform: operating system, architecture and variant of an image or a machine, in the words of OCI."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

_OCI_NAMES = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "armhf": "arm", "i386": "386"}
_KERNEL_NAMES = {"amd64": "x86_64", "arm64": "aarch64"}
_DEFAULT_VARIANTS = {"arm64": "v8", "amd64": "v1"}  # images are published without these


class Platform(NamedTuple):
    """What an image or a command runs on.

    >>> str(Platform.parse("linux/aarch64")), Platform.parse("linux/arm/v7").variant
    ('linux/arm64', 'v7')
    """

    os: str
    architecture: str
    variant: str = ""

    @classmethod
    def parse(cls, text: str) -> Platform:
        """Parse `os/architecture[/variant]`. Different names of one architecture give the same platform.

        Raise ValueError for a text of another form.
        """
        system, _, more = text.partition("/")
        architecture, _, variant = more.partition("/")
        if not system or not architecture or "/" in variant:
            raise ValueError(f"`{text}` is not a platform, as linux/amd64 or linux/arm/v7")
        architecture = _OCI_NAMES.get(architecture, architecture)
        return cls(system, architecture, "" if _DEFAULT_VARIANTS.get(architecture) == variant else variant)

    @classmethod
    def of_this_machine(cls) -> Platform:
        """Return the platform of the running kernel."""
        machine = os.uname().machine
        return cls("linux", _OCI_NAMES.get(machine, machine))

    @property
    def machine(self) -> str:
        """The architecture as the kernel and Python wheels name it: `x86_64`, `aarch64`."""
        return _KERNEL_NAMES.get(self.architecture, self.architecture)

    def fits(self, config: Mapping[str, Any]) -> bool:
        """Return whether an image configuration, or the `platform` of an index entry, is for this platform.

        >>> Platform.parse("linux/arm64").fits({"os": "linux", "architecture": "arm64", "variant": "v8"})
        True
        >>> Platform.parse("linux/arm/v7").fits({"os": "linux", "architecture": "arm", "variant": "v6"})
        False
        """
        variant = config.get("variant") or ""
        same = (config.get("os"), config.get("architecture")) == (self.os, self.architecture)
        return same and (not variant or not self.variant or variant == self.variant)

    def __str__(self) -> str:
        return "/".join(filter(None, self))
