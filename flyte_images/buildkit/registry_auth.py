"""The user's logins to registries, from Docker's config.json and its credential helpers."""

from __future__ import annotations

import base64
import binascii
import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import EngineError

_HUB = "https://index.docker.io/v1/"
_HUB_HOSTS = ("registry-1.docker.io", "index.docker.io", "docker.io")
_NOT_FOUND = "credentials not found in native keychain"  # the helpers' protocol: exactly this text on standard output


@dataclass(frozen=True, slots=True)
class Login:
    """A user name and its secret. With an empty name, the secret is an identity token."""

    username: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class DockerLogins:
    """The logins that `docker login` writes to `file`, usually ~/.docker/config.json.

    Each call reads the file again, so that a short-lived login may be renewed while a build runs.

    >>> DockerLogins(Path("/nonexistent"))("registry.example") is None
    True
    """

    file: Path

    def __call__(self, host: str) -> Login | None:
        """Return the login for the host of a registry, named as the engine names the host, or None.

        Raises EngineError if the file or a credential helper cannot be used.
        """
        config = self._read()
        keys = (_HUB, *_HUB_HOSTS) if host in _HUB_HOSTS else (host, f"https://{host}", f"http://{host}")
        helpers = _mapping(config.get("credHelpers"))
        for key in keys:
            if isinstance(helper := helpers.get(key), str):
                return _ask(helper, key)
        if isinstance(helper := config.get("credsStore"), str) and helper:
            for key in keys[:2]:
                if login := _ask(helper, key):
                    return login
        entries = {_host(key): value for key, value in _mapping(config.get("auths")).items()}
        for key in keys:
            if login := self._entry(key, _mapping(entries.get(_host(key)))):
                return login
        return None

    def _read(self) -> Mapping[str, object]:
        try:
            text = self.file.read_text(encoding="utf-8")
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise EngineError(f"cannot read `{self.file}`: {error.strerror}") from None
        try:
            return _mapping(json.loads(text))
        except ValueError as error:
            raise EngineError(f"`{self.file}` is not JSON: {error}", hint="repair it, or log in again") from None

    def _entry(self, key: str, entry: Mapping[str, object]) -> Login | None:
        token, username, password = (str(entry.get(name) or "") for name in ("identitytoken", "username", "password"))
        if token:
            return Login("", token)
        if coded := str(entry.get("auth") or ""):
            try:
                username, _, password = base64.b64decode(coded, validate=True).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                raise EngineError(f"the login for `{key}` in `{self.file}` is damaged", hint="log in again") from None
        return Login(username, password.rstrip("\0")) if username else None


def docker_config_file() -> Path:
    """Return the path of Docker's settings, in the directory DOCKER_CONFIG or ~/.docker."""
    return Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"


def _ask(helper: str, key: str) -> Login | None:
    program = f"docker-credential-{helper}"
    try:
        done = subprocess.run((program, "get"), input=key.encode(), capture_output=True, timeout=60, check=False)
    except FileNotFoundError:
        raise EngineError(
            f"the credential helper `{program}` is not installed", hint="install it, or remove it from config.json"
        ) from None
    except subprocess.TimeoutExpired:
        raise EngineError(f"the credential helper `{program}` did not answer for `{key}` within a minute") from None
    if done.returncode:
        message = (done.stdout.strip() or done.stderr.strip()).decode("utf-8", "replace")
        if message == _NOT_FOUND:
            return None
        raise EngineError(f"the credential helper `{program}` failed for `{key}`: {message}")
    try:
        answer = _mapping(json.loads(done.stdout))
    except ValueError:
        raise EngineError(f"the credential helper `{program}` did not answer with JSON for `{key}`") from None
    username, secret = str(answer.get("Username") or ""), str(answer.get("Secret") or "")
    return Login("" if username == "<token>" else username, secret) if secret else None


def _host(key: str) -> str:
    """Return the host in a key of `auths`: some tools write keys with a scheme and a path.

    >>> _host("https://registry.example/v2/"), _host("https://index.docker.io/v1/")
    ('registry.example', 'index.docker.io')
    """
    return key.partition("://")[2].partition("/")[0] if "://" in key else key.partition("/")[0]


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}
