"""Killed processes, stopped engines, full disks and shared steps: a build succeeds or has one clear error."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from flyte_images import llb
from flyte_images.buildkit.client import Client, connect
from flyte_images.buildkit.events import Event, VertexLog
from flyte_images.buildkit.exporters import Image, Layout, Moby, Packing
from flyte_images.buildkit.session import Session
from flyte_images.context import PLATFORM, Source, pack
from flyte_images.errors import EngineError, FlyteImagesError

from ...fakes.clock import eventually
from ...fakes.engines import Engine, private_engine
from .conftest import Base
from .graphs import Graph, salt

pytestmark = pytest.mark.engine

BUILD = """
import sys
from pathlib import Path
from flyte_images import llb
from flyte_images.buildkit.client import Client, connect
from flyte_images.buildkit.events import VertexLog
from flyte_images.buildkit.session import Session
def tell(event):
    if isinstance(event, VertexLog): print(event.data.decode(), end="", flush=True)
with connect() as client:
    client.solve(Path(sys.argv[1]).read_bytes(), session=Session(stores={"base": Path(sys.argv[2])}), on_event=tell)
print("done")
"""


def build_elsewhere(
    tmp_path: Path, base: Base, definition: bytes, environ: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """Run the same build in another process; the output of the process is the output of the steps."""
    file = tmp_path / f"definition-{salt()}"
    file.write_bytes(definition)
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), **(environ or {})}
    argv = (sys.executable, "-c", BUILD, str(file), str(base.directory))
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ)


def running(mark: str) -> bool:
    """Return whether a step with this mark runs on this machine."""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if mark.encode() in file.read_bytes() and int(file.parent.name) != os.getpid():
                return True
        except OSError:
            pass
    return False


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_step_of_a_client_that_ends_is_ended(tmp_path: Path, base: Base, how: signal.Signals) -> None:
    graph, mark = Graph(), salt()
    head = graph.run(graph.layout(base.digest), f"echo going; sleep 600; echo {mark}")
    with build_elsewhere(tmp_path, base, graph.definition(head)) as process:
        assert line(process) == "going"
        assert running(mark)
        process.send_signal(how)
        _, said = process.communicate()
        assert "KeyboardInterrupt" in said or how is not signal.SIGINT
    eventually(lambda: not running(mark))


def test_two_processes_that_build_the_same_run_it_once(tmp_path: Path, base: Base) -> None:
    graph = Graph()
    head = graph.run(graph.layout(base.digest), f"echo going; sleep 2; echo {salt()}")
    definition = graph.definition(head)
    with build_elsewhere(tmp_path, base, definition) as one, build_elsewhere(tmp_path, base, definition) as other:
        said = [process.communicate() for process in (one, other)]
    assert [text.splitlines()[-1] for text, _ in said] == ["done", "done"], said


def test_a_build_goes_on_when_another_client_of_its_step_is_killed(tmp_path: Path, base: Base) -> None:
    graph = Graph()
    head = graph.run(graph.layout(base.digest), f"echo going; sleep 3; echo {salt()}")
    definition = graph.definition(head)
    with build_elsewhere(tmp_path, base, definition) as one:
        assert line(one) == "going"
        with build_elsewhere(tmp_path, base, definition) as other:
            assert line(other) == "going"
            one.kill()
            assert other.communicate()[0].splitlines()[-1] == "done"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with private_engine(tmp_path_factory.mktemp("engine")) as started:
        yield started


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_an_engine_that_ends_during_a_build(engine: Engine, base: Base, how: signal.Signals) -> None:
    graph = Graph()
    slow = graph.run(graph.layout(base.digest), f"echo going; sleep 600; echo {salt()}")
    quick = graph.run(graph.layout(base.digest), f"echo {salt()}")
    ending: list[threading.Thread] = []

    def end(event: Event) -> None:
        if isinstance(event, VertexLog) and not ending:
            ending.append(threading.Thread(target=engine.stop, args=(how,)))
            ending[0].start()

    with connect(engine.address) as client:
        with pytest.raises(FlyteImagesError) as caught:
            client.solve(graph.definition(slow), session=base.session, on_event=end)
        assert caught.value.hint
        ending[0].join()
        engine.start()
        client.solve(graph.definition(quick), session=base.session)  # with the same client


def test_a_client_whose_engine_is_frozen_can_be_interrupted(engine: Engine, tmp_path: Path, base: Base) -> None:
    graph = Graph()
    head = graph.run(graph.layout(base.digest), f"echo going; sleep 600; echo {salt()}")
    assert engine.process
    frozen = [engine.process.pid]
    with build_elsewhere(tmp_path, base, graph.definition(head), {"BUILDKIT_HOST": engine.address}) as process:
        try:
            assert line(process) == "going"
            os.kill(*frozen, signal.SIGSTOP)
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=20)
            assert "KeyboardInterrupt" in said
        finally:
            os.kill(*frozen, signal.SIGCONT)


FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), Path("/usr/lib/faketime/libfaketimeMT.so.1"))


def test_a_clock_that_jumps_does_not_disturb_a_build(tmp_path: Path, base: Base) -> None:
    """The client's clock jumps by years during the build; files of a build are from the clock's future."""
    clock = tmp_path / "clock"
    environ = {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_FORCE_MONOTONIC_FIX": "0",
    }
    assert FAKETIME.exists(), "install libfaketime"
    clock.write_text("+0d")
    graph = Graph()
    head = graph.run(
        graph.layout(base.digest), f"echo one; sleep 1; echo two; sleep 1; echo three; sleep 1; echo {salt()}"
    )
    with build_elsewhere(tmp_path, base, graph.definition(head), environ) as process:
        for word, jump in (("one", "+2000d"), ("two", "-4000d"), ("three", "+1d")):
            assert line(process) == word
            clock.write_text(jump)
        out, said = process.communicate(timeout=60)
    assert out.splitlines()[-1] == "done", said


def test_an_engine_whose_disk_is_full(tmp_path: Path, base: Base) -> None:
    (tmp_path / "data").mkdir()
    subprocess.run(("mount", "-t", "tmpfs", "-o", "size=60m", "tmpfs", tmp_path / "data"), check=True)
    with private_engine(tmp_path) as engine, connect(engine.address) as client:
        graph = Graph()
        full = graph.run(graph.layout(base.digest), f"dd if=/dev/urandom of=/big bs=1M count=80; echo {salt()}")
        with pytest.raises(FlyteImagesError):
            client.solve(graph.definition(full), session=base.session)
        client.prune(all=True)
        fits = graph.run(graph.layout(base.digest), f"echo {salt()}")
        client.solve(graph.definition(fits), session=base.session)


def test_a_full_disk_on_this_machine(tmp_path: Path, base: Base) -> None:
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place), check=True)
    try:
        graph = Graph()
        head = graph.run(graph.layout(base.digest), f"head -c 3000000 /dev/urandom > /big; echo {salt()}")
        with connect() as client, pytest.raises(FlyteImagesError, match="No space left on device"):
            client.solve(graph.definition(head), session=base.session, exporters=[Layout(dest=place / "out")])
        assert not list(place.rglob(".flyte-images*"))
    finally:
        subprocess.run(("umount", place), check=True)


def test_a_cache_directory_that_is_full_or_read_only(
    tmp_path: Path, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, project = tmp_path / "cache", tmp_path / "project"
    place.mkdir()
    project.mkdir()
    (project / "noise").write_bytes(os.urandom(1 << 20))
    monkeypatch.setenv("FLYTE_IMAGES_CACHE", str(place))

    def build() -> None:
        packed = pack([Source(project, "/app")], place / "oci")
        state = llb.oci_layout(packed.name, store="context", platform=llb.Platform.parse(PLATFORM))
        copied = llb.file(None, [llb.copy(state, "/app", "/app")])
        client.solve(llb.marshal(copied).data, session=Session(stores={"context": place / "oci"}))

    subprocess.run(("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place), check=True)
    try:
        for wrong, options in (("No space left on device", "size=1m"), ("Read-only file system", "size=8m,ro")):
            subprocess.run(("mount", "-o", f"remount,{options}", place), check=True)
            with pytest.raises(FlyteImagesError, match=f"`{place}/oci` cannot be written: {wrong}") as caught:
                build()
            assert caught.value.hint
            assert not list(place.rglob(".partial-*"))
        subprocess.run(("mount", "-o", "remount,size=8m,rw", place), check=True)
        build()
    finally:
        subprocess.run(("umount", place), check=True)


def test_an_engine_with_the_old_store_reads_tarballs_and_stores_images(tmp_path: Path, base: Base) -> None:
    with private_engine(tmp_path, containerd_store=False) as engine, connect(engine.address) as client:
        found = client.capabilities()
        assert (found.docker, found.merge, found.image_store) == (True, False, "docker-graphdriver")
        assert not found.oci_layout
        graph = Graph()
        root = graph.tarball("base", "layer.tar")
        definition = graph.definition(graph.run(root, "test -x /bin/busybox; echo made > /made"))
        session = Session(files={"base": {"layer.tar": base.layer}})
        packing = Packing(config=json.dumps({"architecture": "amd64", "os": "linux", "config": {}}))
        with pytest.raises(EngineError, match="does not have the containerd image store"):
            client.solve(definition, exporters=[Image(names=("docker.io/library/t:1",))])
        client.solve(definition, session=session, exporters=[Moby(names=("docker.io/library/t:1",), packing=packing)])
        listed = subprocess.run(("docker", "-H", engine.api, "images", "-q", "t:1"), check=True, capture_output=True)
        assert listed.stdout


def test_the_error_names_a_removed_local_file(tmp_path: Path) -> None:
    graph = Graph()
    definition = graph.definition(graph.tarball(f"gone-{salt()}", "layer.tar"))
    with connect() as client, pytest.raises(FlyteImagesError, match="no files `gone-"):
        client.solve(definition, session=Session(files={"other": {}}))
