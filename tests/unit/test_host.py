"""What of this machine's settings goes to steps, as secrets that are read when they are asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from flyte_images.host import host_secrets
from flyte_images.lower import BUNDLE_PATH, HOST_SETTINGS


def value(secret: object) -> bytes:
    return secret() if callable(secret) else secret  # type: ignore[return-value]


def test_a_machine_without_settings_gives_nothing() -> None:
    assert host_secrets({"HOME": "/h", "PATH": "/bin", "AWS_SECRET_ACCESS_KEY": "x"}) == {}


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE"])
def test_a_bundle_is_a_file_and_every_tool_is_told_of_it(tmp_path: Path, variable: str) -> None:
    (tmp_path / "ca.pem").write_text("certificate")
    found = host_secrets({variable: str(tmp_path / "ca.pem")})
    assert value(found.pop("flyte-images-ca-bundle")) == b"certificate"
    assert {name.removeprefix("flyte-images-env-") for name in found} == {
        *("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO")
    }
    assert {value(secret) for secret in found.values()} == {BUNDLE_PATH.encode()}


def test_a_bundle_that_is_not_there_is_none(tmp_path: Path) -> None:
    assert host_secrets({"SSL_CERT_FILE": str(tmp_path / "gone.pem")}) == {}
    assert host_secrets({"SSL_CERT_FILE": str(tmp_path)}) == {}


def test_proxies_and_indexes_go_by_their_names() -> None:
    environ = {
        "HTTPS_PROXY": "http://me:pw@proxy.test",
        "no_proxy": "*",
        "UV_DEFAULT_INDEX": "https://x.test",
        "A": "b",
    }
    found = host_secrets({**environ, "HTTP_PROXY": ""})
    assert {name: value(secret) for name, secret in found.items()} == {
        "flyte-images-env-HTTPS_PROXY": b"http://me:pw@proxy.test",
        "flyte-images-env-no_proxy": b"*",
        "flyte-images-env-UV_DEFAULT_INDEX": b"https://x.test",
    }


def test_every_secret_is_one_that_steps_ask_for(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("x")
    asked = {it.id for it in HOST_SETTINGS}
    given = host_secrets({it.name: str(tmp_path / "ca.pem") for it in HOST_SETTINGS})
    assert set(given) == {*asked, "flyte-images-ca-bundle"}
