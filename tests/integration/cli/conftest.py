"""`flyte-images` as users run it: a process in a temporary folder, on the real engine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from flyte_images.cli.documents import DOCUMENTS

from ...fakes.other_engines import own_podman
from ...fakes.package_index import Index, serve

PROGRAM = (sys.executable, "-c", "import sys; from flyte_images.cli.main import main; sys.exit(main())")


@dataclass
class Shell:
    """A folder in which the command line runs."""

    folder: Path
    env: dict[str, str] = field(default_factory=dict)

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(f"import flyte_images as flyte\n\n{text}\n")

    def environ(self, more: dict[str, str]) -> dict[str, str]:
        left_out = ("FLYTE_IMAGES_DEBUG", "UV_INDEX", "UV_EXTRA_INDEX_URL", "PIP_EXTRA_INDEX_URL", "UV_FIND_LINKS")
        return {**{k: v for k, v in os.environ.items() if k not in left_out}, **self.env, **more}

    def __call__(self, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
        argv = (*PROGRAM, *args)
        return subprocess.run(argv, cwd=self.folder, env=self.environ(env), capture_output=True, text=True, timeout=300)

    def start(self, *args: str, stderr: int = subprocess.PIPE) -> subprocess.Popen[str]:
        argv = (*PROGRAM, *args)
        return subprocess.Popen(
            argv, cwd=self.folder, env=self.environ({}), stdout=subprocess.PIPE, stderr=stderr, text=True
        )


def document(name: str, text: str) -> Any:
    """Return a document that a verb has printed, if it fits the published schema `name`."""
    DOCUMENTS[name].model_validate_json(text, strict=True)
    return json.loads(text)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


HERE = ("docker", "oci", *(["podman"] if shutil.which("podman") and os.geteuid() == 0 else []))
"""The engines on this machine that tests of the command line can use."""


@pytest.fixture(scope="session")
def podman() -> Iterator[str]:
    """The address of a Podman for these tests only."""
    with own_podman() as engine:
        assert engine.facts, "it is started by the first question"
        yield engine.api.address


@pytest.fixture
def engine(request: pytest.FixtureRequest, shell: Shell) -> str:
    """The engine that is this test's parameter, ready for the command line."""
    name: str = request.param
    if name == "podman":
        shell.env["CONTAINER_HOST"] = request.getfixturevalue("podman")
    return name


@pytest.fixture
def index(shell: Shell) -> Iterator[Index]:
    """A package index for one test, which the command line uses."""
    with serve(Index()) as index:
        shell.env["UV_DEFAULT_INDEX"] = index.url
        yield index
