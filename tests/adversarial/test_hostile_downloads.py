"""Downloads: the logins and command lines that others may see, and the end after a signal."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from flyte_images.errors import ResolveError
from flyte_images.resolve import uv, wheel_contents
from flyte_images.resolve.target import Target
from flyte_images.serving.download import Patience, download
from flyte_images_layers import PythonRequirements
from flyte_images_layers.steps import Wheel
from tests.adversarial import hostile_index
from tests.adversarial.hostile_index import WAYS, WHEEL, Case, Sender
from tests.fakes.package_index import Index, serve

ROOT = Path(__file__).parents[2]
TARGET = Target(python="3.11", platform="linux/amd64", libc="2.36")


def environ_of(tmp_path: Path, **more: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path / "home"),
        "UV_NO_CACHE": "1",
        "UV_HTTP_RETRIES": "0",
        "FLYTE_IMAGES_CACHE": str(tmp_path / "cache"),
        **more,
    }


def wheel_at(address: str) -> Wheel:
    content = hostile_index.contents()["wheel"]
    return Wheel(
        name="alpha",
        version="1.0",
        filename=WHEEL,
        sha256=hashlib.sha256(content).hexdigest(),
        size=len(content),
        url=f"http://{address}/files/{WHEEL}",
    )


@pytest.mark.parametrize("where", ["another port", "another scheme", "a redirect to another port"])
def test_a_login_goes_to_its_origin_alone(tmp_path: Path, where: str) -> None:
    """D19: a login for a port of a host went to its other ports, and from https to http."""
    with serve(Index()) as other, serve(Index(login=("robot", "s3cret"))) as own:
        for index in (own, other):
            index.add("alpha", "1.0")
        settings = own.url_with_login
        at = other.address
        if where == "another scheme":
            settings = settings.replace("http://", "https://").replace(own.address, other.address)
        if where == "a redirect to another port":
            own.moved[WHEEL], at = f"http://{other.address}/files/{WHEEL}", own.address
        environ = environ_of(tmp_path, UV_DEFAULT_INDEX=settings)
        content = other.files["alpha"][WHEEL]
        sha256 = hashlib.sha256(content).hexdigest()
        package = Wheel(
            name="alpha", version="1.0", filename=WHEEL, sha256=sha256, size=0, url=f"http://{at}/files/{WHEEL}"
        )
        wheel_contents.shared([package], environ)
        download(package, tmp_path, environ)
    assert other.requests and set(other.logins) == {""}


@pytest.mark.parametrize("setting", ["PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX"])
def test_a_password_is_on_no_command_line(tmp_path: Path, setting: str) -> None:
    """D5: PIP_INDEX_URL with a password became an option of uv, which every user of the machine can read."""
    seen: list[bytes] = []

    def look(path: str) -> tuple[Sender, bytes]:
        seen.extend(_command_lines(os.getpid()))  # uv waits for this answer
        return WAYS["404"], b""

    logins: list[str] = []
    with hostile_index.serve(look, logins) as address:
        settings = {setting: f"http://robot:s3cret@{address}/simple"}
        if "EXTRA" in setting or setting == "UV_INDEX":
            settings["UV_DEFAULT_INDEX"] = f"http://{address}/simple"
        with pytest.raises(ResolveError) as caught:
            uv.ask([PythonRequirements(requirements=("alpha",))], TARGET, environ=environ_of(tmp_path, **settings))
    assert any(b"compile" in line for line in seen) and not [line for line in seen if b"s3cret" in line]
    assert "s3cret" not in str(caught.value)


def _command_lines(parent: int) -> list[bytes]:
    """Return the command lines of the children of `parent`, and of their children."""
    found = []
    for child in Path(f"/proc/{parent}/task").glob("*/children"):
        for pid in map(int, child.read_text().split()):
            found += [Path(f"/proc/{pid}/cmdline").read_bytes(), *_command_lines(pid)]
    return found


CLIENT = """
import os, sys
from flyte_images.cli.interrupt import Activity
from flyte_images.resolve import wheel_contents as contents, uv
from flyte_images.resolve.target import Target
from flyte_images_layers import PythonRequirements
from flyte_images_layers.steps import Wheel

what, address = sys.argv[1:]
activity = Activity()
with activity.interruptible():
    try:
        if what == "uv":
            target = Target(python="3.11", platform="linux/amd64", libc="2.36")
            uv.ask([PythonRequirements(requirements=("alpha",))], target, environ=dict(os.environ))
        else:
            url = f"http://{address}/files/alpha-1.0-py3-none-any.whl"
            name = "alpha-1.0-py3-none-any.whl"
            contents.shared(
                [Wheel(name="alpha", version="1.0", filename=name, sha256="0" * 64, size=9, url=url)], os.environ
            )
    except KeyboardInterrupt:
        sys.exit(activity.exit_code)
sys.exit(99)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("what", ["uv", "a thread"])
def test_the_first_signal_ends_a_download(tmp_path: Path, what: str, number: signal.Signals) -> None:
    """D18: while uv or a thread waited for a slow server, the first signal did nothing."""
    asked, gone = threading.Event(), threading.Event()

    def slow(path: str) -> tuple[Sender, bytes]:
        def send(write: hostile_index.Send, content: bytes, part: str, own: str) -> None:
            asked.set()
            write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\nContent-Type: application/json\r\n\r\n")
            try:
                while True:
                    gone.wait(0.1)
                    write(b"x" * 1024)  # fast enough not to be refused as too slow
            except OSError:
                gone.set()

        return send, b""

    with hostile_index.serve(slow, []) as address:
        environ = environ_of(tmp_path, UV_DEFAULT_INDEX=f"http://{address}/simple")
        argv = (sys.executable, "-c", CLIENT, what, address)
        with subprocess.Popen(argv, env=environ, cwd=ROOT) as client:
            assert asked.wait(60)
            client.send_signal(number)
            try:
                assert client.wait(30) == 128 + number
            finally:
                client.kill()
        assert gone.wait(30), "uv still waits"


@pytest.mark.parametrize("way", sorted(set(WAYS) - {"whole"}))
def test_each_way_of_sending_ends_in_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """D18: a response that is too long, too slow or invalid is an error, and no file is left."""
    monkeypatch.setattr(wheel_contents, "_PATIENCE", Patience(window=0.3))
    logins: list[str] = []
    with hostile_index.serve(lambda path: (WAYS[way], hostile_index.contents()["wheel"]), logins) as address:
        package, folder = wheel_at(address), tmp_path / "folder"
        folder.mkdir()
        with pytest.raises(
            ResolveError, match=f"^{WHEEL} (cannot be fetched from|is not the file that its index names)"
        ) as caught:
            download(package, folder, {"HOME": str(tmp_path)}, patience=Patience(window=0.3))
        assert not list(folder.iterdir()) and len(str(caught.value)) < 1000
        assert wheel_contents.shared([package], environ_of(tmp_path)) == ((), ("alpha",))


def real_uv(tmp_path: Path, number: int) -> str:
    """Return the result of real uv and the resolver for a case: the chosen name, or the type of the error."""
    case = Case.of(number)
    with hostile_index.serve(lambda path: _site(path, case, address), []) as address:
        environ = environ_of(tmp_path, UV_DEFAULT_INDEX=f"http://{address}/simple")
        try:
            answer = uv.ask([PythonRequirements(requirements=("alpha",))], TARGET, environ=environ)
        except ResolveError as error:
            assert error.hint and "Traceback" not in str(error)
            return "ResolveError"
        [file] = answer.files
        return file.filename


def _site(path: str, case: Case, address: str) -> tuple[Sender, bytes]:
    package = case.package(address, "/tmp/outside/authorized_keys")
    if path.startswith("/simple/"):
        body = hostile_index.page(package, address)
        return _json(body), b""
    if path.endswith(".metadata"):
        return WAYS["404"], b""
    return hostile_index.of_path(path)


def _json(body: bytes) -> Sender:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.pypi.simple.v1+json\r\nContent-Length: {len(body)}\r\n"
    return lambda send, content, part, own: send(f"{head}Connection: close\r\n\r\n".encode() + body)


def test_real_uv_and_what_it_makes_of_hostile_addresses(tmp_path: Path) -> None:
    """D1: with real uv, a file is chosen under a valid name, or the result is an error."""
    honest = [number for number in range(400) if Case.of(number).way in ("whole", "404", "a page", "closed")]
    ends: Mapping[int, str] = {number: real_uv(tmp_path, number) for number in honest[:12]}
    assert set(ends.values()) <= {"ResolveError", WHEEL, hostile_index.SDIST} and WHEEL in ends.values()
    assert not json.dumps(ends).count("..")
