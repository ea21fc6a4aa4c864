"""Write what a source distribution says of itself, without network.

    describe_sdist.py OUTPUT ENVIRONMENT SDIST first|last

unpacks SDIST and asks its build backend (PEP 517), which with all that it needs is installed in the virtual environment
ENVIRONMENT; writes OUTPUT/requires, a JSON list of what the backend wants beyond that, and OUTPUT/METADATA. The `first`
time METADATA may be missing: the backend is asked once more when it has what it wants. build_wheel.py lies in BESIDE.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import zipfile
from typing import Any

BESIDE = "/flyte-images/beside"


def metadata(backend: Any) -> bytes:
    """The metadata: what the backend prepares, or that of the wheel which it builds."""
    os.makedirs("/tmp/made")
    if hasattr(backend, "prepare_metadata_for_build_wheel"):
        folder = backend.prepare_metadata_for_build_wheel("/tmp/made")
        with open(os.path.join("/tmp/made", folder, "METADATA"), "rb") as file:
            return file.read()
    with zipfile.ZipFile(os.path.join("/tmp/made", backend.build_wheel("/tmp/made"))) as wheel:
        return wheel.read(next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")))


def main(arguments: list[str]) -> None:
    output, environment, archive, time = arguments
    backend = importlib.import_module("build_wheel").ready(environment, archive)
    wanted = list(getattr(backend, "get_requires_for_build_wheel", list)())
    with open(output + "/requires", "w", encoding="utf-8") as file:
        json.dump(wanted, file)
    try:
        found = metadata(backend)
    except BaseException:
        if time == "first" and wanted:
            return
        raise
    with open(output + "/METADATA", "wb") as file:
        file.write(found)


if __name__ == "__main__":
    sys.path.insert(0, BESIDE)
    importlib.import_module("build_wheel").quietly(main, sys.argv[1:])
