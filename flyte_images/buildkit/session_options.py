"""Secrets and ssh agents as people write them on a command line, in buildx's forms -> values for a session."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path

from ..errors import SpecError
from .services.secrets import Secret

_SECRET_LIMIT = 500 << 10  # BuildKit's own clients send no more


def secret(text: str, *, environ: Mapping[str, str]) -> tuple[str, Secret]:
    """The id and the value of `id=NAME,src=FILE`, `id=NAME,env=VARIABLE`, or `id=NAME` alone.

    Alone, it is the environment variable of that name, else the file. A file is read when a step asks for it, so that a
    token that is renewed while a build runs is the new one; that it is there is checked now.

    >>> secret("id=token,env=TOKEN", environ={"TOKEN": "t"})
    ('token', b't')
    """
    fields = _fields(text)
    name = fields.pop("id", "")
    kind = fields.pop("type", None)
    source = fields.pop("src", None) or fields.pop("source", None)
    variable = fields.pop("env", None)
    if not name or fields or kind not in (None, "file", "env") or (source and variable):
        raise SpecError(f"not a secret: `{text}`", hint="id=NAME, with src=FILE or env=VARIABLE")
    if kind == "env":
        variable = variable or source or name
    elif kind is None and not source and not variable and name in environ:
        variable = name
    if variable:
        if variable not in environ:
            raise SpecError(f"the secret `{name}` is to come from the variable `{variable}`, which is not set")
        return name, environ[variable].encode()
    return name, _file(name, Path(source or name).expanduser().absolute())


def agent(text: str, *, environ: Mapping[str, str]) -> tuple[str, Path]:
    """The id and the socket of `default`, `NAME`, or `NAME=SOCKET`; without a socket it is the user's own agent's.

    >>> agent("default", environ={"SSH_AUTH_SOCK": "/run/agent"})
    ('default', PosixPath('/run/agent'))
    """
    name, _, place = text.partition("=")
    place = place or environ.get("SSH_AUTH_SOCK", "")
    if not name:
        raise SpecError(f"not an ssh agent: `{text}`", hint="default, or NAME=SOCKET")
    if not place:
        raise SpecError(f"no ssh agent to forward as `{name}`: SSH_AUTH_SOCK is not set", hint="start one: ssh-agent")
    if Path(place).is_file():
        raise SpecError(
            f"`{place}` is a file, not the socket of an ssh agent", hint=f"keys stay with the agent: ssh-add {place}"
        )
    return name, Path(place)


def _fields(text: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in text.split(",")]
    return {key.strip(): value for key, _, value in pairs}


def _file(name: str, path: Path) -> Secret:
    try:
        found = path.stat()
    except OSError as error:
        raise SpecError(f"cannot read the secret `{name}` from `{path}`: {error.strerror}") from None
    if not stat.S_ISREG(found.st_mode) or found.st_size > _SECRET_LIMIT:
        raise SpecError(f"the secret `{name}` is no file of at most {_SECRET_LIMIT >> 10} KiB: `{path}`")
    return path.read_bytes
