"""Plan -> llb.State and image configuration. The only module that imports plan and llb for this. No I/O.

All layers except those of commands are built separately from the base and merged with the base. An engine that cannot
merge gets the same files as a chain of copies.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from typing import Any

from flyte_images_layers.inside import text as inside
from flyte_images_layers.steps import EPOCH, Deb, Sdist, SecretMount, Wheel

from .. import llb
from ..bootstrap.base_image import BaseImage
from ..errors import SpecError
from .model import LABEL, VENV, Built, Command, Debs, Directory, Files, Plan, PlanStep, Venv, Wheels
from .network_settings import PROXY_VARIABLES, STEP_CA_VARIABLES
from .one_layer import one_layer
from .sources import EngineFeatures, SourceMap, base_state, layout_state, package_state

PROGRAMS = "/flyte-images/programs"
_OUT = "/flyte-images/out"
_IN = "/flyte-images/in"
_BUILD = "/flyte-images/build"
_SECRETS = "/run/secrets/flyte-images"
_NS = 1_000_000_000


_LIMITED = ("/bin/sh", f"{PROGRAMS}/limited.sh")
_SETTLED = (*_LIMITED, "/bin/sh", f"{PROGRAMS}/settled.sh", str(EPOCH))


_SHELL = ("/bin/sh", "-ec")  # runs a command that is a single string


def users_command(command: str) -> str:
    """Return the user's command from the engine's report of the command (quoted for a shell).

    >>> users_command(f"{shlex.join(_SETTLED)} /bin/sh -ec 'echo a; exit 1'")
    'echo a; exit 1'
    >>> users_command(f"{shlex.join(_SETTLED)} touch 'a b'")
    "touch 'a b'"
    """
    words = tuple(shlex.split(command))
    if words[: len(_SETTLED)] == _SETTLED:
        words = words[len(_SETTLED) :]
    return words[2] if words[:2] == _SHELL and len(words) == 3 else shlex.join(words)


def users_words(text: str) -> str:
    """Return an engine's text about a command without the programs of flyte-images that run the command.

    >>> users_words(f'process "{shlex.join(_SETTLED)} make all" did not complete')
    'process "make all" did not complete'
    >>> users_words("/flyte-images/programs/settled.sh: 12: mkae: not found")
    'mkae: not found'
    """
    prefix = " ".join((*_SETTLED, ""))
    text = re.sub(rf"{re.escape(_SETTLED[3])}: (line )?\d+: ", "", text)  # the shell's own line number
    return text.replace(prefix + " ".join((*_SHELL, "")), "").replace(prefix, "")


class Lowering:
    """Lowers plans. States that several plans share are made once."""

    def __init__(self, *, features: EngineFeatures = EngineFeatures(), no_cache: bool = False) -> None:  # noqa: B008 - frozen
        self._features = features
        self.no_cache = no_cache
        self._states: dict[tuple[str, str], llb.State] = {}

    def lower(self, plan: Plan, source_map: SourceMap) -> llb.State:
        """Return the state that is the image's file system."""
        platform = llb.Platform.parse(plan.platform)
        base = below = self.base(plan.base, platform, source_map)
        layers: list[llb.State] = []  # one per step; the state of a command includes everything below the command
        above = 0  # layers from this step on are not yet part of `below`
        for index, step in enumerate(plan.steps):
            match step.body:
                case Command() as body:
                    root = self._stack(below, layers[above:])
                    below = self._command(root, step, body, platform)
                    above = index + 1
                    layers.append(below)
                case Debs() as body:
                    read = [i for i in step.reads if i >= above] if self._features.merge else range(above, index)
                    root = self._stack(below, [layers[i] for i in read])
                    result = self._debs(root, step, body, platform, source_map)
                    if self._features.merge:
                        layers.append(llb.diff(root, result, note=llb.Note(name=f"{step.title}: what was added")))
                    else:
                        below, above = result, index + 1
                        layers.append(result)
                case Built() if step.reads:
                    read = [i for i in step.reads if i >= above] if self._features.merge else range(above, index)
                    root = self._stack(below, [layers[i] for i in read])
                    layers.append(self._beside(step, plan, root, platform, source_map))
                case _:
                    layers.append(self._beside(step, plan, base, platform, source_map))
        if not self._features.merge and any(isinstance(step.body, (Command, Debs)) for step in plan.steps):
            below = one_layer(below, EPOCH)
        return self._stack(below, layers[above:])

    def _stack(self, below: llb.State, above: Sequence[llb.State]) -> llb.State:
        if self._features.merge:
            return llb.merge([below, *above])
        for state in above:
            below = llb.file(below, [llb.copy(state, "/", "/")], note=llb.Note(name="copy layer"))
        return below

    def base(self, base: BaseImage, platform: llb.Platform, source_map: SourceMap) -> llb.State:
        key = ("base", base.digest)
        if key not in self._states:
            self._states[key] = base_state(base, platform, self._features, source_map)
        return self._states[key]

    def _beside(
        self, step: PlanStep, plan: Plan, base: llb.State, platform: llb.Platform, source_map: SourceMap
    ) -> llb.State:
        key = (step.digest, plan.platform)
        if key in self._states:
            return self._states[key]
        note = self._note(step)
        match step.body:
            case Wheels() as body:
                assert plan.toolchain is not None  # the planner makes such steps only with a toolchain
                state = self._wheels(self.base(plan.toolchain, platform, source_map), body, note, platform, source_map)
            case Built() as body:
                assert plan.toolchain is not None
                toolchain = self.base(plan.toolchain, platform, source_map)
                built_in = (base, f"{VENV}/bin/python", _path(plan.base)) if step.reads else None
                state = self._built(toolchain, body, note, platform, source_map, built_in, limits(step))
            case Venv() as body:
                shared = "yes" if body.system_site_packages else "no"
                words = ("make_venv.sh", _OUT, VENV, str(EPOCH), body.python, shared)
                state = run_program(base, ("/bin/sh",), words, note=note, platform=platform, path=_path(plan.base))
            case Files() as body:
                name = source_map.files.get((body.content, body.destination))
                if name is None:
                    raise SpecError(f"no local files were packed for `{body.destination}`")
                state = layout_state(name, None, note, self._features, source_map)
            case Directory() as body:
                directory = llb.file(None, [llb.mkdir(body.path, make_parents=True)], note=note)
                state = llb.file(None, [llb.copy(directory, "/", "/")], timestamp=EPOCH * _NS, note=note)
            case _:
                raise AssertionError(step.body)
        self._states[key] = state
        return state

    def _wheels(
        self, toolchain: llb.State, body: Wheels, note: llb.Note, platform: llb.Platform, source_map: SourceMap
    ) -> llb.State:
        mounts, paths = self.fetched(body.wheels, note, source_map)
        words = ("install_wheels.py", _OUT, VENV, str(EPOCH), *paths)
        python = (f"python{body.python}", "-I", "-S")
        return run_program(toolchain, python, words, note=note, platform=platform, mounts=mounts)

    def _built(
        self,
        toolchain: llb.State,
        body: Built,
        note: llb.Note,
        platform: llb.Platform,
        source_map: SourceMap,
        built_in: tuple[llb.State, str, str] | None,
        most: llb.SecretEnv,
    ) -> llb.State:
        """Return three steps: install the build's requirements, build the wheel, and install the wheel.

        `built_in` is the state in which the build runs, its Python and its PATH; None builds in the toolchain.
        """
        python = (f"python{body.python}", "-I", "-S")
        mounts, paths = self.fetched(body.sdist.build, note, source_map)
        words = ("install_wheels.py", _OUT, "/env", str(EPOCH), *paths)
        needs = run_program(toolchain, python, words, note=note, platform=platform, mounts=mounts)
        [mount], [path] = self.fetched([body.sdist], note, source_map)
        words = ("build_wheel.py", f"{_OUT}/wheel", f"{_BUILD}/env", path)
        mounts = [mount, llb.bind(_BUILD, needs)]
        if built_in is None:
            built = run_program(toolchain, python, words, note=note, platform=platform, mounts=mounts, most=most)
        else:
            root, interpreter, where = built_in
            own = (interpreter, "-I", "-S")
            built = run_program(root, own, words, note=note, platform=platform, mounts=mounts, path=where, most=most)
        words = ("install_wheels.py", _OUT, VENV, str(EPOCH), f"{_IN}/wheel")
        return run_program(
            toolchain,
            python,
            words,
            note=note,
            platform=platform,
            mounts=[llb.bind(f"{_IN}/wheel", built, selector="/wheel")],
        )

    def fetched(
        self, packages: Sequence[Wheel | Sdist | Deb], note: llb.Note, source_map: SourceMap
    ) -> tuple[list[llb.Mount], list[str]]:
        """Return a mount and a path for each package file."""
        mounts, paths = [], []
        for number, package in enumerate(packages):
            key = ("fetch", package.sha256)
            if key not in self._states:
                fetch = llb.Note(name=f"fetch {package.filename}", group=note.group, location=note.location)
                self._states[key] = package_state(package, fetch, self._features, source_map)
            mounts.append(llb.bind(f"{_IN}/{number}", self._states[key]))
            paths.append(f"{_IN}/{number}/{package.filename}")
        return mounts, paths

    def _debs(
        self, below: llb.State, step: PlanStep, body: Debs, platform: llb.Platform, source_map: SourceMap
    ) -> llb.State:
        note = self._note(step)
        mounts, paths = self.fetched(body.debs, note, source_map)
        return llb.run(
            below,
            (*_LIMITED, "/bin/sh", f"{PROGRAMS}/install_debs.sh", str(EPOCH), *paths),
            platform=platform,
            env=STEP_ENV,
            mounts=[*mounts, program("install_debs.sh", "limited.sh"), llb.tmpfs("/tmp")],
            secret_env=[limits(step)],
            note=note,
        ).root

    def _command(self, below: llb.State, step: PlanStep, body: Command, platform: llb.Platform) -> llb.State:
        wrapped = (*_SETTLED, *body.argv)
        return llb.run(
            below,
            wrapped,
            platform=platform,
            env={**STEP_ENV, **dict(body.env)},
            cwd=body.cwd,
            network=llb.Network.UNSET,
            mounts=[HOST_BUNDLE, program("settled.sh", "limited.sh"), *_secret_files(body.secrets)],
            secret_env=[*HOST_SETTINGS, limits(step), *_secret_variables(body.secrets)],
            note=self._note(step),
        ).root

    def _note(self, step: PlanStep) -> llb.Note:
        group = llb.Group(step.digest, step.title)
        return llb.Note(name=step.title, group=group, location=step.location, ignore_cache=self.no_cache)


# The machine and the day must not influence the result of a step.
STEP_ENV = {
    "LC_ALL": "C.UTF-8",
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    "SOURCE_DATE_EPOCH": str(EPOCH),
    "DEBIAN_FRONTEND": "noninteractive",
}


# This machine's settings for a step with network. All are optional and none is in a digest: a machine without a proxy,
# or with another proxy, has the same steps.
BUNDLE_PATH = f"{_SECRETS}/ca-bundle.pem"
HOST_BUNDLE = llb.secret(BUNDLE_PATH, id="flyte-images-ca-bundle", mode=0o444, optional=True)
HOST_SETTINGS = tuple(
    llb.SecretEnv(name, f"flyte-images-env-{name}", optional=True) for name in (*STEP_CA_VARIABLES, *PROXY_VARIABLES)
)


def secret_id(secret: SecretMount) -> str:
    """Return the id of a user's secret in a step."""
    return f"flyte-images-secret-{secret.name}-{secret.variable}"


def _secret_files(secrets: Sequence[SecretMount]) -> list[llb.Mount]:
    return [llb.secret(it.path, id=secret_id(it)) for it in secrets if it.path is not None]


def _secret_variables(secrets: Sequence[SecretMount]) -> list[llb.SecretEnv]:
    return [llb.SecretEnv(it.variable, secret_id(it)) for it in secrets if it.path is None]


def limits(step: PlanStep) -> llb.SecretEnv:
    """Return the limits of a step as a secret variable, so that no digest and no cache key contains them."""
    return llb.SecretEnv("FLYTE_IMAGES_LIMITS", f"flyte-images-limits-{step.digest}", optional=True)


def run_program(
    root: llb.State,
    interpreter: Sequence[str],
    words: Sequence[str],
    *,
    note: llb.Note,
    platform: llb.Platform,
    mounts: Sequence[llb.Mount] = (),
    path: str = "/usr/local/bin:/usr/bin:/bin",
    most: llb.SecretEnv | None = None,
) -> llb.State:
    """Run a program of flyte-images on the read-only `root`; return the output directory of the program.

    `words` are the program's name and arguments.
    """
    name, *arguments = words
    return llb.run(
        root,
        (*interpreter, f"{PROGRAMS}/{name}", *arguments),
        platform=platform,
        env={**STEP_ENV, "PATH": path},
        mounts=[*mounts, program(name), llb.output(_OUT), llb.tmpfs("/tmp")],
        secret_env=[most] if most is not None else (),
        readonly_root=True,
        note=note,
    ).output(_OUT)


def program(*names: str, place: str = PROGRAMS) -> llb.Mount:
    """Return a mount of these programs of flyte-images only: a changed program changes only the steps that run it."""
    group = llb.Group("programs", "flyte-images' own programs")
    note = llb.Note(name=f"{' and '.join(names)} of flyte-images", group=group)
    files = [llb.mkfile(f"/{name}", inside(name), mode=0o644) for name in names]
    return llb.bind(place, llb.file(None, files, timestamp=EPOCH * _NS, note=note))


def _path(base: BaseImage) -> str:
    env = dict(item.partition("=")[::2] for item in base.settings.get("Env") or ())
    return env.get("PATH") or "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def _history(step: PlanStep) -> str:
    """Return the history line of a step, from the values that decide the step: equal on every machine."""
    match step.body:
        case Wheels(wheels=packages) | Debs(debs=packages):
            return ", ".join(f"{it.name} {it.version}" for it in packages)
        case Built(sdist=sdist):
            return f"{sdist.name} {sdist.version} from source"
        case Files(destination=destination):
            return f"files {destination}"
        case Directory(path=path):
            return f"directory {path}"
        case Command() | Venv():
            return step.title


def configuration(plan: Plan) -> str:
    """Return the image configuration, JSON: the base's configuration, the settings of the layers, and their history."""
    base: dict[str, Any] = dict(plan.base.configuration)
    settings = dict(plan.base.settings)
    settings["Env"] = [f"{name}={value}" for name, value in plan.env]
    settings["WorkingDir"] = plan.workdir
    settings["Labels"] = {**(settings.get("Labels") or {}), LABEL: plan.digest}
    created = base.get("created") or "1980-01-01T00:00:00Z"
    steps = ({"created": created, "created_by": _history(step)} for step in plan.steps)
    history = [*(base.get("history") or ()), *steps]
    return json.dumps({**base, "created": created, "config": settings, "history": history}, sort_keys=True)
