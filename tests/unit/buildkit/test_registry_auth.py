"""Logins are found as Docker finds them, and errors name the damaged file or helper."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from flyte_images.buildkit.registry_auth import DockerLogins, Login
from flyte_images.errors import EngineError


def logins(tmp_path: Path, **config: object) -> DockerLogins:
    (tmp_path / "config.json").write_text(json.dumps(config))
    return DockerLogins(tmp_path / "config.json")


def coded(text: str) -> dict[str, str]:
    return {"auth": base64.b64encode(text.encode()).decode()}


def test_every_form_of_a_key_in_auths(tmp_path: Path) -> None:
    found = logins(
        tmp_path,
        auths={
            "r.example:5000": coded("me:p:w"),
            "https://s.example/v1/": coded("you:pw"),
            "t.example": {"identitytoken": "tok", **coded("me:")},
            "https://index.docker.io/v1/": coded("hub:pw"),
            "empty.example": {},
        },
    )
    assert found("r.example:5000") == Login("me", "p:w")
    assert found("s.example") == Login("you", "pw")
    assert found("t.example") == Login("", "tok")
    assert found("registry-1.docker.io") == found("docker.io") == Login("hub", "pw")
    assert found("empty.example") is None
    assert found("r.example") is None


HELPER = """#!/bin/sh
read host
case $1/$host in
  get/https://index.docker.io/v1/) echo '{"Username": "hub", "Secret": "s1"}' ;;
  get/token.example) echo '{"Username": "<token>", "Secret": "s2"}' ;;
  get/broken.example) echo 'the keychain is locked' >&2; exit 1 ;;
  *) echo 'credentials not found in native keychain'; exit 1 ;;
esac
"""


def test_helpers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helper = tmp_path / "docker-credential-own"
    helper.write_text(HELPER)
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    found = logins(tmp_path, credsStore="own", auths={"plain.example": coded("me:pw")})
    assert found("registry-1.docker.io") == Login("hub", "s1")
    assert found("token.example") == Login("", "s2")
    assert found("plain.example") == Login("me", "pw")
    assert found("unknown.example") is None
    with pytest.raises(EngineError, match="the keychain is locked"):
        found("broken.example")
    one = logins(tmp_path, credHelpers={"token.example": "own", "gone.example": "gone"})
    assert one("token.example") == Login("", "s2")
    with pytest.raises(EngineError, match="`docker-credential-gone` is not installed"):
        one("gone.example")


def test_damage_is_named(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"login for `r\.example` .* is damaged"):
        logins(tmp_path, auths={"r.example": {"auth": "%%%"}})("r.example")
    (tmp_path / "config.json").write_text("[")
    with pytest.raises(EngineError, match="is not JSON"):
        DockerLogins(tmp_path / "config.json")("r.example")


def test_a_secret_is_not_shown() -> None:
    assert "pw" not in repr(Login("me", "pw"))
