"""Values -> BuildKit's attributes and requests; hints; modules that load no grpc."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from flyte_images.buildkit.caches import LocalCache, RegistryCache
from flyte_images.buildkit.capabilities import Capabilities, Worker
from flyte_images.buildkit.error_hints import hint_for, step_message
from flyte_images.buildkit.exporters import Annotation, Archive, Exporter, Files, Image, Layout, Moby, Packing
from flyte_images.buildkit.failure import interrupted
from flyte_images.buildkit.pb.control_pb2 import SolveRequest
from flyte_images.buildkit.request import solve_request
from flyte_images.errors import BuildError, EngineError


def test_every_attribute_of_an_image() -> None:
    packing = Packing(
        config="{}",
        base_config="{1}",
        compression="zstd",
        compression_level=3,
        force_compression=True,
        epoch=7,
        annotations=(Annotation(key="k", value="v"), Annotation(key="k", value="w", scope="index")),
    )
    image = Image(
        names=("r.example/a:1", "r.example/a:2"),
        packing=packing,
        push=True,
        push_by_digest=True,
        unpack=True,
        store=False,
    )
    assert image.attrs() == {
        "name": "r.example/a:1,r.example/a:2",
        "push": "true",
        "push-by-digest": "true",
        "unpack": "true",
        "store": "false",
        "oci-mediatypes": "true",
        "containerimage.config": "{}",
        "containerimage.base.config": "{1}",
        "compression": "zstd",
        "compression-level": "3",
        "force-compression": "true",
        "source-date-epoch": "7",
        "annotation-manifest.k": "v",
        "annotation-index.k": "w",
    }


@pytest.mark.parametrize(
    ("exporter", "kind", "attrs"),
    [
        (Moby(names=("x:1",)), "moby", {"name": "x:1", "oci-mediatypes": "true"}),
        (Archive(dest=Path("a")), "oci", {"oci-mediatypes": "true"}),
        (Archive(dest=Path("a"), format="docker", names=("x",)), "docker", {"name": "x", "oci-mediatypes": "true"}),
        (Layout(dest=Path("a"), tag="t"), "oci", {"tar": "false", "oci-mediatypes": "true"}),
        (Files(dest=Path("a")), "local", {}),
        (Files(dest=Path("a"), tar=True), "tar", {}),
    ],
)
def test_kinds_of_output(exporter: Exporter, kind: str, attrs: dict[str, str]) -> None:
    assert (exporter.type, exporter.attrs()) == (kind, attrs)


@pytest.mark.parametrize("name", ["localhost:5000/x", "127.0.0.1/x", "[::1]:5000/x"])
def test_a_registry_on_this_host_may_speak_http(name: str) -> None:
    assert Image(names=(name,)).attrs()["registry.insecure"] == "true"
    assert "registry.insecure" not in Image(names=(name, "r.example/x")).attrs()


def test_kinds_of_cache() -> None:
    common = {"mode": "max", "image-manifest": "true", "oci-mediatypes": "true"}
    registry = RegistryCache(ref="r.example/c", ignore_error=True)
    assert registry.import_attrs() == {"ref": "r.example/c"}
    assert registry.export_attrs() == {"ref": "r.example/c", "ignore-error": "true", **common}
    local = LocalCache(directory=Path("/c"), mode="min")
    assert local.import_attrs("sha256:1") == {"src": "/c", "digest": "sha256:1"}
    assert local.export_attrs() == {"dest": "/c", **common, "mode": "min"}


LABEL = "org.mobyproject.buildkit.worker."
DOCKER = {f"{LABEL}moby.host-gateway-ip": "1.2.3.4"}


def engine(labels: dict[str, str], *features: str) -> Capabilities:
    worker = Worker(id="w", labels=labels, platforms=("linux/amd64", "linux/arm64/v8"))
    return Capabilities(engine="unix:///x", features=frozenset(features), workers=(worker,))


@pytest.mark.parametrize(
    ("found", "store"),
    [
        (engine(DOCKER, "mergeop", "diffop"), "docker-containerd"),
        (engine(DOCKER), "docker-graphdriver"),
        (engine({f"{LABEL}executor": "oci"}, "mergeop", "diffop"), "none"),
        (engine({f"{LABEL}executor": "containerd"}, "mergeop", "diffop"), "containerd"),
    ],
)
def test_where_an_engine_keeps_images(found: Capabilities, store: str) -> None:
    assert found.image_store == store
    outputs: list[Exporter] = [Image(names=("x",)), Image(names=("x",), push=True), Moby(names=("x",))]
    takes = []
    for output in outputs:
        try:
            found.check_output(output)
            takes.append(True)
        except EngineError as error:
            assert error.hint
            takes.append(False)
    expected = {
        "docker-containerd": [True, True, True],
        "docker-graphdriver": [False, False, True],
        "containerd": [True, True, False],
        "none": [False, True, False],
    }
    assert takes == expected[store]


def test_platforms() -> None:
    found = engine({})
    found.check_platform("linux/arm64")
    with pytest.raises(EngineError, match="cannot run linux/arm, only linux/amd64, linux/arm64/v8"):
        found.check_platform("linux/arm")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("failed to push r.example/x: unexpected status: 403 Forbidden", "docker login"),
        ("server message: insufficient_scope: authorization failed", "docker login"),
        ("unexpected status from HEAD request to https://r.example/v2/: 503 Service Unavailable", "in trouble"),
        ("toomanyrequests: slow down", "try again later"),
        ("write /x: no space left on device", "prune"),
        ("dial tcp: lookup r.example on 10.0.0.1:53: no such host", "can the engine reach it"),
    ],
)
def test_the_hint_for_an_error_text(text: str, part: str) -> None:
    assert part in (hint_for(text) or "")


def test_an_unknown_error_text_has_no_hint() -> None:
    assert hint_for("process did not complete") is None
    assert step_message('process "sh -c a\nb" did not complete successfully: exit code: 137').endswith("status 137")


def test_a_single_output_is_also_sent_in_the_fields_of_old_engines() -> None:
    def request(*exporters: Exporter) -> SolveRequest:
        return solve_request(
            b"",
            exporters=exporters,
            cache_imports=(),
            cache_exports=(),
            internal=True,
        ).message

    one = request(Archive(dest=Path("a")))
    assert (one.exporter_deprecated, one.exporter_attrs_deprecated) == ("oci", {"oci-mediatypes": "true"})
    both = (Archive(dest=Path("a")), Files(dest=Path("b")))
    assert not request(*both).exporter_deprecated
    old = Capabilities(engine="e", features=frozenset(), workers=())
    old.check_outputs(both[:1])
    with pytest.raises(EngineError, match="several outputs"):
        old.check_outputs(both)


def test_events_and_values_need_no_grpc() -> None:
    modules = ("events", "exporters", "caches", "address", "discovery", "capabilities", "local_daemon", "registry_auth")
    lines = "\n".join(f"import flyte_images.buildkit.{name}" for name in modules)
    code = f"{lines}\nimport sys\nassert not {{'grpc', 'google.protobuf'}} & set(sys.modules)"
    subprocess.run((sys.executable, "-c", code), check=True)


@pytest.mark.parametrize(
    ("said", "again"),
    [
        ("context canceled", True),
        ("context deadline exceeded", True),
        ("failed to solve: no active session for x: context deadline exceeded", True),
        ('Get "https://registry.test/v2/": context deadline exceeded', False),
        ("failed to do request: dial tcp 10.0.0.1:443: context deadline exceeded", False),
        ("no such file", False),
    ],
)
def test_errors_after_which_a_build_is_tried_again(said: str, again: bool) -> None:
    assert interrupted(BuildError(said)) is again
