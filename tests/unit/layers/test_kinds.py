"""apt, variables, work directory, commands, sources, bases: normal forms, refusals, and what they lower to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flyte_images_layers import (
    AptPackages,
    Commands,
    DebianBase,
    EnvVars,
    Layer,
    LayerError,
    ReferenceBase,
    Resolved,
    SourceFile,
    SourceFolder,
    Workdir,
)
from flyte_images_layers.steps import AddFiles, InstallDebs, RunCommand, SetEnv, SetWorkdir, Step
from tests.fakes import values

DEBS = (values.deb("curl"), values.deb("git"))
RESOLVED = Resolved(debs=DEBS, contents=("sha256:one", "sha256:two"))


def folder(dst: Any, *, src: str = "/home/me/proj", contents_only: bool = False, ignore: Any = ()) -> SourceFolder:
    return SourceFolder.at(src, dst=dst, contents_only=contents_only, ignore=ignore, location=None)


@pytest.mark.parametrize(
    ("layer", "steps"),
    [
        (AptPackages(packages=("git", "curl")), (InstallDebs(debs=DEBS),)),
        (EnvVars(variables={"B": "2", "A": "1"}), (SetEnv(variables=(("A", "1"), ("B", "2"))),)),
        (EnvVars(variables={}), ()),
        (Workdir(path="/app"), (SetWorkdir(path="/app"),)),
        (
            Commands(commands=["echo $HOME; ls", ("touch", "/a b")]),
            (RunCommand(argv=("/bin/sh", "-ec", "echo $HOME; ls")), RunCommand(argv=("touch", "/a b"))),
        ),
        (folder("."), (AddFiles(content="sha256:one", destination="./proj"),)),
        (folder("/app"), (AddFiles(content="sha256:one", destination="/app/proj"),)),
        (folder("/app", contents_only=True), (AddFiles(content="sha256:one", destination="/app"),)),
        (
            SourceFile.at(["/x/b.py", "/y/a.py"], dst="etc", location=None),
            (
                AddFiles(content="sha256:one", destination="etc/a.py"),
                AddFiles(content="sha256:two", destination="etc/b.py"),
            ),
        ),
    ],
)
def test_a_layer_lowers_to_its_steps(layer: Layer, steps: tuple[Step, ...]) -> None:
    contents = RESOLVED.contents[: len(layer.local_sources())]
    assert layer.lower(Resolved(debs=DEBS, contents=contents)) == steps


@pytest.mark.parametrize(
    ("one", "same"),
    [
        (AptPackages(packages=("git", "curl")), AptPackages(packages=("curl", "git", "curl"))),
        (AptPackages(packages=(" git",)), AptPackages(packages=("git",))),
        (EnvVars(variables={"A": "1", "B": "2"}), EnvVars(variables={"B": "2", "A": "1"})),
        (Workdir(path="/app"), Workdir(path="//app/x/..//")),
        (Commands(commands=["a", ["b"]]), Commands(commands=("a", ("b",)))),
        (folder("/app"), folder("/app/./x/..//")),
        (
            SourceFile.at(["/x/a", "/x/b"], dst="/d", location=None),
            SourceFile.at(["/x/b", "/x/a"], dst="/d", location=None),
        ),
    ],
)
def test_two_spellings_are_one_value(one: Layer, same: Layer) -> None:
    assert one == same
    assert hash(one) == hash(same)


@pytest.mark.parametrize("name", ["git", "g++", "libc6:amd64", "curl=7.88.1-10+deb12u5", "git=1:2.39.2-1.1", "0ad"])
def test_names_and_versions_of_debian_packages(name: str) -> None:
    assert AptPackages(packages=(name,)).packages == (name,)


ONES: list[tuple[Callable[[], object], str, str | None]] = [
    (lambda: AptPackages(packages=("Git",)), "`Git` is not the name of a Debian package", "lower-case names"),
    (lambda: AptPackages(packages=("git curl",)), "`git curl` is not the name", "one for each argument"),
    (lambda: AptPackages(packages=("git; rm -rf /",)), "`git; rm -rf /` is not the name", "with_apt_packages("),
    (lambda: AptPackages(packages=("--purge",)), "`--purge` is not the name", "lower-case"),
    (lambda: AptPackages(packages=("git=",)), "`git=` is not the name", "lower-case"),
    (lambda: AptPackages(packages=(["git"],)), "not a list: ['git']", 'with_apt_packages("git")'),  # type: ignore[arg-type]
    (lambda: AptPackages(packages=()), "with_apt_packages was given no package", "leave the call out"),
    (lambda: EnvVars(variables={"1A": "x"}), "`1A` is not the name of an environment variable", "letters, digits"),
    (lambda: EnvVars(variables={"A=B": "x"}), "`A=B` is not the name", "letters"),
    (lambda: EnvVars(variables={"A": 1}), "the value of `A` is int, not a string: 1", '{"A": "1"}'),
    (lambda: EnvVars(variables={"A": None}), "the value of `A` is NoneType", '{"A": "None"}'),
    (lambda: EnvVars(variables={"A": "x\0"}), "the value of `A` holds a NUL byte", None),
    (lambda: EnvVars(variables="A=1"), "with_env_vars takes a mapping, not str: 'A=1'", '{"NAME": "value"}'),
    (lambda: EnvVars(variables=("A=1",)), "with_env_vars takes a mapping, not tuple: ('A=1',)", '{"NAME": "value"}'),
    (lambda: Workdir(path="app"), "`app` is not an absolute path", 'with_workdir("/app")'),
    (lambda: Workdir(path=""), "`` is not an absolute path", 'with_workdir("/app")'),
    (lambda: Workdir(path=None), "`None` is not an absolute path", 'with_workdir("/app")'),  # type: ignore[arg-type]
    (lambda: Workdir(path="/a\0b"), "is not an absolute path", 'with_workdir("/app")'),
    (
        lambda: Commands(commands="apt-get update"),
        "takes a list of commands, not str: 'apt-get update'",
        "with_commands([",
    ),  # type: ignore[arg-type]
    (lambda: Commands(commands=()), "with_commands was given no command", "leave the call out"),
    (lambda: Commands(commands=("",)), "'' is not a command", "a shell command as a string"),
    (lambda: Commands(commands=(" \n",)), "is not a command", "argv as a list"),
    (lambda: Commands(commands=((),)), "() is not a command", "argv"),
    (lambda: Commands(commands=(("a", 1),)), "('a', 1) is not a command", "list of strings"),  # type: ignore[arg-type]
    (lambda: Commands(commands=("a\0b",)), "is not a command", "argv"),
    (lambda: folder(".."), "`..` leaves the work directory", "absolute path: dst='/app'"),
    (lambda: folder("a/../../b"), "`a/../../b` leaves the work directory", "absolute path"),
    (lambda: folder(""), "'' is not a path in the image", "relative to the workdir"),
    (lambda: folder(3), "3 is not a path in the image", "absolute path"),
    (
        lambda: folder("/a", ignore="*.pyc"),
        "ignore takes a list of patterns, not a string: '*.pyc'",
        "ignore=['*.pyc']",
    ),
    (lambda: SourceFile.at([], dst=".", location=None), "with_source_file was given no file", None),
    (lambda: SourceFile.at(["/a/x", "/b/x"], dst=".", location=None), "have the same name `x`", "different folders"),
    (lambda: DebianBase(python="2.7"), "`2.7` is not a Python version", '"3.12" or (3, 12)'),
    (lambda: DebianBase(python="3"), "`3` is not a Python version", '"3.12"'),
    (lambda: DebianBase(python="3.12.1"), "`3.12.1` is not a Python version", '"3.12"'),
    (lambda: ReferenceBase(reference="Not An Image"), "'Not An Image' is not an image reference", "from_base("),
    (lambda: ReferenceBase(reference="x:"), "'x:' is not an image reference", "from_base("),
    (lambda: ReferenceBase(reference="x@sha256:12"), "'x@sha256:12' is not an image reference", "from_base("),
    (lambda: ReferenceBase(reference=None), "None is not an image reference", "from_base("),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("make", "told", "hint"), ONES, ids=[told[:40] for _, told, _ in ONES])
def test_a_wrong_value_is_refused_with_the_value_and_a_remedy(
    make: Callable[[], object], told: str, hint: str | None
) -> None:
    with pytest.raises(LayerError) as caught:
        make()
    assert told in str(caught.value)
    assert caught.value.hint is hint if hint is None else hint in (caught.value.hint or "")


@pytest.mark.parametrize(
    "reference",
    [
        "ubuntu",
        "ubuntu:24.04",
        "library/python:3.12-slim",
        "registry.test:5000/team/app:1",
        "[2001:db8::1]:5000/app",
        "localhost/app_x/y--z:latest",
        "registry.test/app@sha256:" + "0" * 64,
        "registry.test/app:1@sha256:" + "0" * 64,
    ],
)
def test_references_of_images(reference: str) -> None:
    assert ReferenceBase(reference=reference).title == reference


@pytest.mark.parametrize("value", ["", " spaced ", "a\nb", "$HOME", '"quoted"', "'", "ü", "a=b=c"])
def test_values_of_variables_stay_as_they_are(value: str) -> None:
    (step,) = EnvVars(variables={"A": value}).lower(Resolved())
    assert step == SetEnv(variables=(("A", value),))


@pytest.mark.parametrize(
    ("commands", "title"),
    [
        (["first\nsecond"], "first"),
        (["x" * 100], "x" * 60),
        ([["a", "b c"]], "a b c"),
        (["a", "b", "c"], "a (+2 more)"),
    ],
)
def test_commands_have_a_short_title(commands: list[Any], title: str) -> None:
    assert Commands(commands=commands).title == title  # type: ignore[arg-type]
