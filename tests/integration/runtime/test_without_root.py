"""A user who is not root but may talk to Docker runs tasks as themselves, with the same limits, errors and metrics."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import packaging
import pytest

import flyte_images
import flyte_images_layers
import flyte_images_runtime
from flyte_images_runtime.engines.docker import DockerEngine

pytestmark = pytest.mark.engine

NOBODY = 65534
PROGRAM = """
import json, os, sys
import flyte_images as flyte

env = flyte.TaskEnvironment(
    name="mine", image=sys.argv[1], limits=flyte.Resources(cpu="0.5", memory="64Mi"), network="none",
    reusable=("warm" in sys.argv) or None,
)

@env.task
def who(text: str) -> tuple[int, str]:
    return os.getuid(), text

@env.task
def hog(size: int) -> int:
    return len(bytearray(b"x" * size))

if __name__ == "__main__":
    run = flyte.run.using(on_line=None)
    done = run(who, "ü")
    try:
        run(hog, 200 << 20)
    except flyte.OutOfMemory as error:
        print(json.dumps([done.result, done.metrics.cpu, done.metrics.peak_memory, str(error)]))
"""


@pytest.mark.parametrize("kind", ["cold", "warm"])
def test_a_user_who_is_not_root(engine: DockerEngine, image: str, tmp_path: Path, kind: str) -> None:
    import json

    address = engine.api.address.removeprefix("unix://")
    program = next(path for path in ("/usr/bin/python3", sys.executable) if os.access(path, os.X_OK))
    home = tmp_path / "home"
    home.mkdir()
    for package in (flyte_images, flyte_images_layers, flyte_images_runtime, packaging):
        place = Path(str(package.__file__)).parent
        shutil.copytree(place, home / place.name, ignore=shutil.ignore_patterns("__pycache__"))
    (home / "main.py").write_text(PROGRAM)
    for path in (home, *home.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    for above in (tmp_path, *tmp_path.parents[:3]):
        if above != Path("/tmp"):
            above.chmod(above.stat().st_mode | stat.S_IXOTH)
    done = subprocess.run(
        [program, "main.py", image, kind],
        cwd=home,
        env={"HOME": str(home), "PYTHONPATH": str(home), "PATH": "/usr/bin:/bin", "DOCKER_HOST": f"unix://{address}"},
        user=NOBODY,
        group=NOBODY,
        extra_groups=[Path(address).stat().st_gid],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    result, cpu, peak, error = json.loads(done.stdout)
    assert result == [NOBODY, "ü"]
    assert cpu > 0
    assert 4 << 20 < peak <= 64 << 20
    assert "memory limit of 64Mi" in error
    assert not list(Path("/dev/shm").glob(f"flyte-images-*-{NOBODY}"))
    assert not list(Path("/var/tmp").glob(f"flyte-images-*-{NOBODY}"))
