"""The three ways to the same image that are compared: each writes its files into a directory and names a command.

What all share: the engine, the base image (with this machine's CA bundle in it), Python 3.11 in /opt/venv, packages
byte-compiled, a folder of sources copied last, the image loaded into the engine's own store.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from .engine import Engine

REPOSITORY = Path(__file__).parents[2]
PYTHON = "3.11"
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")


def _index() -> str | None:
    """The index that the user has set for uv or pip, so that all use the same."""
    return next(
        (os.environ[name] for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL") if name in os.environ), None
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """What to build; `sources` goes into the one file of the source folder that changes."""

    packages: tuple[str, ...]
    sources: str
    registry: str | None = None

    def write_sources(self, directory: Path) -> Path:
        folder = directory / "src"
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(20):
            (folder / f"module_{number}.py").write_text(f"NUMBER = {number}\n" * 100)
        (folder / "main.py").write_text(f"# {self.sources}\n")
        return folder


class Failed(RuntimeError):
    """A contender's command failed, or its image does not work. The bench says so and goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    argv: tuple[str, ...]
    cwd: Path
    env: dict[str, str]

    def run(self) -> str:
        """Return stdout and stderr together. Raise `Failed` with both if the command fails."""
        done = subprocess.run(self.argv, cwd=self.cwd, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        text = done.stdout.decode(errors="replace")
        if done.returncode:
            raise Failed(f"{' '.join(self.argv)} exited with {done.returncode}:\n{text[-4000:]}")
        return text


class Ours:
    """`flyte-images build app.py` of the virtual environment that runs the bench."""

    label = "flyte-images"
    cold_only = False
    _program = str(Path(sys.executable).with_name("flyte-images"))

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "ours"
        self.directory.mkdir(parents=True, exist_ok=True)

    def define(self, engine: Engine, definition: Definition) -> Command:
        definition.write_sources(self.directory)
        where = f", registry={definition.registry!r}" if definition.registry else ""
        (self.directory / "app.py").write_text(
            "import flyte_images as flyte\n\n"
            f'image = flyte.Image.from_debian_base("{PYTHON}", name="bench-ours"{where})\n'
            f"image = image.with_pip_packages({', '.join(map(repr, definition.packages))})\n"
            'image = image.with_source_folder("src", "/root/src")\n'
        )
        argv = (self._program, "build", "app.py", *(("--push",) if definition.registry else ()))
        return Command(argv=argv, cwd=self.directory, env=self._env(engine))

    def define_many(self, engine: Engine, shared: tuple[str, ...], own: tuple[str, ...], registry: str) -> Command:
        """One image for each of `own`, all in one file, pushed."""
        folder = self.directory / "many"
        folder.mkdir(exist_ok=True)
        lines = ["import flyte_images as flyte"]
        for number, name in enumerate(own):
            base = f'flyte.Image.from_debian_base("{PYTHON}", name="many-{number}", registry={registry!r})'
            packages = ", ".join(map(repr, (*shared, name)))
            lines.append(f"image_{number} = {base}.with_pip_packages({packages})")
        (folder / "app.py").write_text("\n".join(lines) + "\n")
        return Command(argv=(self._program, "build", "app.py", "--push"), cwd=folder, env=self._env(engine))

    def image(self, output: str) -> str:
        return output.strip().splitlines()[-1].split()[-1]

    def forget(self) -> None:
        """As on the first day: no resolution, no index metadata, nothing kept on the client."""
        shutil.rmtree(self.directory / "cache", ignore_errors=True)

    def import_and_define(self) -> tuple[str, ...]:
        code = f"import flyte_images as f; f.Image.from_debian_base('{PYTHON}').with_pip_packages('pandas', 'httpx')"
        return (sys.executable, "-c", code)

    def help(self) -> tuple[str, ...]:
        return (self._program, "--help")

    def _env(self, engine: Engine) -> dict[str, str]:
        return {**engine.env, "XDG_CACHE_HOME": str(self.directory / "cache")}


class Flyte:
    """The `flyte` package from the user's index: its own local image builder, in an environment of its own.

    Its command line would first ask a registry, so its builder is called directly, which spares it about a second.
    """

    def __init__(self, directory: Path, *, uv: str, slim: bool = False) -> None:
        """`slim`: `Image.from_base`, which leaves out the compilers that its Debian base always installs."""
        self.directory = directory / ("flyte-slim" if slim else "flyte")
        self.directory.mkdir(parents=True, exist_ok=True)
        self.slim = self.cold_only = slim
        self.label = "flyte from_base" if slim else "flyte"
        self._venv = directory / "flyte-venv"
        if not (self._venv / "bin/flyte").exists():
            subprocess.run((uv, "venv", "--quiet", "--python", PYTHON, "--clear", self._venv), check=True)
            subprocess.run(
                (uv, "pip", "install", "--quiet", "--python", self._venv / "bin/python", "flyte"), check=True
            )

    def ask(self, code: str) -> str:
        done = subprocess.run((self._venv / "bin/python", "-c", code), capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def version(self) -> str:
        return self.ask("import flyte; print(flyte.__version__)")

    def images_of_its_template(self) -> tuple[str, str]:
        """The names of the base and of the image that it takes uv from; the bench provides both locally."""
        builder = "flyte._internal.imagebuild.docker_builder"
        template = self.ask(f"import {builder} as b; print(b.DOCKER_FILE_UV_BASE_TEMPLATE.template)")
        uv = re.search(r"^FROM (\S+) AS uv$", template, re.MULTILINE)
        assert uv is not None, f"no uv image in flyte's template:\n{template}"
        major, minor = PYTHON.split(".")
        made = f"flyte.Image.from_debian_base(python_version=({major}, {minor}), install_flyte=False)"
        return self.ask(f"import flyte; print({made}.base_image)"), uv[1]

    def define(self, engine: Engine, definition: Definition) -> Command:
        folder = definition.write_sources(self.directory)
        shutil.copy(Path(__file__).with_name("flyte_peer.py"), self.directory / "flyte_peer.py")
        where = definition.registry or "localhost:5000"
        python = tuple(int(part) for part in PYTHON.split("."))
        packages = ", ".join(map(repr, definition.packages)) + (f", index_url={_index()!r}" if _index() else "")
        if self.slim:
            options = f'name="bench", registry="{where}", extendable=True'
            base = f'flyte.Image.from_base("{self.images_of_its_template()[0]}").clone({options})'
        else:
            options = f'install_flyte=False, registry="{where}", name="bench", platform=("linux/amd64",)'
            base = f"flyte.Image.from_debian_base(python_version={python}, {options})"
        (self.directory / "app.py").write_text(
            "from pathlib import Path\n\nimport flyte\n\n"
            f"image = {base}\n"
            f"image = image.with_pip_packages({packages})\n"
            f'image = image.with_source_folder(Path("{folder}"))\n'
        )
        push = ("--push",) if definition.registry else ()
        argv = (str(self._venv / "bin/python"), "flyte_peer.py", *push)
        proxies = " ".join(f"--build-arg={name}" for name in _PROXIES if name in os.environ)
        settings = {
            "FLYTE_DOCKER_BUILDKIT_BUILDER_NAME": "default",
            "FLYTE_DOCKER_BUILD_EXTRA_ARGS": f"--network=host {proxies}".strip(),
        }
        return Command(argv=argv, cwd=self.directory, env={**engine.env, **settings})

    def image(self, output: str) -> str:
        return output.strip().splitlines()[-1].split()[-1]

    def forget(self) -> None: ...

    def import_and_define(self) -> tuple[str, ...]:
        major, minor = PYTHON.split(".")
        made = f"flyte.Image.from_debian_base(python_version=({major}, {minor})).with_pip_packages('pandas', 'httpx')"
        return (str(self._venv / "bin/python"), "-c", f"import flyte; {made}")

    def help(self) -> tuple[str, ...]:
        return (str(self._venv / "bin/flyte"), "--help")


class Dockerfile:
    """The best Dockerfile for uv that we know: cache mounts, byte-compiled, sources last, no trace of uv."""

    _text = """\
FROM {base}
ENV PATH=/opt/venv/bin:$PATH UV_LINK_MODE=copy
RUN --mount=type=cache,target=/root/.cache/uv \\
    --mount=type=bind,from={uv},source=/uv,target=/usr/local/bin/uv \\
    --mount=type=bind,source=requirements.txt,target=/tmp/requirements.txt \\
    {secret} uv venv --quiet /opt/venv && \\
    uv pip install --quiet --python /opt/venv/bin/python --compile-bytecode -r /tmp/requirements.txt
COPY src /root/src
"""
    _secret = '--mount=type=secret,id=index export UV_DEFAULT_INDEX="$(cat /run/secrets/index)" &&'

    cold_only = False

    def __init__(self, directory: Path, *, base: str, uv_image: str, zstd: bool = False) -> None:
        """`zstd`: not `--load` and `--push` as everyone types them, but an exporter with its fastest compression."""
        self.label = "uv Dockerfile, zstd" if zstd else "uv Dockerfile"
        self.zstd = zstd
        self.directory = directory / ("dockerfile-zstd" if zstd else "dockerfile")
        self.directory.mkdir(parents=True, exist_ok=True)
        self._base, self._uv_image = base, uv_image

    def define(self, engine: Engine, definition: Definition) -> Command:
        definition.write_sources(self.directory)
        text = self._text.format(base=self._base, uv=self._uv_image, secret=self._secret if _index() else "")
        (self.directory / "Dockerfile").write_text(text)
        (self.directory / "requirements.txt").write_text("".join(f"{name}\n" for name in definition.packages))
        tag = f"{definition.registry}/bench:1" if definition.registry else "bench-dockerfile:1"
        output = "--push" if definition.registry else "--load"
        if self.zstd:
            push = ",push=true" if definition.registry else ",unpack=true"
            output = f"--output=type=image,compression=zstd{push}"
        argv = (
            *("docker", "buildx", "build", "--builder=default", "--network=host", "--provenance=false"),
            *(f"--build-arg={name}" for name in _PROXIES if name in os.environ),
            *(("--secret=id=index,env=BENCH_INDEX",) if _index() else ()),
            *(f"--tag={tag}", output, "."),
        )
        return Command(argv=argv, cwd=self.directory, env={**engine.env, "BENCH_INDEX": _index() or ""})

    def define_many(self, engine: Engine, shared: tuple[str, ...], own: tuple[str, ...], registry: str) -> Command:
        """One build for each of `own`, one after the other: side by side, their steps exhaust the index; pushed."""
        folder = self.directory / "many"
        lines = []
        for number, name in enumerate(own):
            context = folder / f"image-{number}"
            (context / "src").mkdir(parents=True, exist_ok=True)
            text = self._text.format(base=self._base, uv=self._uv_image, secret=self._secret if _index() else "")
            (context / "Dockerfile").write_text(text)
            (context / "requirements.txt").write_text("".join(f"{it}\n" for it in (*shared, name)))
            output = "--output=type=image,compression=zstd,push=true" if self.zstd else "--push"
            argv = (
                *("docker", "buildx", "build", "--quiet", "--builder=default", "--network=host", "--provenance=false"),
                *(f"--build-arg={name}" for name in _PROXIES if name in os.environ),
                *(("--secret=id=index,env=BENCH_INDEX",) if _index() else ()),
                *(f"--tag={registry}/many:{number}", output, str(context)),
            )
            lines.append(shlex.join(argv))
        script = "\n".join(lines)
        return Command(argv=("sh", "-ec", script), cwd=folder, env={**engine.env, "BENCH_INDEX": _index() or ""})

    def image(self, output: str) -> str:
        return "bench-dockerfile:1"

    def forget(self) -> None: ...

    def import_and_define(self) -> tuple[str, ...]:
        return ()

    def help(self) -> tuple[str, ...]:
        return ("docker", "buildx", "build", "--help")
