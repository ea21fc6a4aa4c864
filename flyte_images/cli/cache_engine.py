"""What this product made in the engine: images, by their label, and BuildKit's records, by their descriptions.

BuildKit keeps no label of ours on its records. Those of this product's steps are recognized by their descriptions; the
records of copies and of file operations are not, and stay until BuildKit's own garbage collection removes them.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from flyte_images_runtime.system.image_ref import ImageRef

from ..errors import EngineError, FlyteImagesError
from ..plan.model import LABEL
from ..store.bounded_dir import Entry

if TYPE_CHECKING:
    from ..buildkit.client import Client, Record

FILTERS = (
    'description~="/flyte-images/programs/"',
    'description~=" of flyte-images$"',
    'description~="^pulled from (local|flyte)/"',
    'description~="^merge \\\\(base "',
)


class EngineImages:
    """The images of the Docker Engine that carry this product's label. The `docker` program is asked."""

    def __init__(self) -> None:
        self._docker = _docker()

    def entries(self) -> list[Entry]:
        """Return the images, the last used first: used by a run of the history, else tagged, else created."""
        with _explained():
            listed = self._docker.image.list(filters=[("label", LABEL)])
            images = self._docker.image.inspect([image.id for image in listed]) if listed else []
        runs = _last_runs()
        entries = [_entry(image, runs) for image in images]
        return sorted(entries, key=lambda entry: entry.used, reverse=True)

    def remove(self, entry: Entry) -> bool:
        """Remove an image under all its names. Return False if a task or a container uses it."""
        from python_on_whales.exceptions import DockerException

        from flyte_images_runtime.execution.running_tasks import active

        names = entry.about.split(", ") if entry.about else [entry.name]
        refs = [ImageRef.parse(name) for name in names]
        if any(task.image == entry.name or ImageRef.parse(task.image) in refs for task in active()):
            return False
        try:
            self._docker.image.remove(names)
        except DockerException:  # a container uses the image
            return False
        return True


def _entry(image: Any, runs: dict[str, float]) -> Entry:
    names = list(image.repo_tags or [])
    tagged = (image.metadata or {}).get("LastTagTime") if isinstance(image.metadata, dict) else None
    times = [_seconds(tagged), _seconds(image.created), *(runs.get(name, 0.0) for name in (image.id, *names))]
    return Entry(str(image.id), (), max(times), int(image.size or 0), ", ".join(names))


def _seconds(value: Any) -> float:
    """Return a time of the engine as seconds since 1970; 0 for a missing one."""
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
        return max(0.0, moment.timestamp())
    return 0.0


def _last_runs() -> dict[str, float]:
    """Return when each image was last run, from the history of this user."""
    from ..runner.history import recent

    runs: dict[str, float] = {}
    for run in recent(os.environ, 10_000):
        image = ImageRef.parse(str(run.get("image") or "")).familiar
        runs[image] = max(runs.get(image, 0.0), float(run.get("time") or 0))
    return runs


def _docker() -> Any:
    """Return python-on-whales' client of the Docker Engine that holds the images of tasks."""
    from ..buildkit.discovery import engine

    docker = engine(environ=os.environ)
    if docker is None:
        raise EngineError(
            "no Docker Engine is found, so its images cannot be listed", hint="start it; see `flyte-images doctor`"
        )
    import shutil

    if shutil.which("docker") is None:
        raise FlyteImagesError(
            "the images of the engine are listed by the program `docker`, which is not installed",
            hint="install the Docker command line (Debian: apt-get install docker-cli)",
        )
    from python_on_whales import DockerClient

    return DockerClient(host=str(docker.api))


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    from python_on_whales.exceptions import DockerException

    try:
        yield
    except DockerException as error:
        lines = (error.stderr or str(error)).strip().splitlines() or [""]
        raise EngineError(f"docker failed: {lines[-1]}", hint="see `flyte-images doctor`") from None


class BuildRecords:
    """The records of BuildKit that steps of this product made."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def entries(self) -> list[Entry]:
        """Return the records that nothing uses, the last used first."""
        records = {record.id: record for text in FILTERS for record in self._client.disk_usage(text)}
        entries = [_record(record) for record in records.values() if not record.in_use]
        return sorted(entries, key=lambda entry: entry.used, reverse=True)

    def remove(self, entry: Entry) -> bool:
        """Remove a record. Return False if a build uses it, or another record is based on it."""
        return any(record.id == entry.name for record in self._client.prune(f"id=={entry.name}"))


def _record(record: Record) -> Entry:
    return Entry(record.id, (), record.last_used or record.created, record.size, _short(record.description))


def _short(description: str) -> str:
    """Return a description without the paths of our own programs.

    >>> _short("mount / from exec /bin/sh /flyte-images/programs/settled.sh 315532800 /bin/sh -ec make")
    'settled.sh 315532800 /bin/sh -ec make'
    """
    text = description.rpartition("/flyte-images/programs/")[2]
    return text if len(text) <= 80 else text[:77] + "..."
