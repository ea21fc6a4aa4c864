"""What can go into an image: one file a layer kind, and the bases. Pure: reads nothing, dials nothing."""

from __future__ import annotations

from .apt import AptPackages
from .base import Found, Layer, LocalSource, PythonRequirements
from .bases import Base, DebianBase, ReferenceBase
from .canonical import decoration, digest, encode
from .commands import Commands
from .env import EnvVars
from .errors import LayerError
from .pip import PipPackages
from .source import SourceFile, SourceFolder
from .workdir import Workdir

LAYERS: dict[str, type[Layer]] = {
    layer.kind: layer for layer in (PipPackages, AptPackages, EnvVars, Workdir, Commands, SourceFolder, SourceFile)
}
"""Every layer kind by its name. A new kind is one file and one entry here."""

__all__ = [
    "LAYERS",
    "AptPackages",
    "Base",
    "Commands",
    "DebianBase",
    "EnvVars",
    "Found",
    "Layer",
    "LayerError",
    "LocalSource",
    "PipPackages",
    "PythonRequirements",
    "ReferenceBase",
    "SourceFile",
    "SourceFolder",
    "Workdir",
    "decoration",
    "digest",
    "encode",
]
