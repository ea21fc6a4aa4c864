"""Package files that this machine downloads: with the login of their origin, and checked by hash."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from flyte_images.errors import ResolveError
from flyte_images.serving.download import download
from flyte_images.serving.index_logins import find_login
from flyte_images_layers.steps import Wheel
from tests.fakes.package_index import Index, serve

NAME = "alpha-1.0-py3-none-any.whl"


@pytest.fixture
def index() -> Iterator[Index]:
    index = Index(login=("robot", "s3cret"))
    index.add("alpha", "1.0")
    with serve(index):
        yield index


def wheel(index: Index, *, sha256: str = "") -> Wheel:
    content = index.files["alpha"][NAME]
    return Wheel(
        name="alpha",
        version="1.0",
        filename=NAME,
        sha256=sha256 or hashlib.sha256(content).hexdigest(),
        size=len(content),
        url=f"http://{index.address}/files/{NAME}",
    )


@pytest.mark.parametrize(
    ("environ", "found"),
    [
        ({}, None),
        ({"UV_DEFAULT_INDEX": "https://me:pw@index.test/simple"}, ("me", "pw")),
        ({"UV_DEFAULT_INDEX": "https://me:pw@other.test/simple"}, None),
        ({"UV_DEFAULT_INDEX": "https://index.test/simple"}, None),
        ({"UV_INDEX": "corp=https://me:pw@index.test/simple other=https://x.test"}, ("me", "pw")),
        ({"PIP_EXTRA_INDEX_URL": "https://x.test https://me:p%40w@index.test/simple"}, ("me", "p@w")),
        ({"PIP_INDEX_URL": "https://token@index.test/simple"}, ("token", "")),
        (
            {
                "UV_INDEX": "my-corp=https://index.test/simple",
                "UV_INDEX_MY_CORP_USERNAME": "me",
                "UV_INDEX_MY_CORP_PASSWORD": "pw",
            },
            ("me", "pw"),
        ),
        (
            {
                "UV_INDEX": "my.corp=https://other.test/simple",
                "UV_INDEX_MY_CORP_USERNAME": "me",
                "UV_INDEX_MY_CORP_PASSWORD": "pw",
            },
            None,
        ),
        ({"UV_INDEX": "=x =https:// nonsense", "PIP_INDEX_URL": "::"}, None),
    ],
)
def test_logins_come_from_the_settings_of_uv_and_pip(environ: dict[str, str], found: tuple[str, str] | None) -> None:
    assert find_login("https://index.test/files/a.whl", {"HOME": "/nowhere", **environ}) == found


@pytest.mark.parametrize("variable", ["NETRC", "HOME"])
def test_netrc_is_read(tmp_path: Path, variable: str) -> None:
    (tmp_path / ".netrc").write_text("machine index.test login me password pw\n")
    (tmp_path / ".netrc").chmod(0o600)
    place = tmp_path / ".netrc" if variable == "NETRC" else tmp_path
    environ = {variable: str(place)}
    assert find_login("https://index.test/a.whl", environ) == ("me", "pw")
    assert find_login("https://other.test/a.whl", environ) is None


@pytest.mark.parametrize("text", ["machine", "\xff", "machine index.test login"])
def test_a_damaged_netrc_counts_as_missing(tmp_path: Path, text: str) -> None:
    (tmp_path / "netrc").write_bytes(text.encode("latin-1"))
    assert find_login("https://index.test/a.whl", {"NETRC": str(tmp_path / "netrc")}) is None


def test_a_file_behind_a_login_is_fetched_and_checked(index: Index, tmp_path: Path) -> None:
    environ = {"UV_DEFAULT_INDEX": index.url_with_login, "HOME": str(tmp_path)}
    path = download(wheel(index), tmp_path, environ)
    assert path == tmp_path / NAME
    assert path.read_bytes() == index.files["alpha"][NAME]
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("no login", "401"),
        ("wrong login", "401"),
        ("gone", "404"),
        ("sick", "500"),
        ("lie", "the server sends 662 bytes, more than 659"),
        ("other", "is not the file that its index names"),
        ("away", "Connection refused"),
    ],
)
def test_a_failed_download_is_one_error_without_the_login(
    index: Index, tmp_path: Path, fault: str, message: str
) -> None:
    environ = {"UV_DEFAULT_INDEX": index.url_with_login, "HOME": str(tmp_path)}
    package = wheel(index)
    match fault:
        case "no login":
            del environ["UV_DEFAULT_INDEX"]
        case "wrong login":
            environ["UV_DEFAULT_INDEX"] = index.url_with_login.replace("s3cret", "s3cret-too")
        case "gone" | "sick":
            index.faults[NAME] = {"gone": 404, "sick": 500}[fault]
        case "lie":
            index.lies.add(NAME)
        case "other":
            index.files["alpha"][NAME] = bytes(package.size)
        case "away":
            with serve(Index()) as gone:
                pass
            package = dataclasses.replace(package, url=f"http://{gone.address}/files/{NAME}")
    with pytest.raises(ResolveError) as caught:
        download(package, tmp_path, environ)
    assert NAME in str(caught.value) and message in str(caught.value)
    assert caught.value.hint
    assert "s3cret" not in f"{caught.value}{caught.value.hint}"
    assert list(tmp_path.iterdir()) == []


def test_a_login_is_not_sent_to_the_target_of_a_redirect(index: Index, tmp_path: Path) -> None:
    """Many indexes redirect to a storage, which must not see the login."""
    with serve(Index()) as storage:
        storage.add("alpha", "1.0")
        index.moved[NAME] = f"http://{storage.address}/files/{NAME}"
        environ = {"UV_DEFAULT_INDEX": index.url_with_login, "HOME": str(tmp_path)}
        download(wheel(index), tmp_path, environ)
        assert storage.requests == [f"/files/{NAME}"] and storage.logins == [""]
        assert index.logins == ["Basic " + base64.b64encode(b"robot:s3cret").decode()]
