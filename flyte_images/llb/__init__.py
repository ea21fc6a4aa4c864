"""LLB: what BuildKit builds, as values. Dials nothing, opens no file.

A `State` is a file system that will be; functions make new ones from it, `marshal` turns one into the graph that a
BuildKit solves. Every operation is named by the digest of its bytes, known as soon as it is made.

    >>> linux = Platform.parse("linux/amd64")
    >>> debian = image("registry.test/debian:13", platform=linux)
    >>> built = run(debian, ["make"], platform=linux, network=Network.NONE, note=Note(name="make")).root
    >>> final = merge([debian, diff(debian, built)])
    >>> [name[:10] for name in marshal(final).digests][-1] == final.digest[:10]
    True
"""

from .definition import Definition, marshal
from .exec import Exec, Network, SecretEnv, Security, Ulimit, run
from .files import Action, Owner, copy, file, mkdir, mkfile, rm, symlink
from .layers import diff, merge
from .mounts import Mount, Sharing, bind, cache, output, secret, ssh, tmpfs
from .sources import git, http, image, local, oci_layout
from .state import Group, Note, Platform, State, Vertex, scratch

__all__ = [
    "Action",
    "Definition",
    "Exec",
    "Group",
    "Mount",
    "Network",
    "Note",
    "Owner",
    "Platform",
    "SecretEnv",
    "Security",
    "Sharing",
    "State",
    "Ulimit",
    "Vertex",
    "bind",
    "cache",
    "copy",
    "diff",
    "file",
    "git",
    "http",
    "image",
    "local",
    "marshal",
    "merge",
    "mkdir",
    "mkfile",
    "oci_layout",
    "output",
    "rm",
    "run",
    "scratch",
    "secret",
    "ssh",
    "symlink",
    "tmpfs",
]
