"""Every kind of address, with the engine under test as the server."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from flyte_images.buildkit.address import Docker
from flyte_images.buildkit.client import connect
from flyte_images.errors import EngineError

from ...fakes.addresses import here, leading, listening, works

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate authority, and its certificates for a server called `localhost` and for a client."""
    directory = tmp_path_factory.mktemp("tls")

    def openssl(*argv: str) -> None:
        subprocess.run(("openssl", *argv), cwd=directory, check=True, capture_output=True)

    new = ("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj")
    openssl(*new, "/CN=authority", "-x509", "-days", "2", "-keyout", "ca-key.pem", "-out", "ca.pem")
    (directory / "names").write_text("subjectAltName=DNS:localhost")
    for name in ("server", "client"):
        openssl(*new, f"/CN={name}", "-keyout", f"{name}-key.pem", "-out", f"{name}.csr")
        signed = ("x509", "-req", "-days", "2", "-CA", "ca.pem", "-CAkey", "ca-key.pem", "-CAcreateserial")
        openssl(*signed, "-in", f"{name}.csr", "-out", f"{name}-cert.pem", "-extfile", "names")
    return directory


def test_tcp() -> None:
    with listening(here(), None) as port:
        works(connect(f"tcp://127.0.0.1:{port}"))


def test_tcp_with_mutual_tls(certificates: Path) -> None:
    files = f"cacert={certificates}/ca.pem&cert={certificates}/client-cert.pem&key={certificates}/client-key.pem"
    with listening(here(), certificates) as port:
        works(connect(f"tcp://localhost:{port}?{files}"))
        works(connect(f"tcp://127.0.0.1:{port}?{files}&servername=localhost"))


def test_a_server_of_another_name_is_refused(certificates: Path) -> None:
    with listening(here(), certificates) as port, pytest.raises(EngineError, match="no TLS with"):
        connect(f"tcp://127.0.0.1:{port}?cacert={certificates}/ca.pem")


def test_a_missing_client_certificate_is_one_clear_error(certificates: Path) -> None:
    with listening(here(), certificates) as port, pytest.raises(EngineError) as caught:
        connect(f"tcp://localhost:{port}?cacert={certificates}/ca.pem")
    assert caught.value.hint


def test_a_missing_certificate_is_named(certificates: Path) -> None:
    with listening(here(), certificates) as port, pytest.raises(EngineError, match=r"gone\.pem"):
        connect(f"tcp://localhost:{port}?cacert={certificates}/gone.pem")


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fake docker, podman, nerdctl, kubectl and ssh: records its arguments, then forwards to the engine."""
    script = tmp_path / "program"
    leading(
        script,
        before="called = ' '.join((os.path.basename(sys.argv[0]), *sys.argv[1:]))\n"
        f"with open({str(tmp_path / 'called')!r}, 'a') as file: print(called, file=file)\n"
        "if 'fails' in sys.argv: sys.exit('no such container: fails')",
    )
    for name in ("docker", "podman", "nerdctl", "kubectl", "ssh"):
        (tmp_path / name).symlink_to(script)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path / "called"


@pytest.mark.parametrize(
    ("address", "argv"),
    [
        ("docker-container://bk?context=far", "docker --context far exec -i bk buildctl dial-stdio"),
        ("podman-container://bk", "podman exec -i bk buildctl dial-stdio"),
        ("nerdctl-container://bk?namespace=n", "nerdctl --namespace n exec -i bk buildctl dial-stdio"),
        (
            "kube-pod://bk-0?namespace=n&context=c&container=x",
            "kubectl --context=c --namespace=n exec --container=x -i bk-0 -- buildctl dial-stdio",
        ),
        (
            "ssh://me@host:2222/run/b.sock",
            "ssh -o ConnectTimeout=30 -T -l me -p 2222 -- host buildctl --addr unix:///run/b.sock dial-stdio",
        ),
    ],
)
def test_through_a_program(program: Path, address: str, argv: str) -> None:
    works(connect(address))
    assert program.read_text().splitlines()[0] == argv


def test_the_error_contains_the_programs_message(program: Path) -> None:
    with pytest.raises(EngineError, match="no such container: fails"):
        connect("docker-container://fails")


def test_a_program_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineError, match="cannot run `podman`"):
        connect("podman-container://bk")


def test_an_address_without_a_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    for address in (f"tcp://127.0.0.1:{port}", "unix:///run/none.sock", f"docker+tcp://127.0.0.1:{port}"):
        with pytest.raises(EngineError, match="cannot connect to") as caught:
            connect(address)
        assert caught.value.hint


def test_an_address_of_another_server() -> None:
    """A server with another protocol is recognized, and does not block the client."""

    def answer(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                with listener.accept()[0] as end:
                    end.recv(1000)
                    end.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer, args=(listener,))
        thread.start()
        port = listener.getsockname()[1]
        with pytest.raises(EngineError, match="404 Not Found"):
            connect(f"docker+tcp://127.0.0.1:{port}")
        with pytest.raises(EngineError):
            connect(f"tcp://127.0.0.1:{port}")
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_a_docker_engine_over_tls(certificates: Path) -> None:
    address = here()
    if not isinstance(address, Docker):
        return  # the engine under test is a stand-alone buildkitd: there is no API to lead to
    api = address.api
    files = f"cacert={certificates}/ca.pem&cert={certificates}/client-cert.pem&key={certificates}/client-key.pem"
    with listening(api, certificates) as port:
        works(connect(f"docker+tcp://localhost:{port}?{files}"))
