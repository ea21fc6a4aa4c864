"""The settings of this machine that steps receive, as secrets that are read when a step asks for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from flyte_images.errors import SpecError
from flyte_images.image import Image
from flyte_images.plan.lower import BUNDLE_PATH, HOST_SETTINGS
from flyte_images.plan.planner import plan
from flyte_images.serving.host_settings import host_secrets, step_secrets
from flyte_images_runtime.resources.request import Resources
from tests.fakes import values


def value(secret: object) -> bytes:
    return secret() if callable(secret) else secret  # type: ignore[return-value]


def test_a_machine_without_settings_gives_nothing() -> None:
    assert host_secrets({"HOME": "/h", "PATH": "/bin", "AWS_SECRET_ACCESS_KEY": "x"}) == {}


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE"])
def test_a_bundle_is_a_file_and_every_tool_gets_its_path(tmp_path: Path, variable: str) -> None:
    (tmp_path / "ca.pem").write_text("certificate")
    found = host_secrets({variable: str(tmp_path / "ca.pem")})
    assert value(found.pop("flyte-images-ca-bundle")) == b"certificate"
    assert {name.removeprefix("flyte-images-env-") for name in found} == {
        *("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO")
    }
    assert {value(secret) for secret in found.values()} == {BUNDLE_PATH.encode()}


def test_a_missing_bundle_is_ignored(tmp_path: Path) -> None:
    assert host_secrets({"SSL_CERT_FILE": str(tmp_path / "gone.pem")}) == {}
    assert host_secrets({"SSL_CERT_FILE": str(tmp_path)}) == {}


def test_steps_receive_proxies_and_no_logins() -> None:
    """D20"""
    environ = {
        "HTTPS_PROXY": "http://me:pw@proxy.test",
        "no_proxy": "*",
        "UV_DEFAULT_INDEX": "https://x.test",
        "A": "b",
    }
    found = host_secrets({**environ, "HTTP_PROXY": ""})
    assert {name: value(secret) for name, secret in found.items()} == {
        "flyte-images-env-HTTPS_PROXY": b"http://proxy.test",
        "flyte-images-env-no_proxy": b"*",
    }


def test_steps_ask_for_every_secret(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("x")
    asked = {it.id for it in HOST_SETTINGS}
    given = host_secrets({it.name: str(tmp_path / "ca.pem") for it in HOST_SETTINGS})
    assert set(given) == {*asked, "flyte-images-ca-bundle"}


def test_steps_receive_their_limits_and_the_secrets_that_they_name() -> None:
    """D20, D22"""
    image = Image.from_debian_base("3.11", platform="linux/amd64").with_commands(
        ["make"], secret_mounts="my-token", limits=Resources(mem="1Gi"), timeout=60
    )
    planned = plan(image, lock=values.locked(image), platform="linux/amd64", contents=values.contents(image))
    given = step_secrets(planned, {"MY_TOKEN": "sesame", "OTHER": "x"})
    assert sorted(given.values(), key=str) == [b"1073741824 8192 60", b"sesame"]  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="there is no value for the secret `my-token`") as caught:
        step_secrets(planned, {})
    assert caught.value.location == image.layers[0].location
