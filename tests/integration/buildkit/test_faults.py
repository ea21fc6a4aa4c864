"""The connection breaks anywhere: a build succeeds or has one clear error, and the next build gives the same image."""

from __future__ import annotations

import contextlib
import json
import os
import random
import secrets
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from flyte_images.buildkit.address import Docker, Unix
from flyte_images.buildkit.client import Client, connect
from flyte_images.buildkit.discovery import choose
from flyte_images.buildkit.events import Event
from flyte_images.buildkit.exporters import Layout, Packing
from flyte_images.buildkit.session import Session
from flyte_images.errors import FlyteImagesError

from ...fakes.busybox import add_layer
from ...fakes.faulty_proxy import Fault, Kind, Proxy, proxy
from .conftest import Base
from .graphs import Graph

pytestmark = pytest.mark.engine

FAULTS = 210
KINDS: tuple[Kind, ...] = ("cut", "half-close", "stall")
PATIENCE = 0.7
PACKING = Packing(
    config=json.dumps({"architecture": "amd64", "os": "linux", "config": {}}), compression="gzip", epoch=1
)


@dataclass(frozen=True)
class Build:
    """A build that no engine has in its cache, and whose image is always the same."""

    definition: bytes
    session: Session
    out: Path

    def run(self, client: Client) -> str:
        done = client.solve(self.definition, session=self.session, exporters=[Layout(dest=self.out, packing=PACKING)])
        return done.exporter_response["containerimage.digest"]


def new_build(base: Base, directory: Path, size: int = 100_000, *, command: bool = True) -> Build:
    """Random bytes are sent to the engine, a command or a copy reads them, and a small image is received."""
    store = directory / "store"
    files = {"noise": secrets.token_bytes(size), "copied/nothing": b""}
    graph = Graph()
    source, path = graph.layout(add_layer(base.directory, base.digest, store, files)), "/copied"
    if command:
        source = graph.run(source, "mkdir /out; echo begin; head -c 0 /noise > /out/nothing; echo end")
        path = "/out"
    head = graph.copy(source, path, "/", timestamp=1_000_000_000)
    return Build(graph.definition(head), Session(stores={"base": store}), directory / "out")


@contextlib.contextmanager
def engine_behind_proxy(directory: Path) -> Iterator[tuple[Proxy, str]]:
    """The engine under test, if it has a socket, through a proxy."""
    address = choose(None, environ=os.environ).address
    socket = address.api if isinstance(address, Docker) else address
    assert isinstance(socket, Unix), f"these tests need the engine's socket, not {address}"
    with proxy(directory / "proxy", socket.path) as running:
        scheme = "docker+unix" if isinstance(address, Docker) else "unix"
        yield running, f"{scheme}://{directory}/proxy"


@dataclass(frozen=True)
class Trial:
    """A fault, the kind of build that meets it, and the digest that the build has without a fault."""

    fault: Fault
    command: bool
    expected: str

    def run(self, base: Base, directory: Path) -> str:
        """Build through the fault, then again without it; return how the first build ended."""
        fault = self.fault
        build = new_build(base, directory, command=self.command)
        with engine_behind_proxy(directory) as (broken, address):
            broken.inject(fault)
            try:
                with connect(address, patience=PATIENCE) as client:
                    assert build.run(client) == self.expected, fault
                ended = "built"
            except FlyteImagesError as error:
                assert error.hint, (fault, error)
                ended = type(error).__name__
            struck = broken.struck.is_set()
            with connect(address) as client:
                assert build.run(client) == self.expected, fault
        return f"{fault.kind}: {ended if struck else 'not reached'}"


def trials(base: Base, directory: Path) -> list[Trial]:
    """Every kind of fault in both directions, anywhere among the bytes of a build; a third of the builds run a command.

    A command costs the engine more than the rest of the build, so most of the builds do without.
    """
    whole: dict[bool, tuple[str, list[int]]] = {}
    for command in (True, False):
        place = directory / str(command)
        place.mkdir()
        with engine_behind_proxy(place) as (proxied, address), connect(address) as client:
            whole[command] = (new_build(base, place, command=command).run(client), proxied.carried)
    chosen = random.Random(20)
    found = []
    for number in range(FAULTS):
        upward, command = number % 2 == 0, number // 6 % 3 == 0
        expected, carried = whole[command]
        fault = Fault(KINDS[number % len(KINDS)], chosen.randrange(carried[upward]), upward)
        found.append(Trial(fault, command, expected))
    return found


def test_two_hundred_broken_connections(base: Base, tmp_path_factory: pytest.TempPathFactory) -> None:
    faults = trials(base, tmp_path_factory.mktemp("f"))
    with ThreadPoolExecutor(6) as pool:
        ended = Counter(pool.map(lambda trial: trial.run(base, tmp_path_factory.mktemp("f")), faults))
    print(dict(ended))
    assert ended.total() == FAULTS
    assert sum(count for how, count in ended.items() if how.endswith("not reached")) < FAULTS // 10


KILLED = """
import sys
from pathlib import Path
from flyte_images.buildkit.client import connect
from flyte_images.buildkit.exporters import Layout
from flyte_images.buildkit.session import Session
definition, store, out = map(Path, sys.argv[1:])
print("begin", flush=True)
with connect() as client:
    session = Session(stores={"base": store})
    client.solve(definition.read_bytes(), session=session, exporters=[Layout(dest=out)])
"""


def test_a_client_that_is_killed_at_any_moment(base: Base, tmp_path_factory: pytest.TempPathFactory) -> None:
    """After a killed client the same build works, gives the same image, and removes the leftovers."""
    expected = ""
    moments = [number / 8 for number in range(8)]
    killed = 0
    with connect() as client:
        for moment in moments:
            directory = tmp_path_factory.mktemp("k")
            build = new_build(base, directory, 8_000_000)
            (directory / "definition").write_bytes(build.definition)
            argv = (
                sys.executable,
                "-c",
                KILLED,
                str(directory / "definition"),
                str(directory / "store"),
                str(build.out),
            )
            environ = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
            with subprocess.Popen(argv, env=environ, stdout=subprocess.PIPE) as process:
                assert process.stdout
                assert process.stdout.readline() == b"begin\n"
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(moment)
                process.kill()
            killed += process.returncode < 0
            expected = expected or build.run(client)
            assert build.run(client) == expected
            assert {path.name for path in build.out.iterdir()} == {"blobs", "index.json", "oci-layout"}
    assert killed > len(moments) // 3


class Enough(Exception):
    """Raised by a listener, to end a build."""


@pytest.mark.parametrize("how", ["cut", "stall", "cancel"])
def test_a_large_blob_after_a_broken_transfer(base: Base, tmp_path: Path, how: str) -> None:
    """BuildKit keeps the first part of the blob, and cannot continue from there."""
    store = tmp_path / "store"
    noisy = add_layer(base.directory, base.digest, store, {"noise": secrets.token_bytes(12_000_000)})
    graph = Graph()
    definition = graph.definition(graph.copy(graph.layout(noisy), "/noise", "/noise"))
    build = Build(definition, Session(stores={"base": store}), tmp_path / "out")
    with engine_behind_proxy(tmp_path) as (broken, address):

        def listen(event: Event) -> None:
            if how == "cancel" and broken.carried[True] > 6_000_000:
                raise Enough

        if how in ("cut", "stall"):
            broken.inject(Fault("cut" if how == "cut" else "stall", 6_000_000, True))
        with contextlib.suppress(FlyteImagesError, Enough), connect(address, patience=PATIENCE) as client:
            client.solve(definition, session=build.session, on_event=listen)
        assert broken.struck.is_set() or how == "cancel"
        assert broken.carried[True] > 6_000_000
        with connect(address) as client:
            build.run(client)
    left = subprocess.run(("docker", "images", "-q", "flyte-images-transfer"), check=True, capture_output=True)
    assert not left.stdout
