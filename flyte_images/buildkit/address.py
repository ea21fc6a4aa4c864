"""The text of a BuildKit address -> a value that says how to connect. Pure.

unix:///run/buildkit/buildkitd.sock      a buildkitd's socket
tcp://host:1234?cacert=F&cert=F&key=F    a buildkitd over TCP; with cacert= over (mutual) TLS
docker-container://NAME?context=C        through `docker exec`; also podman-, nerdctl-container://
kube-pod://POD?namespace=N&context=C&container=X
ssh://user@host:port/path/to/socket      through `ssh`, to a host with buildctl
docker+unix:///var/run/docker.sock       the BuildKit inside a Docker Engine; also docker+tcp:// and docker+ssh://
"""

from __future__ import annotations

import re
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from flyte_images_layers.record import record

from ..errors import SpecError

_NAME = re.compile(r"[A-Za-z0-9][-A-Za-z0-9._]*")
_SCHEMES = "unix://, tcp://, docker-container://, podman-container://, nerdctl-container://, kube-pod://, ssh://, docker+unix://"


@record(kw_only=True)
class Tls:
    """PEM files for a TLS connection. Without `ca`, the system's certificate authorities are trusted."""

    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    server_name: str | None = None
    verify: bool = True


@record
class Unix:
    """A Unix socket on this machine."""

    path: str

    def __str__(self) -> str:
        return f"unix://{self.path}"


@record
class Tcp:
    """A TCP port; with `tls`, over TLS."""

    host: str
    port: int
    tls: Tls | None = None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"tcp://{host}:{self.port}"


@record
class Command:
    """A program whose standard input and output are the connection."""

    argv: tuple[str, ...]
    shown: str

    def __str__(self) -> str:
        return self.shown


@record
class Docker:
    """The BuildKit inside a Docker Engine whose API is at `api`."""

    api: Unix | Tcp | Command

    def __str__(self) -> str:
        return f"docker+{self.api}"


Address = Unix | Tcp | Command | Docker


def parse(text: str) -> Address:
    """Return the address in `text`. Raises SpecError, with the known schemes, for any other text.

    >>> parse("unix:///run/buildkit/buildkitd.sock")
    Unix(path='/run/buildkit/buildkitd.sock')
    >>> parse("docker-container://buildkitd").argv
    ('docker', 'exec', '-i', 'buildkitd', 'buildctl', 'dial-stdio')
    """
    if text.startswith("docker+"):
        return Docker(parse_docker_host(text.removeprefix("docker+")))
    parts = _split(text)
    match parts.scheme:
        case "unix":
            return _unix(text, parts)
        case "tcp":
            return _tcp(text, parts)
        case "docker-container" | "podman-container" | "nerdctl-container" | "kube-pod":
            return _exec(text, parts)
        case "ssh":
            options = ("--addr", f"unix://{unquote(parts.path)}") if parts.path not in ("", "/") else ()
            return Command((*_ssh(text, parts), "buildctl", *options, "dial-stdio"), text)
    raise SpecError(f"unknown kind of BuildKit address `{text}`", hint=f"an address begins with one of {_SCHEMES}")


def parse_docker_host(text: str, *, tls: Tls | None = None) -> Unix | Tcp | Command:
    """Return the address of a Docker Engine's API from a value of DOCKER_HOST; `tls` is for TCP.

    >>> str(parse_docker_host("tcp://10.0.0.5"))
    'tcp://10.0.0.5:2375'
    """
    parts = _split(text)
    match parts.scheme:
        case "unix":
            return _unix(text, parts)
        case "tcp":
            return _tcp(text, parts, tls=tls, port=2375 if tls is None and not parts.query else 2376)
        case "ssh":
            options = ("--host", f"unix://{unquote(parts.path)}") if parts.path not in ("", "/") else ()
            return Command((*_ssh(text, parts), "docker", *options, "system", "dial-stdio"), text)
    raise SpecError(f"unknown kind of Docker Engine address `{text}`", hint="use unix://, tcp:// or ssh://")


def _split(text: str) -> SplitResult:
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError as error:
        raise SpecError(
            f"not an address: `{text}` ({error})", hint=f"an address begins with one of {_SCHEMES}"
        ) from None
    return parts


def _options(text: str, parts: SplitResult, allowed: tuple[str, ...]) -> dict[str, str]:
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in options:
        if name not in allowed:
            raise SpecError(
                f"unknown option `{name}` in `{text}`", hint=f"known options: {', '.join(allowed) or 'none'}"
            )
    return options


def _unix(text: str, parts: SplitResult) -> Unix:
    _options(text, parts, ())
    path = unquote(parts.netloc + parts.path)
    if not path.startswith("/"):
        raise SpecError(f"a socket's path is absolute, not `{path}`", hint="three slashes: unix:///run/x.sock")
    return Unix(path)


def _tcp(text: str, parts: SplitResult, *, tls: Tls | None = None, port: int | None = None) -> Tcp:
    options = _options(text, parts, ("cacert", "cert", "key", "servername"))
    port = parts.port or port
    if not parts.hostname or port is None or parts.path not in ("", "/"):
        raise SpecError(f"not a host and a port: `{text}`", hint="as in tcp://10.0.0.5:1234")
    if ("cert" in options) != ("key" in options):
        raise SpecError(f"a client certificate needs cert= and key= in `{text}`")
    if options:
        tls = Tls(
            ca=options.get("cacert"),
            cert=options.get("cert"),
            key=options.get("key"),
            server_name=options.get("servername"),
        )
    return Tcp(parts.hostname, port, tls)


def _exec(text: str, parts: SplitResult) -> Command:
    """Return the command that runs `buildctl dial-stdio` inside BuildKit's container or pod."""
    name = _word(text, unquote(parts.netloc))
    if parts.path not in ("", "/"):
        raise SpecError(f"`{text}` has a path after the name", hint="as in docker-container://NAME")
    if parts.scheme == "kube-pod":
        options = _options(text, parts, ("context", "namespace", "container"))
        flags = {key: f"--{key}={_word(text, value)}" for key, value in options.items() if value}
        before = (flags[key] for key in ("context", "namespace") if key in flags)
        inside = (flags["container"],) if "container" in flags else ()
        argv: tuple[str, ...] = ("kubectl", *before, "exec", *inside, "-i", name, "--")
    elif parts.scheme == "docker-container":
        options = _options(text, parts, ("context",))
        chosen = ("--context", _word(text, options["context"])) if options.get("context") else ()
        argv = ("docker", *chosen, "exec", "-i", name)
    elif parts.scheme == "podman-container":
        _options(text, parts, ())
        argv = ("podman", "exec", "-i", name)
    else:
        options = _options(text, parts, ("namespace",))
        chosen = ("--namespace", _word(text, options["namespace"])) if options.get("namespace") else ()
        argv = ("nerdctl", *chosen, "exec", "-i", name)
    return Command((*argv, "buildctl", "dial-stdio"), text)


def _ssh(text: str, parts: SplitResult) -> tuple[str, ...]:
    """Return the `ssh` command up to the remote program. An address with a password is refused: ssh asks the user."""
    _options(text, parts, ())
    if not parts.hostname:
        raise SpecError(f"no host in `{text}`", hint="as in ssh://user@host")
    if parts.password is not None:
        raise SpecError("an ssh address takes no password", hint="use a key or an agent")
    host = _word(text, parts.hostname)
    user = ("-l", _word(text, unquote(parts.username))) if parts.username else ()
    port = ("-p", str(parts.port)) if parts.port else ()
    return ("ssh", "-o", "ConnectTimeout=30", "-T", *user, *port, "--", host)


def _word(text: str, value: str) -> str:
    """Return `value` if it is a name that no program parses as an option and no shell expands."""
    if not _NAME.fullmatch(value):
        raise SpecError(f"not a name: `{value}` in `{text}`", hint="letters, digits, `-`, `_` and `.`")
    return value
