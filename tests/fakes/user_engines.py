"""Runs in a process of an ordinary user: this user's engines, which run the calls that the process receives.

    python3 user_engines.py NAME ADDRESS DOCKER IMAGE

The file is copied, with contract_calls.py and the runtime, to a place that the user can read.
"""

from __future__ import annotations

import os
import pickle
import socket
import sys
import threading
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from contract_calls import Request, run  # type: ignore[import-not-found,unused-ignore]

from flyte_images_runtime.engines.docker.api import Api
from flyte_images_runtime.engines.oci import OciEngine
from flyte_images_runtime.engines.oci.program import find
from flyte_images_runtime.engines.podman import PodmanEngine, Service
from flyte_images_runtime.task.engine import Engine

HOME = Path(__file__).parent
LIBRARY = str(HOME / "flyte_images_runtime")
# For machines that are containers: as many open files as this process may have, and no daemon for logs.
PODMAN = '[containers]\ndefault_ulimits=["nofile=1024:1024","nproc=4096:4096"]\n[engine]\nevents_logger="none"\n'


def podman_settings(home: Path) -> dict[str, str]:
    """Write the settings that Podman needs on such machines, and return the variables that point to them."""
    (home / "containers.conf").write_text(PODMAN + 'runtime="runc"\ncgroup_manager="cgroupfs"\n')
    (home / "storage.conf").write_text('[storage]\ndriver = "overlay"\n')
    files = {"CONTAINERS_CONF": "containers.conf", "CONTAINERS_STORAGE_CONF": "storage.conf"}
    return {variable: str(home / file) for variable, file in files.items()}


def make(name: str, docker: Api, image: str) -> Engine:
    """Return `oci-crun-rootless`, `oci-runc-rootless` or `podman-rootless`, with the image from Docker."""
    if name != "podman-rootless":
        return OciEngine(HOME / "store", docker=docker, program=find([name.split("-")[1]]), library=LIBRARY)
    environ = {**os.environ, **podman_settings(HOME)}
    options = ("--runtime", "runc", "--cgroup-manager", "cgroupfs")
    podman = PodmanEngine(Service(HOME / "run/podman.sock", options), environ=environ, library=LIBRARY)
    podman.take_image(image, docker)
    return podman


def answer(engine: Engine, link: socket.socket) -> None:
    """Read the parts of one call and send its result. Errors take their details by name, so they go in parts."""
    with link, link.makefile("rwb") as file:
        function, arguments, options, cancel_after = pickle.load(file)
        request = Request(
            function=function,
            arguments=arguments,
            options=options,
            cancel_after=cancel_after,
            contract=str(HOME / "contract"),
        )
        done: tuple[Any, ...]
        try:
            finished = run(engine, request)
            done = (finished.result, finished.metrics, finished.log, parts(finished.error), None)
        except Exception as error:
            done = (None, None, None, None, parts(error))
        pickle.dump((*done, request.lines), file)


def parts(error: BaseException | None) -> Any:
    return None if error is None else (type(error), error.args, error.__dict__)


def main() -> None:
    name, address, docker, image = sys.argv[1:]
    engine = make(name, Api(docker), image)
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(address + ".new")
        door.listen(64)
        Path(address + ".new").rename(address)
        while True:
            threading.Thread(target=answer, args=(engine, door.accept()[0])).start()


if __name__ == "__main__":
    main()
