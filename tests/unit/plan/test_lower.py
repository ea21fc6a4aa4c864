"""Lowering: a plan as BuildKit's operations, merged or as a chain, and the image's configuration."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from flyte_images import llb
from flyte_images.bootstrap.base_image import BaseImage
from flyte_images.errors import SpecError
from flyte_images.image import Image
from flyte_images.llb import dump
from flyte_images.llb.pb import ops_pb2
from flyte_images.options import Secret
from flyte_images.plan import lower, planner
from flyte_images.plan.lock import Lock
from flyte_images.plan.lower import Lowering, configuration
from flyte_images.plan.model import Files, Plan, packages
from flyte_images.plan.sources import STORE, EngineFeatures, SourceMap
from flyte_images_layers.steps import EPOCH
from flyte_images_runtime.resources.request import Resources
from tests.fakes import values

CHAIN = EngineFeatures(merge=False)
EVERY = [EngineFeatures(), CHAIN, EngineFeatures(merge=False, layouts=False, checksums=False)]
MB = 1_000_000


def debian() -> Image:
    return Image.from_debian_base("3.11", platform="linux/amd64", name="app")


def full() -> Image:
    return (
        debian()
        .with_apt_packages("git")
        .with_pip_packages("torch", "old", "six")
        .with_env_vars({"MODE": "test"})
        .with_workdir("/srv/app")
        .with_source_file("test_lock.py")
        .with_commands([["touch", "/a b"]])
        .with_source_folder("../layers", "/etc", copy_contents_only=True)
        .with_apt_packages("curl")
    )


def planned(image: Image, lock: Lock | None = None) -> Plan:
    lock = lock or values.locked(image, wheels=[values.wheel("torch", size=900 * MB)], sdists=[values.sdist("old")])
    return planner.plan(image, lock=lock, platform=image.platform[0], contents=values.contents(image))


def source_map(plan: Plan, packages: Mapping[str, str] | None = None) -> SourceMap:
    """Return sources in which every local file is packed, and the base has two blobs."""
    bodies = [step.body for step in plan.steps if isinstance(step.body, Files)]
    files = {(it.content, it.destination): f"local/context@{it.content}" for it in bodies}
    names = [*files.values(), *(packages or {}).values(), plan.base.reference]
    blobs = {name: ("sha256:" + values.sha(name + "1"), "sha256:" + values.sha(name + "2")) for name in names}
    return SourceMap(files=files, packages=packages or {}, blobs=blobs)


def marshalled(plan: Plan, **options: Any) -> llb.Definition:
    return llb.marshal(Lowering(**options).lower(plan, source_map(plan)))


def ops(definition: llb.Definition) -> list[ops_pb2.Op]:
    return [ops_pb2.Op.FromString(data) for data in definition.ops]


def execs(definition: llb.Definition) -> list[ops_pb2.ExecOp]:
    return [op.exec for op in ops(definition) if op.WhichOneof("op") == "exec"]


def words(exec: ops_pb2.ExecOp) -> str:
    return " ".join(exec.meta.args)


def sources(definition: llb.Definition) -> dict[str, ops_pb2.SourceOp]:
    return {op.source.identifier: op.source for op in ops(definition) if op.WhichOneof("op") == "source"}


def names(definition: llb.Definition) -> dict[str, str]:
    """Return the digest of each step by its title."""
    told = definition.to_pb().metadata
    return {told[digest].description.get("llb.customname", ""): digest for digest in definition.digests}


@pytest.fixture
def short_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the programs by single lines: their content does not matter for these golden files."""
    for module in (lower, planner):
        monkeypatch.setattr(module, "inside", lambda name: f"the text of {name}\n".encode())


@pytest.mark.usefixtures("short_programs")
@pytest.mark.parametrize(
    ("name", "features"), [("merged", EVERY[0]), ("chain", EVERY[1]), ("chain-of-files", EVERY[2])]
)
def test_the_golden_text(name: str, features: EngineFeatures, golden: Callable[[str, str], None]) -> None:
    plan = planned(full())
    plan = dataclasses.replace(plan, steps=tuple(dataclasses.replace(it, location=None) for it in plan.steps))
    golden(f"llb/image-{name}.txt", dump.to_text(marshalled(plan, features=features)))


@pytest.mark.parametrize("features", EVERY)
def test_the_same_plan_gives_the_same_bytes(features: EngineFeatures) -> None:
    assert marshalled(planned(full()), features=features) == marshalled(planned(full()), features=features)


def test_a_chain_runs_the_same_programs_as_a_merge() -> None:
    plan = planned(full())
    merged, chain = marshalled(plan), marshalled(plan, features=CHAIN)
    assert [words(it) for it in execs(merged)] == [words(it) for it in execs(chain)]
    assert {op.WhichOneof("op") for op in ops(merged)} == {"source", "exec", "file", "merge", "diff"}
    assert {op.WhichOneof("op") for op in ops(chain)} == {"source", "exec", "file"}


def test_an_engine_without_layouts_gets_files() -> None:
    plan = planned(full())
    held = sources(marshalled(plan, features=EVERY[2]))
    assert not [name for name in held if name.startswith("oci-layout://")]
    digests = {digest for layers in source_map(plan).blobs.values() for digest in layers}
    assert {name.removeprefix("local://blob-") for name in held if name.startswith("local://")} == {
        digest.removeprefix("sha256:") for digest in digests
    }


@pytest.mark.parametrize("features", EVERY)
def test_only_commands_have_a_network_and_the_hosts_settings(features: EngineFeatures) -> None:
    for exec in execs(marshalled(planned(full()), features=features)):
        is_command = "touch /a b" in words(exec)
        assert exec.network == (ops_pb2.UNSET if is_command else ops_pb2.NONE)
        others = [it for it in exec.secretenv if it.name != "FLYTE_IMAGES_LIMITS"]
        assert bool(others) == is_command
        assert all(secret.optional for secret in exec.secretenv)
        secret_mounts = [mount for mount in exec.mounts if mount.mountType == ops_pb2.SECRET]
        assert bool(secret_mounts) == is_command
        assert all(mount.secretOpt.optional for mount in secret_mounts)


def test_only_the_steps_that_ask_for_a_secret_get_it() -> None:
    """D20: the name of a secret is part of the graph; no login of this machine reaches a step."""
    asking = [Secret("my-token"), Secret("cert", mount="/etc/cert")]
    image = debian().with_commands(["true"]).with_commands(["make"], secret_mounts=asking)
    plain, asks = (it for it in execs(marshalled(planned(image))) if "settled.sh" in words(it))
    named = {it.name for it in plain.secretenv}
    assert {it.name for it in asks.secretenv} - named == {"MY_TOKEN"}
    assert not [name for name in named if "INDEX" in name]
    mounts = {it.dest: it.secretOpt for it in asks.mounts if it.mountType == ops_pb2.SECRET}
    assert mounts["/etc/cert"].ID == "flyte-images-secret-cert-CERT" and not mounts["/etc/cert"].optional
    assert "/etc/cert" not in {it.dest for it in plain.mounts}


def test_limits_of_steps_change_no_digest() -> None:
    """D22: a limit reaches a step as a secret, which neither this package's nor BuildKit's digests contain."""
    usual, limited = (
        planned(debian().with_commands(["make"], limits=limit, timeout=time))
        for limit, time in ((None, None), (Resources(mem="1Gi"), 60))
    )
    assert usual.digest == limited.digest
    assert marshalled(usual).digests == marshalled(limited).digests


def test_every_package_is_fetched_by_its_hash() -> None:
    plan = planned(full())
    held = {name: it for name, it in sources(marshalled(plan)).items() if name.startswith("http")}
    files = list(packages(plan))
    assert len(files) == 7  # two wheels, a source with two wheels to build it, two Debian packages
    assert {name: it.attrs["http.checksum"] for name, it in held.items()} == {
        file.url: f"sha256:{file.sha256}" for file in files
    }
    assert {it.attrs["http.filename"] for it in held.values()} == {file.filename for file in files}


def test_wheels_are_installed_in_the_toolchain_and_cannot_change_it() -> None:
    image = Image.from_base("registry.test/base:1", python_version="3.11", platform="linux/amd64")
    image = image.with_pip_packages("six")
    plan = planned(image, values.locked(image, base=values.OTHER_BASE))
    definition = marshalled(plan)
    by_digest = dict(zip(definition.digests, ops(definition), strict=True))
    (install,) = (op for op in by_digest.values() if "install_wheels.py" in words(op.exec))
    root = install.exec.mounts[0]
    assert (root.dest, root.readonly) == ("/", True)
    assert by_digest[install.inputs[root.input].digest].source.identifier.startswith("oci-layout://")
    (venv,) = (op for op in by_digest.values() if "make_venv.sh" in words(op.exec))
    assert by_digest[venv.inputs[0].digest].source.identifier == f"docker-image://{values.OTHER_BASE.reference}"


def test_a_source_distribution_is_built_in_the_toolchain_without_network() -> None:
    definition = marshalled(planned(full()))
    held = execs(definition)
    (build,) = (it for it in held if "build_wheel.py" in words(it))
    assert build.network == ops_pb2.NONE and build.mounts[0].readonly
    made_of = [it for it in held if "install_wheels.py" in words(it) and ("setuptools" in words(it))]
    assert [list(it.meta.args)[5] for it in made_of] == ["/env"]  # what it is built with is in no image
    result = [it for it in held if "install_wheels.py" in words(it) and words(it).endswith("/in/wheel")]
    assert [list(it.meta.args)[5] for it in result] == ["/opt/venv"]


def test_a_wheels_step_is_the_same_in_every_image_that_has_it() -> None:
    torch = [values.wheel("torch", size=900 * MB)]
    busy = full()
    plain = debian().with_pip_packages("torch")
    one, two = (marshalled(planned(it, values.locked(it, wheels=torch))) for it in (busy, plain))
    assert names(one)["torch 1.0"] == names(two)["torch 1.0"]


def test_a_command_has_the_work_directory_and_variables_of_the_layers_before() -> None:
    (command,) = (it for it in execs(marshalled(planned(full()))) if "touch" in words(it))
    assert list(command.meta.args) == [
        *("/bin/sh", "/flyte-images/programs/limited.sh"),
        *("/bin/sh", "/flyte-images/programs/settled.sh", str(EPOCH)),
        *("touch", "/a b"),
    ]
    env = dict(item.partition("=")[::2] for item in command.meta.env)
    assert command.meta.cwd == "/srv/app"
    assert env["MODE"] == "test" and env["PATH"].startswith("/opt/venv/bin:")
    assert env["DEBIAN_FRONTEND"] == "noninteractive"


def test_the_users_variables_win_over_those_of_steps() -> None:
    image = debian().with_env_vars({"LC_ALL": "de_DE.UTF-8"}).with_commands(["true"])
    (command,) = (it for it in execs(marshalled(planned(image))) if "settled.sh" in words(it))
    assert [item for item in command.meta.env if item.startswith("LC_ALL=")] == ["LC_ALL=de_DE.UTF-8"]


def test_only_a_shell_command_is_run_by_a_shell() -> None:
    image = debian().with_commands([["echo", "$(id)", "; rm"], "echo $HOME"])
    held = [list(it.meta.args)[5:] for it in execs(marshalled(planned(image))) if "settled.sh" in words(it)]
    assert held == [["echo", "$(id)", "; rm"], ["/bin/sh", "-ec", "echo $HOME"]]


def test_no_cache_runs_every_step_again_and_fetches_no_file_twice() -> None:
    plan = planned(full())
    fresh, again = marshalled(plan), marshalled(plan, no_cache=True)
    assert fresh.digests == again.digests
    told = again.to_pb().metadata
    for digest, op in zip(again.digests, ops(again), strict=True):
        if op.WhichOneof("op") == "exec":
            assert told[digest].ignore_cache
    assert not any(it.ignore_cache for it in fresh.to_pb().metadata.values())


def test_every_step_has_the_group_and_the_line_of_its_layer() -> None:
    plan = planned(full())
    definition = marshalled(plan)
    told = definition.to_pb().metadata
    groups = {it.progress_group.id for it in told.values() if it.HasField("progress_group")}
    assert {step.digest for step in plan.steps} <= groups
    located = definition.to_pb().Source.locations
    for digest, op in zip(definition.digests, ops(definition), strict=True):
        if op.WhichOneof("op") == "exec" and "make_venv" not in words(op.exec):
            assert located[digest].locations, words(op.exec)


@pytest.mark.parametrize("features", EVERY)
def test_states_that_images_share_are_made_once(features: EngineFeatures) -> None:
    lowering = Lowering(features=features)
    one, two = planned(full()), planned(full().with_commands(["true"]))
    first, second = (llb.marshal(lowering.lower(it, source_map(it))) for it in (one, two))
    runs = {digest for digest, op in zip(first.digests, ops(first), strict=True) if op.WhichOneof("op") == "exec"}
    assert runs < set(second.digests)
    assert second.digests == marshalled(two, features=features).digests  # and sharing changes nothing


def test_a_package_that_the_engine_cannot_fetch_is_served() -> None:
    image = debian().with_pip_packages("six")
    local = values.wheel("six", url="file:///home/me/wheels/six-1.0-py3-none-any.whl")
    plan = planned(image, values.locked(image, wheels=[local]))
    served = source_map(plan, {local.sha256: "local/context@sha256:" + "d" * 64})
    definition = llb.marshal(Lowering().lower(plan, served))
    held = sources(definition)
    assert not [name for name in held if "home/me" in name or name.startswith("http")]
    assert held["oci-layout://local/context@sha256:" + "d" * 64].attrs["oci.store"] == STORE
    assert b"/home/me" not in definition.data


def test_a_file_that_was_not_packed_is_an_error() -> None:
    plan = planned(debian().with_source_file("test_lock.py", "/x"))
    with pytest.raises(SpecError, match=r"no local files were packed for `/x/test_lock\.py`"):
        Lowering().lower(plan, SourceMap())


@pytest.mark.parametrize(
    ("origin", "features", "identifier", "attrs"),
    [
        ("layout", EngineFeatures(), "oci-layout://REF@DIGEST", {"oci.store": STORE}),
        ("engine", EngineFeatures(), "docker-image://REF", {"image.resolvemode": "local", "image.checksum": "DIGEST"}),
        ("engine", EngineFeatures(checksums=False), "docker-image://REF", {"image.resolvemode": "local"}),
        ("registry", EngineFeatures(), "docker-image://REF@DIGEST", {}),
    ],
)
def test_a_base_comes_from_its_recorded_origin(
    origin: str, features: EngineFeatures, identifier: str, attrs: dict[str, str]
) -> None:
    digest, name = "sha256:" + "e" * 64, "registry.test/team/base:1"
    base: BaseImage = dataclasses.replace(values.BASE, origin=origin, reference=f"{name}@{digest}", digest=digest)
    image = debian()
    plan = planned(image, values.locked(image, base=base, toolchain=base))
    held = sources(marshalled(plan, features=features))
    wanted = identifier.replace("REF", name).replace("DIGEST", digest)
    assert list(held) == [wanted]
    assert dict(held[wanted].attrs) == {key: value.replace("DIGEST", digest) for key, value in attrs.items()}


# --- the image's configuration


def test_the_configuration_is_the_bases_with_the_settings_of_the_layers() -> None:
    plan = planned(full())
    config = json.loads(configuration(plan))
    assert config["config"]["Env"] == [
        "PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin",
        "LANG=C.UTF-8",
        "VIRTUAL_ENV=/opt/venv",
        "MODE=test",
    ]
    assert config["config"]["WorkingDir"] == "/srv/app"
    assert config["config"]["Labels"] == {"by": "base", "io.flyte-images.plan": plan.digest}
    assert (config["os"], config["architecture"], config["created"]) == ("linux", "amd64", "2024-05-06T07:08:09Z")
    assert len(config["history"]) == 1 + len(plan.steps)
    assert {entry["created"] for entry in config["history"]} == {"2024-05-06T07:08:09Z"}


def test_a_configuration_contains_only_values_that_decide_the_image() -> None:
    """One plan digest, one image: the image contains no names of local folders, of the image or of lines."""
    image = debian().with_source_folder("../layers", "/app", copy_contents_only=True)
    renamed = debian().clone(name="other").with_source_folder("../resolve", "/app", copy_contents_only=True)
    lock, contents = values.locked(image), values.contents(image)
    one, two = (planner.plan(it, lock=lock, platform="linux/amd64", contents=contents) for it in (image, renamed))
    assert one.digest == two.digest
    assert configuration(one) == configuration(two)
    assert "source folder" not in configuration(one) and "resolve" not in configuration(two)


def test_a_base_without_a_configuration_gets_one() -> None:
    base = dataclasses.replace(values.BASE, config="{}")
    image = debian()
    config = json.loads(configuration(planned(image, values.locked(image, base=base, toolchain=base))))
    assert config["created"] == "1980-01-01T00:00:00Z"
    assert config["config"]["Labels"].keys() == {"io.flyte-images.plan"}
