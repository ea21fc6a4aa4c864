"""The containers of tasks that an engine still has, by their owners' label: found and removed, whatever the engine."""

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
    """One container: whose it is, when it was made, if that is known, and whether anything runs in it."""

    address: str
    id: str
    name: str
    owner: str
    made: float | None = None
    runs: bool = True

    def remove(self) -> None:
        with contextlib.suppress(Refused, NerdctlRefused):  # it is being removed
            if self.address == NERDCTL:
                Nerdctl().call("rm", "--force", "--volumes", self.id)
            else:
                Api(self.address).call("DELETE", f"/containers/{self.id}", force="true", v="true")


def containers(address: str) -> list[Remaining]:
    """All containers of tasks on the engine at `address`. EngineLost if it does not answer."""
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
