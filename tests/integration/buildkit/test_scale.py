"""50,000 files and half a gigabyte from this machine to an engine, with little memory in the sending process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flyte_images.buildkit.client import Client
from flyte_images.buildkit.exporters import Files

pytestmark = pytest.mark.engine

FILES = 50_000
LARGE = 512 << 20
MOST = 300
"""MiB that the sending process may hold: less than the one large file. It holds about 130."""

SEND = """
import re, sys
from pathlib import Path
from flyte_images import context, llb
from flyte_images.buildkit.client import connect
from flyte_images.buildkit.session import Session
project, layout, definition = map(Path, sys.argv[1:])
packed = context.pack([context.Source(project, "/app")], layout)
state = llb.oci_layout(packed.name, store="context", platform=llb.Platform.parse(context.PLATFORM))
data = llb.marshal(llb.file(None, [llb.copy(state, "/app/49/999", "/last")])).data
definition.write_bytes(data)
with connect() as client:
    client.solve(data, session=Session(stores={"context": layout}))
# ru_maxrss would be that of the test's own process, from which this one was forked.
print(int(re.search(r"VmHWM:\\s+([0-9]+)", Path("/proc/self/status").read_text())[1]) >> 10)
"""


def send(project: Path, layout: Path, definition: Path) -> int:
    """Pack and send the project in another process; return the MiB that this process held at most."""
    argv = (sys.executable, "-c", SEND, str(project), str(layout), str(definition))
    root = Path(__file__).parents[3]
    environ = os.environ | {"PYTHONPATH": f"{root}:{root}/layers", "FLYTE_IMAGES_CACHE": str(layout.parent / "cache")}
    done = subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True, env=environ)
    return int(done.stdout)


def test_fifty_thousand_files_and_half_a_gigabyte(client: Client, tmp_path: Path) -> None:
    project, layout, definition = (tmp_path / name for name in ("project", "layout", "definition"))
    for folder in range(50):
        (project / str(folder)).mkdir(parents=True)
        for number in range(FILES // 50):
            (project / str(folder) / str(number)).write_bytes(b"%d" % number)
    with (project / "large").open("wb") as file:
        file.truncate(LARGE)
    try:
        assert send(project, layout, definition) < MOST
        assert send(project, layout, definition) < MOST
        client.solve(
            definition.read_bytes(), exporters=[Files(dest=tmp_path / "out")]
        )  # the engine has all: no session
        assert (tmp_path / "out" / "last").read_bytes() == b"999"
    finally:
        theirs = [record.id for record in client.disk_usage() if record.size > LARGE]
        client.prune(*(f"id=={name}" for name in theirs), all=True)
