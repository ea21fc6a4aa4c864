"""The layer kinds of an image, one file each, and the bases. Pure: reads no file and opens no connection."""

from __future__ import annotations

from .apt import AptPackages
from .base import Layer, LocalSource, PythonRequirements, Resolved
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
"""Every layer kind by its name. A new kind is one file and one entry in this table."""

__all__ = [
    "LAYERS",
    "AptPackages",
    "Base",
    "Commands",
    "DebianBase",
    "EnvVars",
    "Layer",
    "LayerError",
    "LocalSource",
    "PipPackages",
    "PythonRequirements",
    "ReferenceBase",
    "Resolved",
    "SourceFile",
    "SourceFolder",
    "Workdir",
    "decoration",
    "digest",
    "encode",
]
