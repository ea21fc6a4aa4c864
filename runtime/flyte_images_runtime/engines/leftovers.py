"""The containers of tasks that an engine still has, with their owners' labels: listed and removed, on any engine.

The cleaning helper of reaper.py calls this module with the standard library alone, so it uses the engine's API and
nerdctl's command line, not python-on-whales.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass

from .docker.api import Api, Refused
from .docker.container import OWNER
from .nerdctl.program import ADDRESS as NERDCTL
from .nerdctl.program import Nerdctl
from .nerdctl.program import Refused as NerdctlRefused


@dataclass(frozen=True, slots=True)
class Remaining:
    """One container: its owner, the time of its creation if known, and whether it still runs."""

    address: str
    id: str
    name: str
    owner: str
    made: float | None = None
    runs: bool = True

    def remove(self) -> None:
        with contextlib.suppress(Refused, NerdctlRefused):  # another process removes the container
            if self.address == NERDCTL:
                Nerdctl().call("rm", "--force", "--volumes", self.id)
            else:
                Api(self.address).call("DELETE", f"/containers/{self.id}", force="true", v="true")


def containers(address: str) -> list[Remaining]:
    """Return all containers of tasks on the engine at `address`. Raise EngineLost if the engine does not answer."""
    try:
        if address == NERDCTL:
            found = Nerdctl().containers(OWNER).items()
            return [Remaining(address, container, container[:12], owner) for container, owner in found]
        listed = Api(address).call("GET", "/containers/json", all="true", filters=json.dumps({"label": [OWNER]}))
    except (Refused, NerdctlRefused):
        return []
    return [
        Remaining(
            address,
            one["Id"],
            str((one.get("Names") or [one["Id"][:12]])[0]).lstrip("/"),
            str((one.get("Labels") or {}).get(OWNER)),
            float(one.get("Created") or 0) or None,
            one.get("State") not in ("exited", "created", "dead"),
        )
        for one in listed
    ]
