"""Image + Lock + file digests -> Plan: the steps, their order, and the steps that each step reads. Pure.

The order of steps is the order of the layers of the finished image. Inside a segment (from one command to the next),
independent layers are ordered so that large layers that rarely change come first: an engine unpacks again every layer
above a changed layer, but no layer below.
"""

from __future__ import annotations

import hashlib
import posixpath
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from flyte_images_layers import DebianBase, Layer, ReferenceBase, Resolved, digest
from flyte_images_layers.inside import text as inside
from flyte_images_layers.steps import (
    AddFiles,
    Deb,
    InstallDebs,
    InstallWheels,
    RunCommand,
    Sdist,
    SetEnv,
    SetWorkdir,
    Wheel,
)

from ..bootstrap.base_image import BaseImage
from ..errors import Location
from ..image import Image
from .lock import Lock, Overlap
from .model import VENV, Body, Built, Command, Debs, Directory, Files, Plan, PlanStep, Venv, Wheels

LARGE = 1_000_000  # a wheel of this many bytes or more has a separate layer
MAX_BUCKETS = 16
MAX_LARGE = 64  # most stores allow 127 layers per image; bases, buckets and the user's own layers need the others
RECIPE = 1  # increased whenever the same inputs must give other bytes

EVERYWHERE = frozenset(
    {"/", "/bin", "/etc", "/home", "/mnt", "/opt", "/root", "/srv", "/tmp", "/usr", "/var", "/var/tmp"}
)
"""Directories of every base, some with special modes; no step makes them."""

# apt and dpkg read files in these directories; a local file in another directory cannot change what they do.
_READ_BY_APT = ("/etc", "/usr", "/var", "/lib", "/bin", "/sbin")


def plan(image: Image, *, lock: Lock, platform: str, contents: Sequence[Sequence[str]]) -> Plan:
    """Return the plan of `image` for `platform`. `contents` holds, per layer, the digests of its local sources.

    Appending a layer does not change the digests of earlier steps.
    """
    builder = _Planner(image, lock, platform)
    for index, layer in enumerate(image.layers):
        entry = lock.layers[index]
        resolved = Resolved(wheels=entry.wheels, sdists=entry.sdists, debs=entry.debs, contents=tuple(contents[index]))
        builder.add(index, layer, resolved)
    builder.close()
    steps = tuple(builder.steps)
    env = tuple(builder.env.items())
    identity = (RECIPE, platform, lock.base.digest, [step.digest for step in steps], env, builder.workdir)
    return Plan(
        platform=platform,
        base=lock.base,
        toolchain=lock.toolchain,
        steps=steps,
        env=env,
        workdir=builder.workdir,
        digest=digest("plan", identity),
    )


class _Planner:
    """Collects the steps of one segment at a time; each command closes a segment."""

    def __init__(self, image: Image, lock: Lock, platform: str) -> None:
        self.image = image
        self.lock = lock
        self.platform = platform
        self.steps: list[PlanStep] = []
        self.barrier = 0  # index of the first step of the open segment
        # A Debian base has Python from the start. On another base, steps before the first Python package do not see the
        # virtual environment, so that appending a Python package does not change them.
        self.has_python = isinstance(image.base, DebianBase)
        self.env = environment(lock.base)
        if self.has_python:
            self.env = in_venv(self.env)
        self.workdir = str(lock.base.settings.get("WorkingDir") or "/")
        self.installer = _digest_of("install_wheels.py")
        self.wheels: list[tuple[int, Wheel]] = []
        self.sdists: list[tuple[int, Sdist]] = []
        self.debs: list[tuple[int, tuple[Deb, ...], int]] = []
        self.files: list[tuple[int, Body]] = []
        self.venv: int | None = None  # its step

    def add(self, index: int, layer: Layer, resolved: Resolved) -> None:
        """Add layer `index` of the image with its resolved files."""
        for step in layer.lower(resolved):
            match step:
                case InstallWheels():
                    if not self.has_python:
                        self.has_python, self.env = True, in_venv(self.env)
                    self.wheels += [(index, wheel) for wheel in step.wheels]
                    self.sdists += [(index, sdist) for sdist in step.sdists]
                case InstallDebs():
                    self.debs.append((index, step.debs, len(self.files)))
                case AddFiles():
                    path = posixpath.normpath(posixpath.join(self.workdir, step.destination))
                    self.files.append((index, Files(content=step.content, destination=path)))
                case SetEnv():
                    self.env.update(step.variables)
                case SetWorkdir():
                    self.workdir = step.path
                    if step.path not in EVERYWHERE:
                        self.files.append((index, Directory(path=step.path)))
                case RunCommand():
                    self.close()
                    env = tuple(self.env.items())
                    command = Command(
                        argv=step.argv, env=env, cwd=self.workdir, secrets=step.secrets, limits=step.limits
                    )
                    self._step(index, command, reads=range(len(self.steps)), title=_words(step.argv))
                    self.barrier = len(self.steps)

    def close(self) -> None:
        """Add the open segment's steps in order: large wheels, files that apt reads, apt, small wheels, other files."""
        together = self._overlapping()
        separate = [entry for entry in self.wheels if not any(entry in group for group, _ in together)]
        large, small = _split(separate)
        for index, wheel in large:
            self._step(index, self._wheels([wheel]), title=f"{wheel.name} {wheel.version}")
        for group, overlap in together:
            wheels = [wheel for _, wheel in group]
            title = ", ".join(f"{wheel.name} {wheel.version}" for wheel in wheels)
            self._step(group[0][0], replace(self._wheels(wheels), overlap=overlap.summary), title=title)
        on_base = [(index, sdist) for index, sdist in self.sdists if self._is_built_on_base(index)]
        self._sdists([entry for entry in self.sdists if entry not in on_base])
        early, apt = self._debs()
        if self.has_python and self.venv is None:
            self.venv = self._step(0, self._venv(), title="virtual environment")
        self._sdists(on_base, apt)
        for bucket in _buckets(small):
            names = ", ".join(f"{wheel.name} {wheel.version}" for _, wheel in bucket)
            self._step(bucket[0][0], self._wheels([wheel for _, wheel in bucket]), title=names)
        for position, (index, body) in enumerate(self.files):
            if position not in early:
                self._step(index, body, title=self.image.layers[index].title)
        self.wheels, self.sdists, self.debs, self.files = [], [], [], []

    def _overlapping(self) -> list[tuple[list[tuple[int, Wheel]], Overlap]]:
        """Return groups of wheels of the segment that contain the same files, in the order of layers, then pip's order.

        Each group becomes one layer.
        """
        groups = []
        for overlap in self.lock.overlaps:
            order = {name: number for number, name in enumerate(overlap.packages)}
            group = [entry for entry in self.wheels if entry[1].name in order]
            if len(group) > 1:
                groups.append((sorted(group, key=lambda entry: (entry[0], order[entry[1].name])), overlap))
        return groups

    def _is_built_on_base(self, layer: int) -> bool:
        """Return whether a build from source in `layer` may need files of this image.

        Such files are a compiler from earlier apt packages or commands, or a base other than Debian. Without them the
        build runs in the toolchain, and another base does not change the result.
        """
        has_debs = any(debs and index < layer for index, debs, _ in self.debs)
        return has_debs or self.barrier > 0 or isinstance(self.image.base, ReferenceBase)

    def _sdists(self, sdists: Sequence[tuple[int, Sdist]], apt: Mapping[int, int] | None = None) -> None:
        """Add builds from source. With `apt` (steps, and the layers of those steps) they build on the base and the
        earlier steps; without, in the toolchain."""
        for index, sdist in sorted(sdists, key=lambda entry: entry[1].name):
            reads: Iterable[int] = ()
            if apt is not None:
                assert self.venv is not None  # the environment's interpreter runs the build
                above = (step for step, layer in apt.items() if layer < index)
                reads = dict.fromkeys((*range(self.barrier), *above, self.venv))
            self._step(index, self._built(sdist), reads=reads, title=f"{sdist.name} {sdist.version} from source")

    def _debs(self) -> tuple[set[int], dict[int, int]]:
        """Add the apt steps, and before each step the files that it reads.

        Return the positions of those files, and the layer of each added step.
        """
        early: set[int] = set()
        added: dict[int, int] = {}
        for index, debs, files_before in self.debs:
            for position, (file_index, body) in enumerate(self.files[:files_before]):
                if position not in early and _read_by_apt(body):
                    early.add(position)
                    added[self._step(file_index, body, title=self.image.layers[file_index].title)] = file_index
            if debs:
                reads = (*range(self.barrier), *added)
                added[self._step(index, Debs(debs=debs), reads=reads, title=self.image.layers[index].title)] = index
        return early, added

    def _step(self, layer: int, body: Body, *, title: str, reads: Iterable[int] = ()) -> int:
        read = tuple(reads)
        runs_on_base = isinstance(body, (Debs, Command, Venv)) or (isinstance(body, Built) and read != ())
        identity = (
            RECIPE,
            self.platform,
            self.lock.base.digest if runs_on_base else None,
            [self.steps[i].digest for i in read],
            body,
        )
        location = self.image.layers[layer].location if self.image.layers else self.image.location
        self.steps.append(
            PlanStep(
                body=body,
                reads=read,
                digest=digest("step", identity),
                title=title,
                layer=layer,
                location=location if isinstance(location, Location) else None,
            )
        )
        return len(self.steps) - 1

    def _wheels(self, wheels: Sequence[Wheel]) -> Wheels:
        toolchain = self.lock.toolchain
        assert toolchain is not None  # wheels are always resolved for a toolchain
        return Wheels(
            wheels=tuple(wheels),
            python=toolchain.python,
            toolchain=toolchain.digest,
            installer=self.installer,
        )

    def _built(self, sdist: Sdist) -> Built:
        toolchain = self.lock.toolchain
        assert toolchain is not None  # as for wheels
        return Built(
            sdist=sdist,
            python=toolchain.python,
            toolchain=toolchain.digest,
            builder=_digest_of("build_wheel.py"),
            installer=self.installer,
        )

    def _venv(self) -> Venv:
        return Venv(
            python=self.image.python,
            maker=_digest_of("make_venv.sh"),
            # Packages of a base that the user named (a CUDA image with torch, for example) are visible; the modules of
            # Debian's own Python, which serve Debian's tools, are not.
            system_site_packages=isinstance(self.image.base, ReferenceBase),
        )


def _words(argv: Sequence[str]) -> str:
    """Return a command as one short line."""
    text = argv[2] if argv[:2] == ("/bin/sh", "-ec") else shlex.join(argv)
    lines = text.strip().splitlines() or [""]
    return lines[0][:60] + (" ..." if len(lines) > 1 or len(lines[0]) > 60 else "")


def _digest_of(program: str) -> str:
    return hashlib.sha256(inside(program)).hexdigest()


def environment(base: BaseImage) -> dict[str, str]:
    """Return the environment variables of the base, with which every step and the image start."""
    env = dict(item.partition("=")[::2] for item in base.settings.get("Env") or ())
    env.setdefault("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    return env


def in_venv(env: Mapping[str, str]) -> dict[str, str]:
    """Return the variables with the virtual environment first on PATH."""
    return {**env, "PATH": f"{VENV}/bin:{env['PATH']}", "VIRTUAL_ENV": VENV}


def _split(wheels: Sequence[tuple[int, Wheel]]) -> tuple[list[tuple[int, Wheel]], list[tuple[int, Wheel]]]:
    """Return the wheels with separate layers, largest first, and the other wheels."""
    by_size = sorted(wheels, key=lambda entry: (-entry[1].size, entry[1].name))
    large = sum(1 for _, wheel in by_size if wheel.size >= LARGE)
    return by_size[: min(large, MAX_LARGE)], by_size[min(large, MAX_LARGE) :]


def _buckets(wheels: Sequence[tuple[int, Wheel]]) -> list[list[tuple[int, Wheel]]]:
    """Distribute small wheels by the hash of their name, so that a change of one package changes one bucket.

    A layer takes about 0.1 s to export and unpack, however small the layer is, and most packages bring others: a few
    wheels go into two buckets, and a bucket holds about 16 wheels.
    """
    count = 2
    while count < MAX_BUCKETS and len(wheels) > 16 * count:
        count *= 2
    buckets: Mapping[int, list[tuple[int, Wheel]]] = {number: [] for number in range(count)}
    for entry in sorted(wheels, key=lambda entry: entry[1].name):
        buckets[hashlib.sha256(entry[1].name.encode()).digest()[0] % count].append(entry)
    return [bucket for bucket in buckets.values() if bucket]


def _read_by_apt(body: Body) -> bool:
    if not isinstance(body, Files):
        return False
    path = body.destination
    return path == "/" or any(path == root or path.startswith(root + "/") for root in _READ_BY_APT)
