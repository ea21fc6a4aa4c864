"""Outputs in the engine, in a registry, and on this machine as layouts, tarballs and directories; and caches."""

from __future__ import annotations

import io
import json
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest

from flyte_images.buildkit.caches import Cache, LocalCache, RegistryCache, ServiceCache
from flyte_images.buildkit.client import Client
from flyte_images.buildkit.events import Event, Vertex
from flyte_images.buildkit.exporters import Annotation, Archive, Compression, Files, Image, Layout, Packing
from flyte_images.errors import BuildError, EngineError

from ...fakes.registry import Registry, serve
from .conftest import Base
from .graphs import Graph, salt

pytestmark = pytest.mark.engine

PACKING = Packing(
    config=json.dumps({"architecture": "amd64", "os": "linux", "config": {"Labels": {"team": "ml"}}}),
    epoch=1_000_000_000,
    compression="zstd",
    annotations=(Annotation(key="org.example.kind", value="test"),),
)


def test_a_layout_directory_takes_one_image_beside_another(client: Client, tmp_path: Path) -> None:
    for tag in ("one", "two", "one"):
        graph = Graph()
        head = graph.file("/greeting", f"{tag} {salt()}".encode())
        client.solve(graph.definition(head), exporters=[Layout(dest=tmp_path, tag=tag, packing=PACKING)])
    index = json.loads((tmp_path / "index.json").read_text())
    names = sorted(it["annotations"]["org.opencontainers.image.ref.name"] for it in index["manifests"])
    assert names == ["one", "two"]
    manifest = json.loads(blob(tmp_path, index["manifests"][-1]["digest"]))
    assert manifest["annotations"]["org.example.kind"] == "test"
    assert manifest["layers"][0]["mediaType"].endswith("tar+zstd")
    config = json.loads(blob(tmp_path, manifest["config"]["digest"]))
    assert config["config"]["Labels"] == {"team": "ml"}
    assert config["created"] == "2001-09-09T01:46:40Z"
    assert {path.name for path in tmp_path.iterdir()} == {"blobs", "index.json", "oci-layout"}


def test_the_same_graph_gives_the_same_image(client: Client, tmp_path: Path) -> None:
    graph = Graph()
    definition = graph.definition(graph.file("/greeting", salt().encode()))
    digests = {
        client.solve(definition, exporters=[Layout(dest=tmp_path / name, packing=PACKING)]).exporter_response[
            "containerimage.digest"
        ]
        for name in ("a", "b")
    }
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("compression", "level", "media_type"),
    [("uncompressed", None, "tar"), ("gzip", 9, "tar+gzip"), ("zstd", None, "tar+zstd"), ("zstd", 19, "tar+zstd")],
)
def test_layers_are_packed_as_asked_for(
    client: Client, tmp_path: Path, compression: Compression, level: int | None, media_type: str
) -> None:
    """And again otherwise, where that is forced."""
    graph = Graph()
    definition = graph.definition(graph.file("/greeting", salt().encode() * 1000))
    other: Compression = "gzip" if compression == "zstd" else "zstd"
    asked = Packing(compression=compression, compression_level=level)
    for packing, ending in (
        (asked, media_type),
        (Packing(compression=other, force_compression=True), f"tar+{other}"),
    ):
        done = client.solve(definition, exporters=[Layout(dest=tmp_path, packing=packing)])
        manifest = json.loads(blob(tmp_path, done.digest or ""))
        assert [layer["mediaType"] for layer in manifest["layers"]] == [f"application/vnd.oci.image.layer.v1.{ending}"]


@pytest.mark.parametrize(("format", "inside"), [("oci", "oci-layout"), ("docker", "manifest.json")])
def test_an_image_tarball(client: Client, tmp_path: Path, format: str, inside: str) -> None:
    graph = Graph()
    head = graph.file("/greeting", salt().encode())
    dest = tmp_path / "new" / "image.tar"
    archive = Archive(dest=dest, format="docker" if format == "docker" else "oci", names=("docker.io/library/t:1",))
    client.solve(graph.definition(head), exporters=[archive])
    with tarfile.open(dest) as tar:
        assert inside in tar.getnames()
    assert [path.name for path in dest.parent.iterdir()] == ["image.tar"]


def test_files_come_with_modes_links_and_times(client: Client, base: Base, tmp_path: Path) -> None:
    graph = Graph()
    script = "mkdir -p /o/sub; echo deep > /o/sub/f; ln -s sub/f /o/link; ln /o/sub/f /o/hard; chmod 4750 /o/sub/f"
    made = graph.run(graph.layout(base.digest), f"{script}; echo {salt()}")
    head = graph.copy(made, "/o", "/")
    client.solve(graph.definition(head), session=base.session, exporters=[Files(dest=tmp_path / "out")])
    out = tmp_path / "out"
    assert (out / "sub" / "f").read_text() == "deep\n"
    assert (out / "link").readlink() == Path("sub/f")
    assert (out / "hard").samefile(out / "sub" / "f")
    assert stat.S_IMODE((out / "sub" / "f").stat().st_mode) == 0o4750
    client.solve(graph.definition(head), session=base.session, exporters=[Files(dest=out)])  # over what is there
    assert (out / "sub" / "f").read_text() == "deep\n"


def test_files_as_a_tarball(client: Client, tmp_path: Path) -> None:
    graph = Graph()
    head = graph.file("/greeting", b"hello")
    client.solve(graph.definition(head), exporters=[Files(dest=tmp_path / "files.tar", tar=True)])
    with tarfile.open(fileobj=io.BytesIO((tmp_path / "files.tar").read_bytes())) as tar:
        (member,) = tar.getmembers()
        assert (member.name, member.mode, member.mtime) == ("greeting", 0o640, 1)


def test_several_results_of_one_solve(client: Client, tmp_path: Path) -> None:
    graph = Graph()
    head = graph.file("/greeting", salt().encode())
    client.solve(
        graph.definition(head),
        exporters=[Files(dest=tmp_path / "d"), Archive(dest=tmp_path / "a.tar"), Layout(dest=tmp_path / "l")],
    )
    assert (tmp_path / "d" / "greeting").exists()
    assert (tmp_path / "a.tar").exists()
    assert (tmp_path / "l" / "index.json").exists()


def test_an_unwritable_destination_is_one_error_and_leaves_no_file(client: Client, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    graph = Graph()
    definition = graph.definition(graph.file("/greeting", salt().encode()))
    for exporter in (Files(dest=tmp_path / "file"), Archive(dest=tmp_path / "file" / "a.tar")):
        with pytest.raises(BuildError, match="cannot write"):
            client.solve(definition, exporters=[exporter])
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def cached(client: Client, definition: bytes, head: str, base: Base, **options: object) -> bool:
    events: list[Event] = []
    client.solve(definition, session=base.session, on_event=events.append, **options)  # type: ignore[arg-type]
    return any(isinstance(it, Vertex) and it.digest == head and it.cached for it in events)


def forget(client: Client, mark: str) -> None:
    """Prune by ids: Docker Engine 26 does not prune by description."""
    found = [f"id=={record.id}" for record in client.disk_usage(f"description~={mark}")]
    assert found
    assert len(client.prune(*found, all=True)) == len(found)


def test_a_local_cache_restores_pruned_steps(client: Client, base: Base, tmp_path: Path) -> None:
    graph, mark = Graph(), salt()
    head = graph.run(graph.layout(base.digest), f"echo {mark} > /made", name=f"step {mark}")
    definition, cache = graph.definition(head), LocalCache(directory=tmp_path / "cache")
    assert not cached(client, definition, head, base, cache_imports=[cache], cache_exports=[cache])
    assert cached(client, definition, head, base, cache_imports=[cache])
    forget(client, mark)
    assert cached(client, definition, head, base, cache_imports=[cache])


def test_a_cache_directory_without_an_export_is_an_empty_cache(client: Client, base: Base, tmp_path: Path) -> None:
    graph = Graph()
    head = graph.run(graph.layout(base.digest), f"echo {salt()}")
    assert not cached(client, graph.definition(head), head, base, cache_imports=[LocalCache(directory=tmp_path / "c")])


def test_a_registry_cache_restores_pruned_steps(client: Client, base: Base) -> None:
    with serve(Registry()) as registry:
        graph, mark = Graph(), salt()
        head = graph.run(graph.layout(base.digest), f"echo {mark} > /made", name=f"step {mark}")
        definition, cache = graph.definition(head), RegistryCache(ref=f"{registry.address}/team/cache:main")
        assert not cached(client, definition, head, base, cache_exports=[cache])
        forget(client, mark)
        assert cached(client, definition, head, base, cache_imports=[cache])


def test_a_cache_that_this_engine_does_not_know_is_refused_before_anything_is_sent(client: Client) -> None:
    graph = Graph()
    head = graph.file("/greeting", b"hello")
    cache: Cache = ServiceCache(type="s3", settings={"bucket": "b", "region": "r", "name": "n"})
    if client.capabilities().docker:
        with pytest.raises(EngineError, match="cannot do a cache of type s3"):
            client.solve(graph.definition(head), cache_exports=[cache])


def test_an_image_that_the_engine_cannot_keep_is_refused(client: Client) -> None:
    graph = Graph()
    definition = graph.definition(graph.file("/greeting", salt().encode()))
    image = Image(names=(f"docker.io/library/flyte-images-test:{salt()}",))
    if client.capabilities().image_store == "none":
        with pytest.raises(EngineError, match="it has no image store"):
            client.solve(definition, exporters=[image])
    else:
        client.solve(definition, exporters=[image])
        subprocess.run(("docker", "rmi", *image.names), check=client.capabilities().docker, capture_output=True)


def test_the_engines_records_can_be_read(client: Client) -> None:
    assert client.disk_usage()
    with pytest.raises(EngineError, match="not found"):
        client.read_blob("sha256:" + "0" * 64)


def blob(directory: Path, digest: str) -> bytes:
    return (directory / "blobs" / "sha256" / digest.removeprefix("sha256:")).read_bytes()
