"""`apt_packages`: Debian packages, resolved to exact files and installed without network. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

from .base import Layer, Resolved, check_names
from .errors import LayerError
from .record import record
from .steps import InstallDebs, Step

# Debian Policy 5.6.1 (names) and 5.6.12 (versions); `name=version` and `name:arch` as apt-get takes them.
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+(:[a-z0-9]+)?(=[A-Za-z0-9.+:~-]+)?")


@record(kw_only=True)
class AptPackages(Layer):
    """Debian packages by `name` or `name=version`. Their order decides nothing; recommended packages are left out.

    >>> AptPackages(packages=("git", "curl")).packages
    ('curl', 'git')
    """

    kind: ClassVar[str] = "apt_packages"
    examples: ClassVar[Sequence[Layer]] = ()

    packages: tuple[str, ...]

    def __post_init__(self) -> None:
        packages = check_names(self.packages, what="package", call="with_apt_packages")
        for name in packages:
            if not _PACKAGE.fullmatch(name):
                raise LayerError(
                    f"`{name}` is not the name of a Debian package",
                    hint="lower-case names, one for each argument: with_apt_packages('git', 'curl=7.88.1-10')",
                )
        object.__setattr__(self, "packages", tuple(sorted(set(packages))))

    @property
    def title(self) -> str:
        return "apt packages " + ", ".join(self.packages)

    def apt_packages(self) -> tuple[str, ...]:
        return self.packages

    def lower(self, resolved: Resolved) -> tuple[Step, ...]:
        return (InstallDebs(debs=resolved.debs),)


AptPackages.examples = (AptPackages(packages=("git", "curl")),)
