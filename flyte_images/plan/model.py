"""A plan: its steps, the action of each step, and the steps that each step reads. Values; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, TypeVar

from flyte_images_layers import decoration
from flyte_images_layers.canonical import optional
from flyte_images_layers.record import record
from flyte_images_layers.steps import Deb, Sdist, SecretMount, StepLimits, Wheel

from ..bootstrap.base_image import BaseImage
from ..errors import Location

_File = TypeVar("_File", Wheel, Sdist, Deb)

VENV = "/opt/venv"
LABEL = "io.flyte-images.plan"
"""The label of an image that holds the digest of its plan."""


@record(kw_only=True)
class Wheels:
    """Unpack and compile these wheels into the virtual environment, in the toolchain, with the program `installer`.

    If two wheels contain the same file, the file of the later wheel is used; `overlap` describes this for people.
    """

    kind: ClassVar[str] = "wheels"
    wheels: tuple[Wheel, ...]
    python: str
    toolchain: str
    installer: str
    overlap: str = decoration("")


@record(kw_only=True)
class Built:
    """Build the wheel of a source distribution, and install the wheel into the virtual environment.

    A step that reads other steps builds on the base and those steps, with the environment's Python, where compilers and
    headers are installed. A step that reads no other step builds in the toolchain.
    """

    kind: ClassVar[str] = "built"
    sdist: Sdist
    python: str
    toolchain: str
    builder: str
    installer: str


@record(kw_only=True)
class Venv:
    """The skeleton of the virtual environment, with links to the base's interpreter."""

    kind: ClassVar[str] = "venv"
    python: str
    system_site_packages: bool
    maker: str


@record(kw_only=True)
class Debs:
    """Install these Debian packages on the base and the steps that this step reads."""

    kind: ClassVar[str] = "debs"
    debs: tuple[Deb, ...]


@record(kw_only=True)
class Command:
    """Run `argv` on everything below, with `secrets`, whose values no digest contains, and under `limits`."""

    kind: ClassVar[str] = "command"
    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    cwd: str
    secrets: tuple[SecretMount, ...] = optional(())
    limits: StepLimits = decoration(StepLimits())


@record(kw_only=True)
class Files:
    """A local tree or file at an absolute path; `content` is the digest of the tree or file."""

    kind: ClassVar[str] = "files"
    content: str
    destination: str


@record(kw_only=True)
class Directory:
    """An empty directory: a work directory that no other step makes."""

    kind: ClassVar[str] = "directory"
    path: str


Body = Wheels | Built | Venv | Debs | Command | Files | Directory


@record(kw_only=True)
class PlanStep:
    """One step. The step runs on the base and the steps with the indices `reads`; `digest` covers the body and the
    digests of those steps. `title`, `layer` (index in the image) and `location` (the user's line) are for people."""

    body: Body
    reads: tuple[int, ...]
    digest: str
    title: str = decoration("")
    layer: int = decoration(0)
    location: Location | None = decoration(None)


@record(kw_only=True)
class Plan:
    """Everything that a build of one image does."""

    platform: str
    base: BaseImage
    toolchain: BaseImage | None
    steps: tuple[PlanStep, ...]
    env: tuple[tuple[str, str], ...]
    workdir: str
    digest: str


def below(plan: Plan, index: int) -> Plan:
    """Return the plan of everything below step `index`: the base and the steps that the step reads."""
    indices = sorted({*plan.steps[index].reads})
    new = {old: number for number, old in enumerate(indices)}
    steps = tuple(
        replace(plan.steps[old], reads=tuple(new[it] for it in plan.steps[old].reads if it in new)) for old in indices
    )
    return replace(plan, steps=steps)


def readdressed(plan: Plan, urls: Mapping[str, str]) -> Plan:
    """Return the plan with other addresses of package files; `urls` are the addresses by sha256."""

    def at(file: _File) -> _File:
        return replace(file, url=urls.get(file.sha256, file.url))

    def body_of(body: Body) -> Body:
        match body:
            case Wheels(wheels=wheels):
                return replace(body, wheels=tuple(map(at, wheels)))
            case Debs(debs=debs):
                return replace(body, debs=tuple(map(at, debs)))
            case Built(sdist=sdist):
                return replace(body, sdist=replace(at(sdist), build=tuple(map(at, sdist.build))))
            case _:
                return body

    return replace(plan, steps=tuple(replace(step, body=body_of(step.body)) for step in plan.steps))


def packages(plan: Plan) -> Iterable[Wheel | Sdist | Deb]:
    """Yield every package file of a plan."""
    for step in plan.steps:
        yield from files_of(step.body)


def files_of(body: Body) -> Sequence[Wheel | Sdist | Deb]:
    """Return the package files that a step reads."""
    match body:
        case Wheels(wheels=wheels):
            return wheels
        case Built(sdist=sdist):
            return (sdist, *sdist.build)
        case Debs(debs=debs):
            return debs
        case _:
            return ()
