"""Plans: the steps, their order, and their inputs; a changed layer changes only the steps that depend on it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable

import pytest

from flyte_images.bootstrap.base_image import BaseImage
from flyte_images.cli import render_plan
from flyte_images.errors import Location
from flyte_images.image import Image
from flyte_images.plan import planner
from flyte_images.plan.lock import LayerLock, Lock, Overlap
from flyte_images.plan.model import Built, Command, Debs, Directory, Files, Plan, PlanStep, Venv, Wheels
from flyte_images_layers.steps import Sdist, Wheel
from tests.fakes import values

MB = 1_000_000
LAYERS_AT_MOST = 100


def debian(python: str = "3.11") -> Image:
    return Image.from_debian_base(python, platform="linux/amd64", name="app")


def planned(image: Image, lock: Lock | None = None) -> Plan:
    lock = lock or values.locked(image)
    return planner.plan(image, lock=lock, platform=image.platform[0], contents=values.contents(image))


def kinds(plan: Plan) -> list[str]:
    return [step.body.kind for step in plan.steps]


def only(plan: Plan, kind: type) -> list[PlanStep]:
    return [step for step in plan.steps if isinstance(step.body, kind)]


def digests(plan: Plan, *kinds: type) -> list[str]:
    return [step.digest for step in plan.steps if isinstance(step.body, kinds)]


def full() -> Image:
    """Every kind of step, in two segments."""
    return (
        debian()
        .with_apt_packages("git", "curl")
        .with_pip_packages("torch", "six", "tomli")
        .with_env_vars({"MODE": "test", "A": "a b"})
        .with_workdir("/srv/app")
        .with_source_file("test_lock.py", "/etc/app.conf.d")
        .with_commands(["make all", ["touch", "/a b"]])
        .with_pip_packages("numpy")
        .with_source_folder("../layers", ".", copy_contents_only=True)
    )


def full_lock() -> Lock:
    return values.locked(full(), wheels=[values.wheel("torch", size=900 * MB), values.wheel("numpy", size=15 * MB)])


def test_order_of_a_segment_and_segments_between_commands() -> None:
    assert kinds(planned(full(), full_lock())) == [
        "wheels",  # torch
        "debs",
        "venv",
        "wheels",  # six and tomli, in a bucket or two
        *(["wheels"] if len(only(planned(full(), full_lock()), Wheels)) == 4 else []),
        "directory",
        "files",
        "command",
        "command",
        "wheels",  # numpy
        "files",
    ]


def test_the_golden_text(golden: Callable[[str, str], None]) -> None:
    plan = planned(full(), full_lock())
    steps = tuple(dataclasses.replace(step, location=None) for step in plan.steps)
    golden("plan/full.txt", render_plan.to_text("app", dataclasses.replace(plan, digest="-", steps=steps)) + "\n")


def test_the_digests_of_this_release(golden: Callable[[str, str], None]) -> None:
    """A change here moves the caches of all users: the commit says why."""
    image = (
        Image.from_base("registry.test/base:1", python_version="3.11", platform="linux/amd64")
        .with_apt_packages("git", "curl")
        .with_env_vars({"MODE": "test"})
        .with_workdir("/srv/app")
        .with_source_file("test_lock.py")
        .with_commands(["make all", ["touch", "/a b"]])
    )
    plan = planned(image, values.locked(image, base=values.OTHER_BASE, toolchain=None))
    lines = [f"{step.digest}  {step.title}" for step in plan.steps]
    golden("plan/digests.txt", "\n".join((*lines, f"{plan.digest}  the plan")) + "\n")


def test_every_step_has_the_line_of_its_layer() -> None:
    image = full()
    for step in planned(image, full_lock()).steps:
        if not isinstance(step.body, Venv):
            assert step.location == image.layers[step.layer].location
            assert isinstance(step.location, Location) and step.location.file == __file__


def test_an_image_without_layers_is_a_python_environment() -> None:
    plan = planned(debian())
    assert kinds(plan) == ["venv"]
    assert dict(plan.env)["PATH"] == "/opt/venv/bin:/usr/local/bin:/usr/bin:/bin"
    assert dict(plan.env)["VIRTUAL_ENV"] == "/opt/venv"
    assert plan.workdir == "/"


def test_a_named_base_is_unchanged_without_python_packages() -> None:
    image = Image.from_base("registry.test/base:1", python_version="3.11").with_env_vars({"A": "1"})
    plan = planned(image, values.locked(image, base=values.OTHER_BASE, toolchain=None))
    assert plan.steps == ()
    assert dict(plan.env) == {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "A": "1"}


def test_a_base_by_name_shows_its_own_packages_and_debian_does_not() -> None:
    image = Image.from_base("registry.test/base:1", python_version="3.11").with_pip_packages("six")
    (venv,) = only(planned(image, values.locked(image, base=values.OTHER_BASE)), Venv)
    assert isinstance(venv.body, Venv) and venv.body.system_site_packages
    (venv,) = only(planned(debian()), Venv)
    assert isinstance(venv.body, Venv) and not venv.body.system_site_packages


# --- large wheels and buckets


def thousand(large: int) -> tuple[Image, Lock]:
    """An image of 1,000 packages; `large` packages have a megabyte or more."""
    names = [f"package-{number}" for number in range(1000)]
    wheels = [values.wheel(name, size=MB + 1000 - n if n < large else 5_000) for n, name in enumerate(names)]
    image = debian().with_pip_packages(*names)
    return image, values.locked(image, wheels=wheels)


@pytest.mark.parametrize("large", [0, 10, 64, 65, 1000])
def test_a_thousand_packages_fit_in_an_image(large: int) -> None:
    image, lock = thousand(large)
    plan = planned(image, lock)
    assert len(plan.steps) <= LAYERS_AT_MOST
    placed = [wheel for step in only(plan, Wheels) for wheel in step.body.wheels]  # type: ignore[union-attr]
    assert sorted(placed, key=lambda it: it.name) == sorted(lock.wheels().values(), key=lambda it: it.name)
    alone = [step for step in only(plan, Wheels) if len(step.body.wheels) == 1]  # type: ignore[union-attr]
    assert len(alone) == min(large, planner.MAX_LARGE)


def test_large_wheels_have_separate_layers_largest_first() -> None:
    image = debian().with_pip_packages("a", "b", "c", "d")
    sizes = {"a": 2 * MB, "b": 3 * MB, "c": planner.LARGE, "d": planner.LARGE - 1}
    plan = planned(image, values.locked(image, wheels=[values.wheel(name, size=size) for name, size in sizes.items()]))
    assert [step.title for step in only(plan, Wheels)] == ["b 1.0", "a 1.0", "c 1.0", "d 1.0"]
    assert kinds(plan) == ["wheels", "wheels", "wheels", "venv", "wheels"]


@pytest.mark.parametrize("count", [1, 5, 31, 100, 600])
def test_a_new_version_of_a_small_package_changes_one_bucket(count: int) -> None:
    image = debian().with_pip_packages(*(f"package-{number}" for number in range(count)))
    lock = values.locked(image)
    newer = values.locked(image, wheels=[values.wheel("package-0", "2.0")])
    before, after = digests(planned(image, lock), Wheels), digests(planned(image, newer), Wheels)
    assert len(set(before) - set(after)) == 1 == len(set(after) - set(before))


def test_another_small_package_changes_one_bucket() -> None:
    few = [f"package-{number}" for number in range(20)]
    before = digests(planned(debian().with_pip_packages(*few)), Wheels)
    after = digests(planned(debian().with_pip_packages(*few, "package-20")), Wheels)
    assert len(set(before) - set(after)) <= 1


def test_wheels_in_a_bucket_are_in_the_order_of_their_names() -> None:
    image, lock = thousand(0)
    for step in only(planned(image, lock), Wheels):
        names = [wheel.name for wheel in step.body.wheels]  # type: ignore[union-attr]
        assert names == sorted(names)


def test_the_layer_that_asks_for_a_wheel_does_not_change_its_step() -> None:
    """The same files give the same steps whichever layer asked for them first."""
    image = debian().with_pip_packages("six").with_pip_packages("tomli")
    lock = values.locked(image)
    six, tomli = (layer.wheels for layer in lock.layers)
    turned = dataclasses.replace(lock, layers=(LayerLock(wheels=tomli), LayerLock(wheels=six)))
    assert digests(planned(image, lock)) == digests(planned(image, turned))
    assert planned(image, lock).digest == planned(image, turned).digest


# --- source distributions


def from_source(image: Image, **changes: object) -> Plan:
    lock = values.locked(image, wheels=[values.wheel("torch", size=9 * MB)], sdists=[values.sdist("old")])
    return planned(image, dataclasses.replace(lock, **changes))  # type: ignore[arg-type]


def test_a_source_distribution_has_a_separate_layer_after_the_large_wheels() -> None:
    image = debian().with_pip_packages("torch", "old", "six").with_apt_packages("git")
    plan = from_source(image)
    assert kinds(plan)[:3] == ["wheels", "built", "debs"]
    (built,) = only(plan, Built)
    assert built.title == "old 1.0 from source" and built.reads == ()
    assert from_source(image, base=values.OTHER_BASE).steps[1].digest == built.digest


def test_a_source_distribution_is_built_on_the_earlier_apt_packages_only() -> None:
    plain = debian().with_apt_packages("gcc")
    image = plain.with_pip_packages("old", "six").with_apt_packages("git")
    plan = from_source(image)
    assert kinds(plan) == ["debs", "debs", "venv", "built", "wheels"]
    assert plan.steps[3].reads == (0, 2)
    for other, same in (
        (plain.with_pip_packages("old", "six").with_apt_packages("curl"), True),
        (plain.with_env_vars({"A": "1"}).with_source_file("test_lock.py", "/app").with_pip_packages("old"), True),
        (debian().with_apt_packages("g++").with_pip_packages("old"), False),
        (debian().with_pip_packages("old").with_apt_packages("gcc"), False),
    ):
        assert (digests(from_source(other), Built) == [plan.steps[3].digest]) == same
    assert digests(from_source(image, base=values.OTHER_BASE), Built) != [plan.steps[3].digest]


def test_a_source_distribution_is_built_on_the_earlier_commands() -> None:
    plan = from_source(debian().with_commands(["make cc"]).with_pip_packages("old"))
    assert kinds(plan) == ["venv", "command", "built"]
    assert plan.steps[2].reads == (0, 1)
    other = from_source(debian().with_commands(["make c++"]).with_pip_packages("old"))
    assert digests(other, Built) != digests(plan, Built)


def test_a_source_distribution_is_built_on_a_base_other_than_debian() -> None:
    image = Image.from_base("registry.test/base:1", platform="linux/amd64").with_pip_packages("old")
    plan = from_source(image, base=values.OTHER_BASE)
    assert kinds(plan) == ["venv", "built"] and plan.steps[1].reads == (0,)
    another = dataclasses.replace(values.OTHER_BASE, digest="sha256:" + "d" * 64)
    assert digests(from_source(image, base=another), Built) != digests(plan, Built)


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (values.sdist("old"), True),
        (dataclasses.replace(values.sdist("old"), url="https://mirror.test/old.tar.gz"), True),
        (dataclasses.replace(values.sdist("old"), sha256="9" * 64), False),
        (values.sdist("old", "2.0"), False),
        (values.sdist("old", build=["setuptools"]), False),
        (values.sdist("old", build=["wheel", "setuptools"]), False),
        (
            dataclasses.replace(values.sdist("old"), build=(values.wheel("setuptools", "2.0"), values.wheel("wheel"))),
            False,
        ),
    ],
)
def test_the_inputs_of_a_build_from_source(other: Sdist, same: bool) -> None:
    image = debian().with_pip_packages("old")
    one, two = (
        digests(planned(image, values.locked(image, sdists=[it])), Built) for it in (values.sdist("old"), other)
    )
    assert (one == two) == same


# --- wheels that hold the same files


def overlapping(image: Image, *groups: tuple[str, ...], sizes: int = 10_000) -> Plan:
    names = [name for layer in image.layers if (it := layer.python_requirements()) for name in it.requirements]
    lock = values.locked(image, wheels=[values.wheel(name, size=sizes) for name in names])
    overlaps = tuple(Overlap(packages=group, paths=("cv/__init__.py",), count=4) for group in groups)
    return planned(image, dataclasses.replace(lock, overlaps=overlaps))


def installed(plan: Plan) -> list[list[str]]:
    return [[wheel.name for wheel in it.wheels] for step in plan.steps if isinstance(it := step.body, Wheels)]


@pytest.mark.parametrize("sizes", [10_000, 9 * MB])
def test_wheels_with_a_common_file_are_one_layer_in_pips_order(sizes: int) -> None:
    image = debian().with_pip_packages("cv", "cv-headless", "six")
    for order in (["cv-headless", "cv"], ["cv", "cv-headless"]):
        layers = installed(overlapping(image, tuple(order), sizes=sizes))
        assert order in layers and sorted(name for layer in layers for name in layer) == ["cv", "cv-headless", "six"]
    assert overlapping(image, ("cv-headless", "cv")).digest != overlapping(image, ("cv", "cv-headless")).digest


def test_of_two_layers_the_file_of_the_later_layer_is_used() -> None:
    image = debian().with_pip_packages("cv").with_pip_packages("cv-headless")
    assert installed(overlapping(image, ("cv-headless", "cv"))) == [["cv", "cv-headless"]]
    apart = debian().with_pip_packages("cv").with_commands(["true"]).with_pip_packages("cv-headless")
    assert installed(overlapping(apart, ("cv-headless", "cv"))) == [["cv"], ["cv-headless"]]


def test_a_plan_names_an_overlap() -> None:
    plan = overlapping(debian().with_pip_packages("cv", "cv-headless"), ("cv-headless", "cv"))
    words = "both contain cv/__init__.py and 3 more: the files of cv are used"
    assert f"cv-headless 1.0, cv 1.0 ({words})" in render_plan.to_text("app", plan)
    assert json.loads(json.dumps(render_plan.to_document(plan)))["steps"][0]["overlap"] == words
    several = Overlap(packages=("c", "b", "a"), paths=("x",), count=1)
    assert str(several) == "c, b and a contain x: the file of the later package is used"
    assert str(Overlap(packages=("b", "a"), paths=("x",), count=1)) == "b and a both contain x: the file of a is used"


# --- what depends on what


def test_wheels_depend_only_on_themselves_and_the_toolchain() -> None:
    plain = debian().with_pip_packages("torch", "six")
    torch = [values.wheel("torch", size=9 * MB)]
    wanted = digests(planned(plain, values.locked(plain, wheels=torch)), Wheels)
    busy = (
        debian()
        .with_apt_packages("git")
        .with_source_file("test_lock.py", "/etc")
        .with_env_vars({"A": "1"})
        .with_workdir("/x")
        .with_pip_packages("torch", "six")
        .with_commands(["true"])
    )
    named = Image.from_base("registry.test/base:1", python_version="3.11").with_pip_packages("torch", "six")
    for image, base in ((busy, values.BASE), (plain, values.OTHER_BASE), (named, values.OTHER_BASE)):
        assert digests(planned(image, values.locked(image, base=base, wheels=torch)), Wheels) == wanted
    for step in only(planned(busy, values.locked(busy)), Wheels):
        assert step.reads == ()


def test_debs_depend_on_the_base_and_on_files_that_apt_reads() -> None:
    def debs(image: Image, base: BaseImage = values.BASE) -> list[str]:
        return digests(planned(image, values.locked(image, base=base)), Debs)

    wanted = debs(debian().with_apt_packages("git"))
    assert debs(debian().with_pip_packages("six").with_apt_packages("git")) == wanted
    assert debs(debian().with_source_file("test_lock.py", "/srv").with_apt_packages("git")) == wanted
    assert debs(debian().with_env_vars({"A": "1"}).with_workdir("/x").with_apt_packages("git")) == wanted
    assert debs(debian().with_apt_packages("git").with_source_file("test_lock.py", "/etc/apt")) == wanted
    assert debs(debian().with_apt_packages("git"), values.OTHER_BASE) != wanted
    assert debs(debian().with_source_file("test_lock.py", "/etc/apt").with_apt_packages("git")) != wanted
    assert debs(debian().with_commands(["true"]).with_apt_packages("git")) != wanted


@pytest.mark.parametrize("place", ["/etc/apt", "/usr/share/keyrings", "/var/lib", "/", "etc/apt", "/bin"])
def test_files_that_apt_reads_come_before_apt(place: str) -> None:
    image = debian().with_pip_packages("six").with_source_folder("../layers", place, True).with_apt_packages("git")
    plan = planned(image)
    (debs,) = only(plan, Debs)
    (files,) = only(plan, Files)
    assert [plan.steps[index] for index in debs.reads] == [files]


def test_the_second_apt_layer_reads_the_first() -> None:
    plan = planned(debian().with_apt_packages("git").with_pip_packages("six").with_apt_packages("curl"))
    first, second = only(plan, Debs)
    assert [plan.steps[index] for index in second.reads] == [first]


def test_a_command_reads_all_earlier_steps_and_no_later_step() -> None:
    plan = planned(full(), full_lock())
    for number, step in enumerate(plan.steps):
        if isinstance(step.body, Command):
            assert step.reads == tuple(range(number))


def test_a_command_has_the_variables_and_directory_of_the_layers_before() -> None:
    image = (
        debian()
        .with_commands(["a"])
        .with_env_vars({"A": "1"})
        .with_workdir("/x")
        .with_commands(["b"])
        .with_env_vars({"A": "2"})
        .with_workdir("/y")
    )
    plan = planned(image)
    first, second = (step.body for step in only(plan, Command))
    assert isinstance(first, Command) and isinstance(second, Command)
    assert "A" not in dict(first.env) and first.cwd == "/"
    assert dict(second.env)["A"] == "1" and second.cwd == "/x"
    assert dict(plan.env)["A"] == "2" and plan.workdir == "/y"
    assert dict(first.env)["PATH"].startswith("/opt/venv/bin:")


def test_earlier_layers_decide_a_command() -> None:
    def command(image: Image) -> str:
        return digests(planned(image), Command)[0]

    found = {
        command(image.with_commands(["true"]))
        for image in (
            debian(),
            debian().with_pip_packages("six"),
            debian().with_apt_packages("git"),
            debian().with_env_vars({"A": "1"}),
            debian().with_workdir("/tmp"),
            debian().with_workdir("/x"),
            debian().with_source_file("test_lock.py"),
            debian().with_commands(["other"]),
        )
    }
    assert len(found) == 8


# --- destinations


@pytest.mark.parametrize(
    ("workdir", "given", "found"),
    [
        (None, "x", "/x/layers"),
        (None, ".", "/layers"),
        ("/srv/app", "x", "/srv/app/x/layers"),
        ("/srv/app", "/x", "/x/layers"),
        ("/srv/app", ".", "/srv/app/layers"),
    ],
)
def test_relative_destinations_are_in_the_work_directory(workdir: str | None, given: str, found: str) -> None:
    image = debian().with_workdir(workdir) if workdir else debian()
    (files,) = only(planned(image.with_source_folder("../layers", given)), Files)
    assert isinstance(files.body, Files) and files.body.destination == found


def test_the_bases_work_directory_is_used_until_a_layer_sets_another() -> None:
    config = json.loads(values.CONFIG)
    config["config"]["WorkingDir"] = "/home/base"
    base = dataclasses.replace(values.BASE, config=json.dumps(config))
    image = debian().with_source_file("test_lock.py")
    plan = planned(image, values.locked(image, base=base))
    (files,) = only(plan, Files)
    assert isinstance(files.body, Files) and files.body.destination == "/home/base/test_lock.py"
    assert plan.workdir == "/home/base"


@pytest.mark.parametrize("path", ["/", "/tmp", "/usr", "/opt", "/var/tmp"])
def test_a_directory_that_every_base_has_is_not_made(path: str) -> None:
    assert only(planned(debian().with_workdir(path)), Directory) == []
    assert len(only(planned(debian().with_workdir("/usr/x")), Directory)) == 1


def test_a_later_layer_wins_over_an_earlier_one() -> None:
    image = debian().with_source_file("test_lock.py", "/x").with_source_folder("../layers", "/x", True)
    first, second = only(planned(image), Files)
    assert (first.layer, second.layer) == (0, 1)


def test_a_variable_that_is_set_twice_has_the_later_value() -> None:
    plan = planned(debian().with_env_vars({"A": "1", "LANG": "C"}).with_env_vars({"A": "2"}))
    assert dict(plan.env)["A"] == "2" and dict(plan.env)["LANG"] == "C"


def test_a_base_without_a_path_gets_the_usual_one() -> None:
    base = dataclasses.replace(values.BASE, config="{}")
    image = debian()
    plan = planned(image, values.locked(image, base=base))
    assert dict(plan.env)["PATH"] == "/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@pytest.mark.parametrize(
    ("command", "title"),
    [
        ("make all", "make all"),
        ("\n  first\nsecond", "first ..."),
        ("x" * 61, "x" * 60 + " ..."),
        (["touch", "/a b"], "touch '/a b'"),
        (["/bin/sh", "-c", "x"], "/bin/sh -c x"),
    ],
)
def test_a_command_has_a_short_title(command: str | list[str], title: str) -> None:
    (step,) = only(planned(debian().with_commands([command])), Command)
    assert step.title == title


def test_a_small_wheel_belongs_to_the_line_that_asked_first() -> None:
    image = debian().with_pip_packages("six").with_pip_packages("tomli")
    lines = {
        wheel.name: step.layer
        for step in only(planned(image), Wheels)
        for wheel in (step.body.wheels if isinstance(step.body, Wheels) else ())
    }
    assert lines["six"] == 0 and isinstance(values.locked(image).layers[0].wheels[0], Wheel)
