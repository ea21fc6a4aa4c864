"""The secrets of a machine's settings reach the steps that need them, and no other place."""

from __future__ import annotations

import hashlib
import io
import os
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from flyte_images.builder import build
from flyte_images.buildkit.client import connect
from flyte_images.errors import FlyteImagesError
from flyte_images.progress import Progress
from tests.fakes.package_index import Index, serve

from .conftest import WORD, Builds, debian, docker

pytestmark = pytest.mark.engine

LOGIN, PROXY, BUNDLE = (f"s3cret-{secrets.token_hex(8)}" for _ in range(3))
TELL = (
    'python -c "import os, hashlib as h; s = lambda b: h.sha256(b).hexdigest(); e = os.environ; '
    "print('UV_DEFAULT_INDEX' in e, s(e['HTTP_PROXY'].encode()), "
    "s(open(e['SSL_CERT_FILE'], 'rb').read()))\""
)


@pytest.fixture(scope="module")
def guarded() -> Iterator[Index]:
    """An index that requires a login."""
    index = Index(login=("robot", LOGIN), guards_files=False)
    index.add(f"{WORD}-private", "1.0")
    with serve(index):
        yield index


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """The certificates of this machine, and a word."""
    usual = os.environ.get("SSL_CERT_FILE") or "/etc/ssl/certs/ca-certificates.crt"
    path = tmp_path / "bundle.pem"
    path.write_text(f"# {BUNDLE}\n" + (Path(usual).read_text() if Path(usual).is_file() else ""))
    return path


@pytest.fixture
def user(guarded: Index, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The environment of a user behind a proxy, with an index that requires a login; the text of the proxy."""
    proxy = f"http://me:{PROXY}@127.0.0.1:9"
    monkeypatch.setenv("UV_DEFAULT_INDEX", guarded.url_with_login)
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    for name in ("HTTP_PROXY", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, proxy)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1,localhost")
    return proxy


def everything_in(ref: str) -> bytes:
    """Names and contents of all files of an image (a tarball is not compressed), its configuration and its history."""
    container = docker("create", ref).strip()
    try:
        files = subprocess.run(("docker", "export", container), capture_output=True, check=True).stdout
    finally:
        docker("rm", "--force", container)
    return files + (docker("image", "inspect", ref) + docker("history", "--no-trunc", ref)).encode()


def test_secrets_reach_only_the_steps_that_need_them(
    builds: Builds, user: str, guarded: Index, bundle: Path, cache: Path
) -> None:
    told = io.StringIO()
    image = debian("secret").with_pip_packages(f"{WORD}-private").with_commands([f"{TELL} # {WORD}"])
    with Progress("json", told) as progress:
        result = build(image, progress=progress)

    digests = [hashlib.sha256(data).hexdigest() for data in (b"http://127.0.0.1:9", bundle.read_bytes())]
    assert " ".join(("False", *digests)) in told.getvalue()  # no index, and a proxy without its login

    places = {
        "the image": everything_in(result.ref),
        "its events": told.getvalue().encode(),
        "the records": b"".join(path.read_bytes() for path in cache.rglob("*") if path.is_file()),
    }
    with connect() as client:
        places["the engine's records"] = repr(client.disk_usage()).encode()
        places["its own words"] = client.read_blob(result.digest)
    for place, data in places.items():
        assert WORD.encode() in data or place == "its own words"
        for secret in (LOGIN, PROXY, BUNDLE):
            assert secret.encode() not in data, place


def test_another_machines_settings_give_the_same_image(
    builds: Builds, user: str, monkeypatch: pytest.MonkeyPatch, guarded: Index
) -> None:
    image = debian("same").with_pip_packages(f"{WORD}-private").with_commands([f"echo {WORD} same"])
    first, _ = builds(image)
    for name in ("HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "SSL_CERT_FILE"):
        monkeypatch.delenv(name)
    again, seen = builds(image.with_env_vars({"A": "1"}))
    assert not [name for name in seen.ran if WORD in name]
    assert again.digest != first.digest


def test_an_error_does_not_contain_secrets(builds: Builds, user: str) -> None:
    wrong = [
        debian("secret").with_pip_packages(f"{WORD}-nowhere"),
        debian("secret").with_commands([f"echo {WORD}; exit 3"]),
    ]
    for image in wrong:
        with pytest.raises(FlyteImagesError) as caught:
            builds(image)
        said = f"{caught.value} {caught.value.hint} {getattr(caught.value, 'log', '')} {caught.value.__dict__}"
        assert not [secret for secret in (LOGIN, PROXY, BUNDLE) if secret in said]


def test_a_build_from_an_index_that_requires_a_login(
    builds: Builds, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    with serve(Index(login=("robot", LOGIN))) as index:
        index.add(f"{WORD}-guarded", "1.0")
        monkeypatch.setenv("UV_DEFAULT_INDEX", index.url_with_login)
        result, _ = builds(debian("guarded").with_pip_packages(f"{WORD}-guarded"))
        assert LOGIN.encode() not in everything_in(result.ref)
        assert not [path for path in cache.rglob("*") if path.is_file() and LOGIN.encode() in path.read_bytes()]
