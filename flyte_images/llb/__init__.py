"""LLB, the graph language of BuildKit, as immutable values. This package is pure: no sockets, no files.

A `State` describes a file system. Functions such as `run` and `copy` make new states from it, and `marshal` turns a
state into the graph that BuildKit solves. Every operation is named by the sha256 of its bytes, so its digest is known
as soon as the operation exists.

    >>> linux = Platform.parse("linux/amd64")
    >>> debian = image("registry.test/debian:13", platform=linux)
    >>> built = run(debian, ["make"], platform=linux, network=Network.NONE, note=Note(name="make")).root
    >>> final = merge([debian, diff(debian, built)])
    >>> [name[:10] for name in marshal(final).digests][-1] == final.digest[:10]
    True
"""

from flyte_images_runtime.system.platform import Platform

from .definition import Definition, marshal
from .exec import Exec, Network, SecretEnv, run
from .files import Action, copy, file, mkdir, mkfile
from .layers import diff, merge
from .mounts import Mount, bind, output, secret, tmpfs
from .sources import http, image, local, oci_layout
from .state import Group, Note, State, Vertex, scratch

__all__ = [
    "Action",
    "Definition",
    "Exec",
    "Group",
    "Mount",
    "Network",
    "Note",
    "Platform",
    "SecretEnv",
    "State",
    "Vertex",
    "bind",
    "copy",
    "diff",
    "file",
    "http",
    "image",
    "local",
    "marshal",
    "merge",
    "mkdir",
    "mkfile",
    "oci_layout",
    "output",
    "run",
    "scratch",
    "secret",
    "tmpfs",
]
