"""What a build runs: code of packages runs in a container alone, which has neither network nor secrets."""

from __future__ import annotations

from pathlib import Path

import pytest

from flyte_images.cli.main import main
from tests.index import Index
from tests.integration.build.conftest import (  # noqa: F401 - fixtures
    WORD,
    Builds,
    builds,
    cache,
    debian,
    index,
    run_in,
    settings,
)

pytestmark = pytest.mark.engine

PROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
BACKEND = """
import os, socket, zipfile
def ran():
    try:
        with open({mark!r}, "a") as file:
            file.write(os.environ.get("MY_SECRET", "nothing"))
    except OSError:
        pass
ran()
def said():
    try:
        socket.create_connection(("192.0.2.1", 80), 2)
        net = "connected"
    except OSError as error:
        net = str(error)
    words = "; ".join([net, *sorted(os.environ)])
    return f"Metadata-Version: 2.1\\nName: {name}\\nVersion: 1.0\\nRequires-Dist: {needs}>=1\\nSummary: {{words}}\\n"
def prepare_metadata_for_build_wheel(directory, settings=None):
    os.makedirs(directory + "/x.dist-info")
    with open(directory + "/x.dist-info/METADATA", "w") as file:
        file.write(said())
    return "x.dist-info"
def build_wheel(directory, settings=None, metadata=None):
    with zipfile.ZipFile(directory + "/{module}-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("{module}-1.0.dist-info/METADATA", said())
        wheel.writestr("{module}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\n")
        wheel.writestr("{module}-1.0.dist-info/RECORD", "")
    return "{module}-1.0-py3-none-any.whl"
"""


def offer(index: Index, name: str, mark: Path) -> None:  # noqa: F811
    """A source distribution that does not state what it needs, and does harm wherever its code runs."""
    text = BACKEND.format(mark=str(mark), name=name, module=name.replace("-", "_"), needs=f"{WORD}-gamma")
    index.add_source(name, "1.0", {"pyproject.toml": PROJECT, "backend.py": text, "PKG-INFO": "Metadata-Version: 2.1"})
    index.add("wheel", "0.40")  # every build gets it


def test_no_code_of_a_package_runs_on_the_client(
    builds: Builds,  # noqa: F811
    index: Index,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """D2: `show plan`, `lock` and `build` of a hostile source distribution run none of its code on this machine; the
    container that runs it has no network and nothing of this machine's environment."""
    mark, name = tmp_path / "RAN", f"{WORD}-evil"
    offer(index, name, mark)
    monkeypatch.setenv("MY_SECRET", "hunter2")
    file = tmp_path / "app.py"
    made = f'flyte.Image.from_debian_base("3.11", name="{WORD}-hostile").with_pip_packages("{name}")'
    file.write_text(f"import flyte_images as flyte\nimage = {made}\n")
    for words in (["show", "plan", str(file)], ["lock", str(file)]):
        assert main(words) == 0, capsys.readouterr().err
        assert not mark.exists(), words
    assert f"{WORD}-gamma" in (tmp_path / "flyte-images.lock").read_text()

    result, _ = builds(debian("hostile").with_pip_packages(name))
    assert not mark.exists()
    told = f"from importlib.metadata import metadata; print(metadata('{name}')['Summary'])"
    net, *variables = run_in(result, "python", "-c", told).strip().split("; ")
    assert "unreachable" in net and "MY_SECRET" not in variables and "UV_DEFAULT_INDEX" not in variables
