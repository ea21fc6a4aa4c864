"""What a BuildKit can do, by its own report. Versions decide nothing: Docker's BuildKit often reports no version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ..errors import EngineError
from .caches import Cache
from .exporters import Archive, Exporter, Image, Layout, Load, Moby

ImageStore = Literal["docker-containerd", "docker-graphdriver", "containerd", "none"]

_LABEL = "org.mobyproject.buildkit.worker."


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """One of the engine's workers: its labels, and the platforms that the worker runs."""

    id: str
    labels: Mapping[str, str]
    platforms: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """The capabilities of one engine. `features` are the enabled names of BuildKit's capability list."""

    engine: str
    features: frozenset[str]
    workers: tuple[Worker, ...]

    @property
    def merge(self) -> bool:
        """Whether the engine can merge layers; otherwise an image is built as a chain of copies."""
        return {"mergeop", "diffop"} <= self.features

    @property
    def oci_layout(self) -> bool:
        """Whether sources may be blobs that the session serves; otherwise sources are tarballs that a copy unpacks.

        A Docker Engine with the old image store lists the feature but fails.
        """
        return "source.ocilayout" in self.features and self.image_store != "docker-graphdriver"

    @property
    def docker(self) -> bool:
        """Whether this is the BuildKit inside a Docker Engine."""
        return any(f"{_LABEL}moby.host-gateway-ip" in worker.labels for worker in self.workers)

    @property
    def image_store(self) -> ImageStore:
        """The image store of the engine, or "none"."""
        if self.docker:
            return "docker-containerd" if self.merge else "docker-graphdriver"
        executors = {worker.labels.get(f"{_LABEL}executor") for worker in self.workers}
        return "containerd" if "containerd" in executors else "none"

    @property
    def platforms(self) -> tuple[str, ...]:
        """All platforms of all workers; the engine's own platform is first."""
        return tuple(dict.fromkeys(platform for worker in self.workers for platform in worker.platforms))

    def check_platform(self, platform: str) -> None:
        """Raise EngineError unless a worker can run `platform`, for example `linux/arm64`."""
        if not any(platform == it or it.startswith(f"{platform}/") for it in self.platforms):
            raise EngineError(
                f"the BuildKit at {self.engine} cannot run {platform}, only {', '.join(self.platforms)}",
                hint="install emulation (binfmt) on its host, or choose another engine with --builder",
            )

    def check_output(self, exporter: Exporter) -> None:
        """Raise EngineError unless the engine supports `exporter`: BuildKit may report success and store nothing."""
        match exporter, self.image_store:
            case Moby(), "containerd" | "none":
                raise self._cannot("the exporter moby: only a Docker Engine has it", "use the exporter image")
            case Image(), "docker-graphdriver":
                raise self._cannot(
                    "the exporter image: its Docker Engine does not have the containerd image store",
                    "use the exporter moby, and `docker push`",
                )
            case Archive() | Layout() | Load(), "docker-graphdriver":
                raise self._cannot(
                    "images as files: its Docker Engine does not have the containerd image store",
                    "build into the engine, and `docker save`",
                )
            case Image(push=False), "none":
                raise self._cannot(
                    "an image that is only kept: it has no image store",
                    "push it, or write it to an OCI layout or a tarball",
                )

    def check_outputs(self, exporters: Sequence[Exporter]) -> None:
        """Raise EngineError unless the engine supports all `exporters` in one build."""
        if len(exporters) > 1 and "exporter.multiple" not in self.features:
            raise self._cannot("several outputs of one build: it is older than 0.13", "build again for each of them")
        for exporter in exporters:
            self.check_output(exporter)

    def check_cache(self, cache: Cache, *, export: bool) -> None:
        """Raise EngineError unless the engine supports this kind of cache. Docker lists kinds that Docker lacks."""
        kind = f"a cache of type {cache.type}"
        if cache.type in ("s3", "azblob", "gha") and f"cache.{cache.type}" not in self.features:
            raise self._cannot(kind, "use a registry cache")
        if cache.type in ("s3", "azblob") and self.docker:
            raise self._cannot(f"{kind}: Docker Engine's lacks it", "use a registry cache, or a stand-alone buildkitd")
        if export and cache.type != "inline" and self.image_store == "docker-graphdriver":
            raise self._cannot(
                f"exporting {kind}: its Docker Engine does not have the containerd image store", "use an inline cache"
            )

    def _cannot(self, what: str, hint: str) -> EngineError:
        return EngineError(f"the BuildKit at {self.engine} cannot do {what}", hint=hint)
