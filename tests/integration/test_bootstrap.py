"""A real Debian base, made once: killed and concurrent processes, the content of the base, and images on it."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from flyte_images import llb
from flyte_images.bootstrap.base_image import BaseImage
from flyte_images.bootstrap.base_record import recorded_base
from flyte_images.bootstrap.catalog import BootstrappedBase, list_bases
from flyte_images.bootstrap.make import bootstrap
from flyte_images.bootstrap.select import find_base
from flyte_images.buildkit import exporters
from flyte_images.buildkit.build_context import BuildContext
from flyte_images.buildkit.client import Client, connect
from flyte_images.buildkit.session import Session
from flyte_images.errors import ResolveError
from flyte_images.store.cache_dir import layout_dir
from flyte_images.store.oci_layout import Layout
from flyte_images_layers import DebianBase, ReferenceBase

from ..fakes.registry import Registry, serve

pytestmark = [pytest.mark.engine, pytest.mark.network]

_MAKE = """
import os, sys
from flyte_images.bootstrap.make import bootstrap
print(bootstrap(sys.argv[1], environ=os.environ, note=lambda text: print(text, flush=True)).manifest.digest)
"""


@dataclass
class Making:
    """A process that makes bookworm, and the lines that it has printed."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)

    def until(self, text: str) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.strip())
            if text in line:
                return
        raise AssertionError(f"no `{text}` in {self.lines}")

    def end(self) -> str:
        assert self.process.stdout is not None
        self.lines += [line.strip() for line in self.process.stdout]
        assert self.process.wait() == 0, self.lines
        return self.lines[-1]


@contextlib.contextmanager
def making(environ: dict[str, str]) -> Iterator[Making]:
    argv = (sys.executable, "-c", _MAKE, "bookworm")
    with subprocess.Popen(argv, env=environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            yield Making(process)
        finally:
            process.send_signal(signal.SIGINT)


@dataclass(frozen=True)
class Made:
    """The base. One process was killed while it made the base, and two others waited for the result."""

    base: BootstrappedBase
    environ: dict[str, str]
    notes: tuple[list[str], ...]
    temporary: Path

    @property
    def found(self) -> BaseImage:
        found = recorded_base(DebianBase(python="3.11"), PLATFORM, self.environ)
        assert found is not None
        return found

    @property
    def session(self) -> Session:
        return Session(stores={"base": layout_dir(self.environ)})

    @property
    def state(self) -> llb.State:
        return llb.oci_layout(self.found.reference, store="base", platform=llb.Platform.parse(PLATFORM))


@pytest.fixture(scope="module")
def made() -> Iterator[Made]:
    with tempfile.TemporaryDirectory(prefix="bootstrap-") as name:
        place = Path(name)
        place.chmod(0o755)  # without root, mmdebstrap is another user
        (temporary := place / "tmp").mkdir()
        environ = {**os.environ, "FLYTE_IMAGES_CACHE": str(place / "cache"), "TMPDIR": str(temporary)}
        with contextlib.ExitStack() as stack:
            killed = stack.enter_context(making(environ))
            killed.until("fetching the package lists")
            heir, other = (stack.enter_context(making(environ)) for _ in range(2))
            heir.until("another process")
            other.until("another process")
            killed.until("installing packages")
            killed.process.kill()
            digests = {heir.end(), other.end()}
        bases = list_bases(environ)
        assert digests == {base.manifest.digest for base in bases}
        yield Made(bases[0], environ, (heir.lines, other.lines), temporary)


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """The engine, without the cached steps of these tests."""
    with connect() as connected:
        yield connected
        for record in connected.disk_usage():
            if re.search(r"/script/inside\.py|mkfile /inside\.py|print\('[0-9a-f]{16}'\)", record.description):
                connected.prune(f"id=={record.id}", all=True)


@pytest.fixture(scope="module")
def inside(made: Made, client: Client) -> dict[str, object]:
    """The report of inside.py, which runs in the base."""
    script = (Path(__file__).parent / "bootstrap_inside.py").read_bytes()
    platform = llb.Platform.parse(PLATFORM)
    mounts = [llb.output("/out"), llb.bind("/script", llb.file(llb.scratch(), [llb.mkfile("/inside.py", script)]))]
    env = dict(item.partition("=")[::2] for item in json.loads(made.found.config)["config"]["Env"])
    seen = llb.run(
        made.state,
        ("python3", "/script/inside.py", secrets.token_hex(8)),
        env=env,
        platform=platform,
        network=llb.Network.UNSET,
        mounts=mounts,
    )
    with tempfile.TemporaryDirectory() as place:
        solve(client, seen.output("/out"), made.session, exporters.Files(dest=Path(place)))
        return dict(json.loads(Path(place, "seen.json").read_bytes()))


PLATFORM = str(llb.Platform.parse(f"linux/{os.uname().machine}"))


def solve(client: Client, state: llb.State, session: Session, *wanted: exporters.Exporter) -> None:
    client.solve(llb.marshal(state).to_pb().SerializeToString(), session=session, exporters=wanted)


def members(made: Made, base: BootstrappedBase, environ: dict[str, str]) -> dict[str, tuple[tarfile.TarInfo, bytes]]:
    layout = Layout(layout_dir(environ))
    (layer,) = layout.manifest(base.manifest.digest)["layers"]
    with tarfile.open(layout.path(layer["digest"])) as tar:
        return {it.name: (it, file.read() if it.isreg() and (file := tar.extractfile(it)) else b"") for it in tar}


def test_a_killed_process_leaves_nothing(made: Made) -> None:
    deadline = time.monotonic() + 30
    while (left := processes(str(made.temporary))) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left
    assert not list(made.temporary.iterdir())
    assert str(made.temporary) not in Path("/proc/self/mountinfo").read_text()


def test_one_process_makes_the_base_and_the_other_uses_it(made: Made) -> None:
    working = [any("installing" in line for line in lines) for lines in made.notes]
    assert sorted(working) == [False, True]


def test_the_same_packages_are_the_same_image_on_another_machine(made: Made) -> None:
    """Another directory, a proxy, another time zone and another umask change no byte of the image."""
    with forwarding() as proxy, tempfile.TemporaryDirectory(prefix="bootstrap-") as name:
        Path(name).chmod(0o755)
        address = f"127.0.0.1:{proxy.server_address[1]}"
        environ = {
            **os.environ,
            "FLYTE_IMAGES_CACHE": f"{name}/cache",
            "TMPDIR": name,
            "TZ": "Asia/Tokyo",
            "LANG": "tr_TR.UTF-8",
            "http_proxy": f"http://{address}",
        }
        before = os.umask(0o077)
        try:
            with making(environ) as second:
                second.end()
        finally:
            os.umask(before)
        (base,) = list_bases(environ)
        assert len(proxy.fetched) >= len(base.packages), proxy.fetched
        assert (base.manifest == made.base.manifest) == (base.packages == made.base.packages)
        for name, (_, data) in members(made, base, environ).items():
            assert address.encode() not in data, name


def test_the_base_holds_nothing_of_the_day_or_the_machine(made: Made) -> None:
    found = members(made, made.base, made.environ)
    for name in ("etc/hostname", "etc/resolv.conf", "etc/machine-id", "etc/apt/sources.list"):
        assert name not in found
    leftovers = ("var/lib/apt/lists/", "var/cache/apt/archives/", "var/log/", "var/cache/ldconfig/", "tmp/", "run/")
    files = [name for name, (it, _) in found.items() if it.isreg()]
    assert not [name for name in files if name.startswith(leftovers)]
    assert not [name for name in files if name.startswith(("usr/share/man/", "usr/share/info/"))]
    assert not [name for name in files if name.startswith("usr/share/doc/") and not name.endswith("/copyright")]
    assert max(it.mtime for it, _ in found.values()) < time.time() - 3600
    assert {(it.uname, it.gname) for it, _ in found.values()} == {("", "")}


def test_the_record_names_the_releases_and_packages(made: Made) -> None:
    base = made.base
    assert {release.suite for release in base.releases} == {"bookworm", "bookworm-updates", "bookworm-security"}
    assert all(len(release.lists) == 1 for release in base.releases)
    assert {"python3", "ca-certificates", "tzdata", "apt", "libc6"} <= {package.name for package in base.packages}
    config = Layout(layout_dir(made.environ)).config(base.manifest.digest)
    assert config["created"] == base.created < base.state
    assert config["config"]["Cmd"] == ["python3"]
    assert made.found.libc == "2.36"


def test_python_and_apt_are_complete_in_the_base(inside: dict[str, object]) -> None:
    assert inside["python"] == [3, 11]
    assert inside["executable"] == "/usr/bin/python3"
    assert inside["encodings"] == ["utf-8", "utf-8", "utf-8"]
    assert int(str(inside["authorities"])) > 100
    assert inside["zone"] == "CET"
    assert inside["venv"] == "/tmp/venv"
    assert inside["compiled_again"] == []
    assert inside["audit"] == ""
    assert inside["hello"] == "Hello, world!"
    assert inside["hello_documents"] == ["/usr/share/doc/hello/copyright"]
    assert inside["kept_packages"] == []


def test_the_base_runs_with_a_read_only_root(made: Made, client: Client) -> None:
    name = f"docker.io/library/flyte-images-test-{secrets.token_hex(4)}:1"
    with stored(client, made, name):
        program = "import sys, ssl, zoneinfo; zoneinfo.ZoneInfo('Asia/Tokyo'); print(sys.stdout.encoding, 'ä')"
        argv = ("docker", "run", "--rm", "--read-only", "--network=none", name, "python3", "-c", program)
        assert subprocess.run(argv, check=True, capture_output=True, text=True).stdout == "utf-8 ä\n"


def test_an_image_in_the_engine_is_a_base_without_a_registry(made: Made, client: Client, tmp_path: Path) -> None:
    """No registry has Python 3.97, so the image is the engine's."""
    notes: list[str] = []
    environ = {"FLYTE_IMAGES_CACHE": str(tmp_path)}
    wanted = DebianBase(python="3.97")
    with stored(client, made, "docker.io/library/python:3.97-slim-bookworm"):
        found = find_base(wanted, PLATFORM, BuildContext(environ=environ, connect=lambda: client, note=notes.append))
        assert (found.origin, found.python_path) == ("engine", "/usr/local/bin/python3.97")
        assert found.reference == f"docker.io/library/python:3.97-slim-bookworm@{found.digest}"
        assert json.loads(found.config)["rootfs"] == json.loads(made.found.config)["rootfs"]
        assert notes == ["base: python:3.97-slim-bookworm in the engine"]
        assert recorded_base(wanted, PLATFORM, environ) == found
        by_name = ReferenceBase(reference="python:3.97-slim-bookworm")
        named = find_base(by_name, PLATFORM, BuildContext(environ=environ, connect=lambda: client, note=notes.append))
        assert (named.origin, named.reference, named.python_path) == ("engine", found.reference, "")
        platform = llb.Platform.parse(PLATFORM)
        by_tag = found.reference.partition("@")[0]  # Docker 26 asks a registry for a digest, even of what it has
        base = llb.image(by_tag, platform=platform, resolve_mode="local")
        step = llb.run(base, ("python3", "-c", f"print('{secrets.token_hex(8)}')"), env=_PATH, platform=platform)
        solve(client, step.root, Session())


def test_an_image_in_a_registry_is_a_base(made: Made, client: Client, tmp_path: Path) -> None:
    environ = {"FLYTE_IMAGES_CACHE": str(tmp_path)}
    with serve(Registry()) as registry:
        name = f"{registry.address}/team/base:1"
        solve(client, made.state, made.session, exporters.Image(names=(name,), push=True, store=False))
        wanted = ReferenceBase(reference=name)
        found = find_base(wanted, PLATFORM, BuildContext(environ=environ, connect=lambda: client))
    assert (found.origin, found.reference) == ("registry", f"{name}@{found.digest}")
    assert json.loads(found.config)["rootfs"] == json.loads(made.found.config)["rootfs"]
    assert recorded_base(wanted, PLATFORM, environ) == found  # though the registry is gone


def test_an_archive_that_does_not_answer_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    environ = refused(tmp_path, "http://127.0.0.1:1/debian")
    with pytest.raises(
        ResolveError, match=r"`http://127\.0\.0\.1:1/debian` gives no package lists of bookworm"
    ) as raised:
        bootstrap("bookworm", environ=environ, note=lambda text: None)
    assert "network" in str(raised.value.hint)
    assert not list((tmp_path / "tmp").iterdir())
    assert not [path for path in layout_dir(environ).rglob("*") if path.is_file() and path.name != ".lock"]


def test_an_archive_without_debians_signature_is_refused(tmp_path: Path) -> None:
    for name in ("debian/dists/bookworm", "debian/dists/bookworm-updates", "debian-security/dists/bookworm-security"):
        lists = tmp_path / name / "main" / f"binary-{debian_architecture()}"
        lists.mkdir(parents=True)
        (lists / "Packages").write_text("")
        release = "Codename: x\nDate: Sat, 21 Nov 2026 09:15:44 UTC\nSHA256:\n"
        (tmp_path / name / "Release").write_text(release)
    tmp_path.chmod(0o755)
    with pytest.raises(ResolveError, match="not signed") as raised:
        bootstrap("bookworm", environ=refused(tmp_path, f"file://{tmp_path}/debian"), note=lambda text: None)
    assert "debian-archive-keyring" in str(raised.value.hint)
    assert not list((tmp_path / "tmp").iterdir())


def refused(place: Path, mirror: str) -> dict[str, str]:
    (place / "tmp").mkdir()
    mine = {"FLYTE_IMAGES_CACHE": str(place / "cache"), "TMPDIR": str(place / "tmp")}
    return {**os.environ, **mine, "FLYTE_IMAGES_DEBIAN_MIRROR": mirror}


def debian_architecture() -> str:
    return subprocess.run(("dpkg", "--print-architecture"), check=True, capture_output=True, text=True).stdout.strip()


_PATH = {"PATH": "/usr/bin:/bin"}


@contextlib.contextmanager
def stored(client: Client, made: Made, name: str) -> Iterator[None]:
    """The base as an image of that name in the engine."""
    config = exporters.Packing(config=made.found.config)
    solve(client, made.state, made.session, exporters.Image(names=(name,), packing=config))
    try:
        yield
    finally:
        subprocess.run(("docker", "image", "rm", name), check=True, capture_output=True)


def processes(text: str) -> list[str]:
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if text in (line := (directory / "cmdline").read_bytes().decode(errors="replace")):
                found.append(line)
    return found


class Forwarding(http.server.ThreadingHTTPServer):
    """A proxy for plain HTTP that records the addresses that it fetched."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), ForwardingHandler)
        self.fetched: list[str] = []


class ForwardingHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Forwarding

    def do_GET(self) -> None:
        self.server.fetched.append(self.path)
        wanted = {name: self.headers[name] for name in ("If-Modified-Since", "Range", "Accept") if self.headers[name]}
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            answer = opener.open(urllib.request.Request(self.path, headers=wanted), timeout=60)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            body = answer.read()
            self.send_response(answer.status)
            for name in ("Last-Modified", "Content-Type", "Content-Range"):
                if answer.headers[name]:
                    self.send_header(name, answer.headers[name])
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextlib.contextmanager
def forwarding() -> Iterator[Forwarding]:
    with Forwarding() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
