"""What a build runs: code of packages runs in a container alone, which has neither network nor secrets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flyte_images.buildkit.client import connect
from flyte_images.cli.main import main
from flyte_images.errors import BuildError, SpecError
from flyte_images.options import Secret
from flyte_images.serving import host_settings
from flyte_images_layers.steps import StepLimits
from flyte_images_runtime.resources.request import Resources
from tests.fakes.package_index import Index
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
from tests.integration.build.test_secrets import everything_in

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


@pytest.mark.parametrize(
    ("command", "limits", "told"),
    [
        ("python -c 'x = bytearray(300 << 20); import time; time.sleep(60)'", {"limits": Resources(mem="64Mi")}, "MEM"),
        ("head -c 50000000 /dev/zero > /dev/shm/x; sleep 60", {"limits": Resources(mem="32Mi")}, "MEM"),
        ("sleep 60 & sleep 60", {"timeout": 1}, "it has run for more than 1 s"),
    ],
)
def test_a_command_that_passes_its_limit_is_ended(
    builds: Builds,  # noqa: F811
    command: str,
    limits: dict[str, Any],
    told: str,
) -> None:
    """D22"""
    image = debian("limited").with_commands([f"{command} # {WORD}"], **limits)
    with pytest.raises(BuildError) as caught:
        builds(image)
    told = told.replace("MEM", "bytes of memory, more than")
    assert "flyte-images ends the step: " in caught.value.log and told in caught.value.log
    assert "limits=Resources" in (caught.value.hint or "")
    assert caught.value.location == image.layers[0].location


EATS = """
import os, signal, sys, time
def build_wheel(directory, settings=None, metadata=None):
    for pid in (1, os.getppid()):
        try:
            os.kill(pid, signal.SIGKILL)
            os.kill(pid, signal.SIGSTOP)
            open("/proc/%d/mem" % pid, "r+b")
        except OSError as error:
            print(error, flush=True)
    if os.fork():
        time.sleep(60)
    os.setsid()
    held = bytearray(300 << 20)
    time.sleep(60)
"""


def test_a_build_from_source_cannot_pass_its_limits(
    builds: Builds,  # noqa: F811
    index: Index,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """D22: the watch is the first process of the step, which no other process of it can kill, stop or look into."""
    monkeypatch.setattr(host_settings, "DEFAULT_LIMITS", StepLimits(memory=64 << 20))
    name = f"{WORD}-eats"
    about = f"Metadata-Version: 2.2\nName: {name}\nVersion: 1.0\n"
    index.add_source(name, "1.0", {"pyproject.toml": PROJECT, "backend.py": EATS, "PKG-INFO": about})
    index.add("wheel", "0.40")
    with pytest.raises(BuildError) as caught:
        builds(debian("limited").with_pip_packages(name))
    assert "flyte-images ends the step: it holds" in caught.value.log
    assert "Permission denied: '/proc/1/mem'" in caught.value.log


VALUE, FILE = "s3cret-of-a-step", "s3cret-in-a-file"
TELL = (
    'echo "[$STEP_TOKEN]"; cat /etc/step; printf %s "$STEP_TOKEN" | cut -c1-8 | tr -d "\\n"; '
    'test -z "$(env | grep -c INDEX_URL | grep -v 0)"'
)


def test_secrets_reach_the_commands_that_ask_and_are_nowhere_else(
    builds: Builds,  # noqa: F811
    cache: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """D20: the login of an index reaches no command; a secret that is asked for is seen by its commands alone, and
    neither its value nor a printed copy of it is in the log, the image, the records or an error."""
    monkeypatch.setenv("PIP_INDEX_URL", "http://robot:s3cret-login@127.0.0.1:9/simple")
    monkeypatch.setenv("STEP_TOKEN", VALUE)
    monkeypatch.setenv("STEP_FILE", FILE)
    mounts = [Secret("step-token"), Secret("step-file", mount="/etc/step")]
    base = debian("asks").with_commands([f'test -z "$STEP_TOKEN$PIP_INDEX_URL"; test ! -e /etc/step # {WORD}'])
    image = base.with_commands([f"{TELL} # {WORD}"], secret_mounts=mounts)
    result, seen = builds(image)
    assert "[***]" in seen.log
    with pytest.raises(BuildError) as caught:
        builds(base.with_commands([f"{TELL}; exit 3 # {WORD}"], secret_mounts=mounts))
    with connect() as client:
        records = repr(client.disk_usage())
    said = [
        everything_in(result.ref),
        *(path.read_bytes() for path in cache.rglob("*") if path.is_file()),
        f"{seen.events} {seen.log} {records} {caught.value} {caught.value.__dict__}".encode(),
    ]
    for value in (VALUE, FILE, "s3cret-login"):
        assert not [data for data in said if value.encode() in data], value
    changed = dict.fromkeys(("STEP_TOKEN", "STEP_FILE"), "another-value")
    for name, value in changed.items():
        monkeypatch.setenv(name, value)
    _, seen = builds(image.with_env_vars({"A": "1"}))
    assert not [name for name in seen.ran if WORD in name]  # a value decides nothing


def test_a_secret_without_a_value_is_an_error_before_any_step(
    builds: Builds,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """D20"""
    monkeypatch.delenv("STEP_TOKEN", raising=False)
    image = debian("asks").with_commands([f"touch /{WORD}"]).with_commands(["true"], secret_mounts=["step-token"])
    with pytest.raises(SpecError, match="no value for the secret `step-token`") as caught:
        builds(image)
    assert caught.value.location == image.layers[1].location
