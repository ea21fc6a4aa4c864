"""Laws of descriptions and plans: a digest covers everything that decides the result, and nothing else."""

from __future__ import annotations

import dataclasses
import locale
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyte_images.bootstrap.base_image import BaseImage
from flyte_images.image import Image
from flyte_images.plan import planner
from flyte_images.plan.lock import LayerLock, Lock
from flyte_images.plan.model import Plan, Wheels
from flyte_images_layers import DebianBase, PipPackages, encode
from tests.fakes import values as made

URL = "https://index.test/simple"


def debian(python: str = "3.11", platform: str = "linux/amd64") -> Image:
    return Image.from_debian_base(python, platform=platform)


def planned(image: Image, lock: Lock | None = None) -> Plan:
    """Return the plan of `image`, with each name resolved to a made-up file."""
    asks = isinstance(image.base, DebianBase) or any(layer.python_requirements() for layer in image.layers)
    lock = lock or made.locked(image, toolchain=made.BASE if asks else None)
    return planner.plan(image, lock=lock, platform=image.platform[0], contents=made.contents(image))


@pytest.fixture(scope="module", autouse=True)
def own_cache() -> Iterator[None]:
    with tempfile.TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLYTE_IMAGES_CACHE", place)
        yield


# --- canonical bytes

scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.binary(max_size=5)
values = st.recursive(
    scalars,
    lambda below: st.lists(below, max_size=3).map(tuple) | st.dictionaries(st.text(max_size=3), below, max_size=3),
    max_leaves=8,
)


def typed(value: Any) -> object:
    """Return a value for which `==` sees types (1 is not True) and mappings have no order."""
    match value:
        case tuple():
            return ("tuple", tuple(typed(item) for item in value))
        case dict():
            return ("dict", frozenset((key, typed(item)) for key, item in value.items()))
    return (type(value).__name__, value)


@given(values, values)
def test_canonical_bytes_are_one_to_one(one: object, two: object) -> None:
    assert (encode(one) == encode(two)) == (typed(one) == typed(two))


@given(st.lists(values, max_size=4))
def test_no_encoding_begins_another(items: list[object]) -> None:
    encoded = [encode(item) for item in items]
    for one in encoded:
        assert all(one == two or not two.startswith(one) for two in encoded)


# --- descriptions

names = st.sampled_from(["git", "curl", "a-b", "bc", "c0"])
words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=6)
paths = st.sampled_from(["/a", "/b", "/a/b", "/srv/x", "/opt", "/etc/apt"])
commands = st.one_of(words.filter(str.strip), st.lists(words, min_size=1, max_size=3))
Grow = Callable[[Image], Image]


def pip(packages: list[str], kind: str, pre: bool) -> Grow:
    options: dict[str, Any] = {"": {}, "own": {"index_url": URL}, "extra": {"extra_index_urls": URL}}[kind]
    return lambda image: image.with_pip_packages(*packages, pre=pre, **options)


grows: st.SearchStrategy[Grow] = st.one_of(
    st.builds(pip, st.lists(names, min_size=1, max_size=3), st.sampled_from(["", "own", "extra"]), st.booleans()),
    st.lists(names, min_size=1, max_size=3).map(lambda given: lambda image: image.with_apt_packages(*given)),
    st.dictionaries(st.sampled_from("ABC"), words, min_size=1).map(
        lambda given: lambda image: image.with_env_vars(given)
    ),
    paths.map(lambda path: lambda image: image.with_workdir(path)),
    st.lists(commands, min_size=1, max_size=2).map(lambda given: lambda image: image.with_commands(given)),
    st.tuples(st.sampled_from(["../unit", "../property"]), paths, st.booleans()).map(
        lambda given: lambda image: image.with_source_folder(*given, ignore=["**/*"])
    ),
    st.tuples(st.sampled_from(["test_llb_laws.py", "test_context_laws.py"]), paths).map(
        lambda given: lambda image: image.with_source_file(*given)
    ),
)
starts = st.one_of(
    st.builds(debian, st.sampled_from(["3.11", "3.12"]), st.sampled_from(["linux/amd64", "linux/arm64"])),
    st.sampled_from(["ubuntu:24.04", "ubuntu:22.04"]).map(
        lambda name: Image.from_base(name, python_version="3.11", platform="linux/amd64")
    ),
)


def grown(start: Image, more: list[Grow]) -> Image:
    for grow in more:
        start = grow(start)
    return start


images = st.builds(grown, starts, st.lists(grows, max_size=4))


def contentless(image: Image) -> Image:
    """Return `image` without the values that decide nothing, such as the paths of its local files."""
    return dataclasses.replace(
        image,
        layers=tuple(
            dataclasses.replace(layer, **{name: type(getattr(layer, name))()})  # type: ignore[arg-type]
            if (name := {"source_folder": "src", "source_file": "srcs"}.get(layer.kind))
            else layer
            for layer in image.layers
        ),
    )


@given(images, images)
def test_no_two_different_images_share_a_digest(one: Image, two: Image) -> None:
    held = [[planned(it).digest, it.digest] for it in (one, two)]
    if contentless(one) != contentless(two):
        assert held[0][1] != held[1][1]
    if one == two:
        assert held[0] == held[1]


@given(starts, st.lists(grows, min_size=1, max_size=4), st.data())
def test_every_layer_decides(start: Image, more: list[Grow], data: st.DataObject) -> None:
    image = grown(start, more)
    without = data.draw(st.integers(0, len(image.layers) - 1))
    less = dataclasses.replace(image, layers=image.layers[:without] + image.layers[without + 1 :])
    assert less.digest != image.digest


UNLIKE: list[tuple[str, Grow, Grow]] = [
    ("apt is not pip", lambda i: i.with_apt_packages("git"), lambda i: i.with_pip_packages("git")),
    ("names are framed", lambda i: i.with_pip_packages("a", "bc"), lambda i: i.with_pip_packages("ab", "c")),
    ("apt names are framed", lambda i: i.with_apt_packages("aa", "bbc"), lambda i: i.with_apt_packages("aab", "bc")),
    (
        "layers are framed",
        lambda i: i.with_pip_packages("a").with_pip_packages("b"),
        lambda i: i.with_pip_packages("a", "b"),
    ),
    ("a variable is not a command", lambda i: i.with_env_vars({"A": "1"}), lambda i: i.with_commands(["A=1"])),
    ("a workdir is not a command", lambda i: i.with_workdir("/x"), lambda i: i.with_commands(["/x"])),
    (
        "an index is not an extra index",
        lambda i: i.with_pip_packages("a", index_url=URL),
        lambda i: i.with_pip_packages("a", extra_index_urls=URL),
    ),
    (
        "an extra index is not a package",
        lambda i: i.with_pip_packages("a", extra_index_urls=URL),
        lambda i: i.with_pip_packages("a"),
    ),
    ("pre-releases", lambda i: i.with_pip_packages("a", pre=True), lambda i: i.with_pip_packages("a")),
    ("platforms", lambda i: i.clone(platform="linux/amd64"), lambda i: i.clone(platform="linux/arm64")),
    (
        "platforms are framed",
        lambda i: i.clone(platform=["linux/amd64"]),
        lambda i: i.clone(platform=["linux/amd64", "linux/arm64"]),
    ),
    ("python versions", lambda i: i.clone(python_version="3.11"), lambda i: i.clone(python_version="3.12")),
    (
        "python of a base",
        lambda i: i.clone(base_image="x", python_version="3.10"),
        lambda i: i.clone(base_image="x", python_version="3.12"),
    ),
    ("bases", lambda i: i.clone(base_image="x:1"), lambda i: i.clone(base_image="x:2")),
    ("a base is not a name of debian", lambda i: i.clone(base_image="3.11"), lambda i: i),
    ("an argv is not a shell command", lambda i: i.with_commands([["a b"]]), lambda i: i.with_commands(["a b"])),
    ("words are framed", lambda i: i.with_commands([["a", "b c"]]), lambda i: i.with_commands([["a b", "c"]])),
    ("commands are framed", lambda i: i.with_commands(["a", "b"]), lambda i: i.with_commands(["a\nb"])),
    ("order of commands", lambda i: i.with_commands(["a", "b"]), lambda i: i.with_commands(["b", "a"])),
    (
        "order of layers",
        lambda i: i.with_workdir("/x").with_commands(["a"]),
        lambda i: i.with_commands(["a"]).with_workdir("/x"),
    ),
    ("variables are framed", lambda i: i.with_env_vars({"A": "1B=2"}), lambda i: i.with_env_vars({"A": "1", "B": "2"})),
    ("name and value", lambda i: i.with_env_vars({"A": "B"}), lambda i: i.with_env_vars({"AB": ""})),
    ("where a file goes", lambda i: i.with_source_file(__file__, "/a"), lambda i: i.with_source_file(__file__, "/b")),
    (
        "a file is not a folder",
        lambda i: i.with_source_file(__file__, "/a"),
        lambda i: i.with_source_folder("../golden/llb", "/a"),
    ),
    (
        "a folder or its contents",
        lambda i: i.with_source_folder("../golden", "/a"),
        lambda i: i.with_source_folder("../golden", "/a", True),
    ),
    (
        "what is left out",
        lambda i: i.with_source_folder("../golden", ignore=["llb"]),
        lambda i: i.with_source_folder("../golden"),
    ),
]


@pytest.mark.parametrize(("one", "two"), [it[1:] for it in UNLIKE], ids=[it[0] for it in UNLIKE])
def test_similar_descriptions_have_different_digests(one: Grow, two: Grow) -> None:
    assert one(debian()).digest != two(debian()).digest


def on_another_line(image: Image) -> Image:
    return image.with_pip_packages("a")


SAME: list[tuple[str, Grow, Grow]] = [
    ("case of names", lambda i: i.with_pip_packages("Pandas"), lambda i: i.with_pip_packages("pandas")),
    ("dashes", lambda i: i.with_pip_packages("scikit_learn"), lambda i: i.with_pip_packages("scikit-learn")),
    ("spaces", lambda i: i.with_pip_packages("a>=1"), lambda i: i.with_pip_packages(" a >= 1")),
    ("order of packages", lambda i: i.with_pip_packages("a", "b"), lambda i: i.with_pip_packages("b", "a")),
    ("order of clauses", lambda i: i.with_pip_packages("a>=1,<2"), lambda i: i.with_pip_packages("a<2,>=1")),
    ("order of extras", lambda i: i.with_pip_packages("a[x,y]"), lambda i: i.with_pip_packages("a[Y, x]")),
    ("spelling of extras", lambda i: i.with_pip_packages("a[F_g]~=1.4"), lambda i: i.with_pip_packages("A[f-g]~=1.4")),
    ("extras of an url", lambda i: i.with_pip_packages("a[B_c]===1"), lambda i: i.with_pip_packages("a[b.c] ===1")),
    (
        "order of apt packages",
        lambda i: i.with_apt_packages("git", "curl"),
        lambda i: i.with_apt_packages("curl", "git"),
    ),
    ("said twice", lambda i: i.with_apt_packages("git", "git"), lambda i: i.with_apt_packages("git")),
    (
        "order of variables",
        lambda i: i.with_env_vars({"A": "1", "B": "2"}),
        lambda i: i.with_env_vars({"B": "2", "A": "1"}),
    ),
    ("list or tuple", lambda i: i.with_commands([["a", "b"]]), lambda i: i.with_commands((("a", "b"),))),
    ("slashes", lambda i: i.with_workdir("/x/"), lambda i: i.with_workdir("//x/.")),
    (
        "order of files",
        lambda i: i.with_source_file(["test_llb_laws.py", __file__]),
        lambda i: i.with_source_file([__file__, "test_llb_laws.py"]),
    ),
    ("name", lambda i: i.clone(name="one"), lambda i: i.clone(name="two")),
    ("registry", lambda i: i.clone(registry="one.test"), lambda i: i.clone(registry="two.test/team")),
    ("place", lambda i: i.with_pip_packages("a"), on_another_line),
]


@pytest.mark.parametrize(("one", "two"), [it[1:] for it in SAME], ids=[it[0] for it in SAME])
def test_equal_descriptions_have_one_digest(one: Grow, two: Grow) -> None:
    first, second = one(debian()), two(debian())
    assert first.digest == second.digest
    assert planned(first).digest == planned(second).digest


# --- decoration of this machine


def _touched(folder: Path) -> None:
    for path in folder.rglob("*"):
        os.utime(path, (1, 1))


def _another_order(folder: Path) -> None:
    names = sorted(path.name for path in folder.iterdir())
    for name in names:
        (folder / name).rename(folder.parent / name)
    for name in reversed(names):
        (folder.parent / name).rename(folder / name)


DECORATION: dict[str, Callable[[Path, pytest.MonkeyPatch], object]] = {
    "mtimes": lambda folder, patch: _touched(folder),
    "directory order": lambda folder, patch: _another_order(folder),
    "byte code": lambda folder, patch: [
        (folder / "__pycache__").mkdir(),
        (folder / "__pycache__" / "a.cpython-311.pyc").write_bytes(b"x"),
    ],
    "other mode bits": lambda folder, patch: [(folder / "a.py").chmod(0o600), (folder / "b.py").chmod(0o664)],
    "current directory": lambda folder, patch: patch.chdir(folder),
    "locale": lambda folder, patch: [patch.setenv("LC_ALL", "C"), locale.setlocale(locale.LC_ALL, "C")],
    "time zone": lambda folder, patch: patch.setenv("TZ", "Pacific/Kiritimati"),
    "home": lambda folder, patch: patch.setenv("HOME", str(folder.parent)),
    "cache directory": lambda folder, patch: patch.setenv("FLYTE_IMAGES_CACHE", str(folder.parent / "cache")),
    "mirrors": lambda folder, patch: [
        patch.setenv("UV_DEFAULT_INDEX", "https://mirror.test/simple"),
        patch.setenv("PIP_INDEX_URL", "https://mirror.test/simple"),
    ],
    "credentials": lambda folder, patch: [
        patch.setenv("UV_INDEX_X_PASSWORD", "s3cret"),
        patch.setenv("NETRC", str(folder.parent / "netrc")),
    ],
    "proxies": lambda folder, patch: [
        patch.setenv("HTTPS_PROXY", "http://me:pw@proxy.test:3128"),
        patch.setenv("no_proxy", "*"),
    ],
    "certificates": lambda folder, patch: patch.setenv("SSL_CERT_FILE", str(folder / "a.py")),
    "user's umask": lambda folder, patch: os.umask(os.umask(0o077)),
    "engine": lambda folder, patch: [patch.setenv("DOCKER_HOST", "tcp://x.test"), patch.setenv("BUILDKIT_HOST", "x")],
}


@pytest.fixture
def same_locale_after() -> Iterator[None]:
    before = locale.setlocale(locale.LC_ALL)
    yield
    locale.setlocale(locale.LC_ALL, before)


@pytest.mark.usefixtures("same_locale_after")
@pytest.mark.parametrize("what", DECORATION)
def test_decoration_keeps_the_digest(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "src"
    folder.mkdir()
    for name in ("a.py", "b.py", "c.py"):
        (folder / name).write_text(name)
    image = debian().with_pip_packages("pandas").with_source_folder(folder, "/app", True).with_commands(["true"])
    before, of_plan = image.digest, planned(image).digest
    DECORATION[what](folder, monkeypatch)
    again = debian().with_pip_packages("pandas").with_source_folder(folder, "/app", True).with_commands(["true"])
    assert (again.digest, image.digest, planned(again).digest) == (before, before, of_plan)


def test_the_path_of_a_folder_decides_nothing(tmp_path: Path) -> None:
    found = []
    for name in ("one", "two/deeper"):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / "a.py").write_text("a")
        found.append(debian().with_source_folder(folder, "/app", copy_contents_only=True).digest)
    assert found[0] == found[1]


# --- plans


@given(images, grows)
def test_appending_keeps_every_earlier_step(image: Image, grow: Grow) -> None:
    before, more = planned(image), grow(image)
    after = {step.digest for step in planned(more).steps}
    lost = [step for step in before.steps if step.digest not in after]
    # A bucket of small wheels that gets another wheel changes; no other bucket and no other step may change.
    new = len(made.locked(more).layers[-1].wheels)
    assert all(isinstance(step.body, Wheels) for step in lost)
    assert len(lost) <= new


@given(images, grows)
def test_appending_something_new_is_another_plan(image: Image, grow: Grow) -> None:
    more = grow(image)
    one, two = planned(image), planned(more)
    held = [(it.env, it.workdir, [step.digest for step in it.steps]) for it in (one, two)]
    assert (one.digest == two.digest) == (held[0] == held[1])


@given(images)
def test_steps_read_only_earlier_steps(image: Image) -> None:
    found = planned(image)
    for number, step in enumerate(found.steps):
        assert list(step.reads) == sorted(set(step.reads))
        assert all(read < number for read in step.reads)
        assert step.title
        assert step.layer < max(1, len(image.layers))


def _replaced(lock: Lock, **changes: Any) -> Lock:
    """Return a lock in which the first wheel or package with those fields is changed."""
    kind = "debs" if "architecture" in changes else "wheels"
    layers: list[LayerLock] = []
    done = False
    for layer in lock.layers:
        items = getattr(layer, kind)
        if items and not done:
            layer = dataclasses.replace(layer, **{kind: (dataclasses.replace(items[0], **changes), *items[1:])})
            done = True
        layers.append(layer)
    assert done
    return dataclasses.replace(lock, layers=tuple(layers))


def _based(lock: Lock, **changes: Any) -> Lock:
    return dataclasses.replace(lock, base=dataclasses.replace(lock.base, **changes))


def _tooled(lock: Lock, **changes: Any) -> Lock:
    tool: BaseImage = dataclasses.replace(lock.toolchain or made.BASE, **changes)
    return dataclasses.replace(lock, toolchain=tool)


FULL = (
    debian()
    .with_pip_packages("pandas", "six")
    .with_apt_packages("git")
    .with_env_vars({"A": "1"})
    .with_workdir("/srv/app")
    .with_source_file(__file__)
    .with_commands(["make"])
)
OTHER = "sha256:" + "9" * 64
DECIDES: dict[str, Callable[[Lock], Lock]] = {
    "the content of a wheel": lambda lock: _replaced(lock, sha256="9" * 64),
    "the version of a wheel": lambda lock: _replaced(lock, version="9"),
    "the content of a debian package": lambda lock: _replaced(lock, architecture="amd64", sha256="9" * 64),
    "the base": lambda lock: _based(lock, digest=OTHER),
    "the toolchain": lambda lock: _tooled(lock, digest=OTHER),
    "the toolchain's python": lambda lock: _tooled(lock, python="3.99"),
}
DECIDES_NOT: dict[str, Callable[[Lock], Lock]] = {
    "where a wheel was seen": lambda lock: _replaced(lock, url="https://mirror.test/x.whl"),
    "where a debian package was seen": lambda lock: _replaced(lock, architecture="amd64", url="https://mirror.test/x"),
    "where the base is kept": lambda lock: _based(lock, origin="engine", reference="elsewhere"),
    "what the base is called": lambda lock: _based(lock, description="another word for it"),
    "where the toolchain is kept": lambda lock: _tooled(lock, origin="registry", reference="elsewhere"),
    "what was asked": lambda lock: dataclasses.replace(lock, request=OTHER),
}


@pytest.mark.parametrize("what", DECIDES)
def test_a_plan_changes_with_each_deciding_value(what: str) -> None:
    lock = made.locked(FULL)
    assert planned(FULL, DECIDES[what](lock)).digest != planned(FULL, lock).digest


@pytest.mark.parametrize("what", DECIDES_NOT)
def test_a_plan_ignores_values_that_decide_nothing(what: str) -> None:
    lock = made.locked(FULL)
    changed = DECIDES_NOT[what](lock)
    assert changed != lock or what.startswith(("where a", "what the"))
    one, two = planned(FULL, lock), planned(FULL, changed)
    assert one.digest == two.digest
    assert [step.digest for step in one.steps] == [step.digest for step in two.steps]


def test_each_layers_own_change_is_another_plan() -> None:
    others = [
        FULL,
        FULL.clone(python_version="3.12"),
        FULL.clone(platform="linux/arm64"),
        FULL.with_env_vars({"A": "2"}),
        FULL.with_env_vars({"B": "1"}),
        FULL.with_workdir("/srv/other"),
        FULL.with_commands(["make"]),
        FULL.with_commands([["make"]]),
        FULL.with_source_file(__file__),
        FULL.with_source_file(__file__, "/x"),
        FULL.with_pip_packages("numpy"),
        FULL.with_apt_packages("curl"),
        dataclasses.replace(FULL, layers=FULL.layers[:-1]),
        dataclasses.replace(FULL, layers=(PipPackages(packages=("six",)), *FULL.layers[1:])),
    ]
    assert len({planned(image).digest for image in others}) == len(others)
