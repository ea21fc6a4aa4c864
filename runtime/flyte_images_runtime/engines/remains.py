"""The containers of tasks that an engine still has, by their owners' label: found and removed, whatever the engine."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable

from ..failures import EngineLost
from .docker.api import Api, Refused
from .docker.container import OWNER
from .nerdctl.program import ADDRESS as NERDCTL
from .nerdctl.program import Nerdctl
from .nerdctl.program import Refused as NerdctlRefused


def remove_containers(address: str, theirs: Callable[[str], bool]) -> int:
    """Remove those whose owner is one of `theirs` from the engine at `address`. Returns how many there were."""
    count = 0
    if address == NERDCTL:
        nerdctl = Nerdctl()
        with contextlib.suppress(EngineLost, NerdctlRefused):
            for container, owner in nerdctl.containers(OWNER).items():
                if theirs(owner):
                    count += 1
                    with contextlib.suppress(NerdctlRefused):  # it is being removed
                        nerdctl.call("rm", "--force", "--volumes", container)
        return count
    api = Api(address)
    with contextlib.suppress(EngineLost, Refused):
        for found in api.call("GET", "/containers/json", all="true", filters=json.dumps({"label": [OWNER]})):
            if theirs(str(found.get("Labels", {}).get(OWNER))):
                count += 1
                with contextlib.suppress(Refused):  # it is being removed
                    api.call("DELETE", f"/containers/{found['Id']}", force="true", v="true")
    return count
