"""What a plan is: steps, what each of them does, and what each of them reads. Values; pure."""

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
    """Unpack and compile these wheels into the virtual environment, in the toolchain, by the program `installer`.

    One after the other: where two hold the same file, the later one's is seen. `overlap` says so, for people.
    """

    kind: ClassVar[str] = "wheels"
    wheels: tuple[Wheel, ...]
    python: str
    toolchain: str
    installer: str
    overlap: str = decoration("")


@record(kw_only=True)
class Built:
    """Build the wheel of a source distribution, and put it into the virtual environment.

    A step that reads others builds on the base and on them, by the environment's Python: compilers and headers are
    there. One that reads none builds in the toolchain.
    """

    kind: ClassVar[str] = "built"
    sdist: Sdist
    python: str
    toolchain: str
    builder: str
    installer: str


@record(kw_only=True)
class Venv:
    """The skeleton of the virtual environment, which links to the interpreter that the step finds in the base."""

    kind: ClassVar[str] = "venv"
    python: str
    system_site_packages: bool
    maker: str


@record(kw_only=True)
class Debs:
    """Install these Debian packages over what the step reads."""

    kind: ClassVar[str] = "debs"
    debs: tuple[Deb, ...]


@record(kw_only=True)
class Command:
    """Run `argv` over everything below; it sees `secrets`, whose values are part of nothing, and has `limits`."""

    kind: ClassVar[str] = "command"
    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    cwd: str
    secrets: tuple[SecretMount, ...] = optional(())
    limits: StepLimits = decoration(StepLimits())


@record(kw_only=True)
class Files:
    """A local tree or file (`content` is its digest) at an absolute path."""

    kind: ClassVar[str] = "files"
    content: str
    destination: str


@record(kw_only=True)
class Directory:
    """An empty directory (a work directory that nothing else makes)."""

    kind: ClassVar[str] = "directory"
    path: str


Body = Wheels | Built | Venv | Debs | Command | Files | Directory


@record(kw_only=True)
class PlanStep:
    """One step. `reads` are the indices of the steps that lie below it, beside the base, when it runs; `digest` is
    over the body and the digests of what it reads. `title`, `layer` (index in the image) and `location` (the user's
    line) are for people."""

    body: Body
    reads: tuple[int, ...]
    digest: str
    title: str = decoration("")
    layer: int = decoration(0)
    location: Location | None = decoration(None)


@record(kw_only=True)
class Plan:
    """All that has to be done for one image."""

    platform: str
    base: BaseImage
    toolchain: BaseImage | None
    steps: tuple[PlanStep, ...]
    env: tuple[tuple[str, str], ...]
    workdir: str
    digest: str


def below(plan: Plan, index: int) -> Plan:
    """Return the plan of what step `index` stands on: the base and the steps that it reads, and no other."""
    kept = sorted({*plan.steps[index].reads})
    place = {old: new for new, old in enumerate(kept)}
    steps = tuple(
        replace(plan.steps[old], reads=tuple(place[it] for it in plan.steps[old].reads if it in place)) for old in kept
    )
    return replace(plan, steps=steps)


def readdressed(plan: Plan, urls: Mapping[str, str]) -> Plan:
    """Return the same plan with package files at other addresses, by their sha256."""

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
    """Every package file of a plan."""
    for step in plan.steps:
        yield from files_of(step.body)


def files_of(body: Body) -> Sequence[Wheel | Sdist | Deb]:
    """The package files that a step reads."""
    match body:
        case Wheels(wheels=wheels):
            return wheels
        case Built(sdist=sdist):
            return (sdist, *sdist.build)
        case Debs(debs=debs):
            return debs
        case _:
            return ()
