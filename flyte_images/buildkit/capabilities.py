"""What a BuildKit can do, as it says itself. Versions decide nothing: Docker's BuildKit often does not know its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ..errors import EngineError

ImageStore = Literal["docker-containerd", "docker-graphdriver", "containerd", "none"]

_LABEL = "org.mobyproject.buildkit.worker."


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """One of the engine's workers: what it is, as labels, and the platforms that it runs."""

    id: str
    labels: Mapping[str, str]
    platforms: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What was asked of one engine. `features` are the names of BuildKit's own capability list that are enabled."""

    features: frozenset[str]
    reasons: Mapping[str, str]
    workers: tuple[Worker, ...]

    @property
    def merge(self) -> bool:
        """Layers can be merged; else an image is built as a chain."""
        return {"mergeop", "diffop"} <= self.features

    @property
    def docker(self) -> bool:
        """It is the BuildKit inside a Docker Engine."""
        return any(f"{_LABEL}moby.host-gateway-ip" in worker.labels for worker in self.workers)

    @property
    def image_store(self) -> ImageStore:
        """Where an image can be kept in the engine."""
        if self.docker:
            return "docker-containerd" if self.merge else "docker-graphdriver"
        executors = {worker.labels.get(f"{_LABEL}executor") for worker in self.workers}
        return "containerd" if "containerd" in executors else "none"

    @property
    def platforms(self) -> tuple[str, ...]:
        """All platforms of all workers, the engine's own first."""
        return tuple(dict.fromkeys(platform for worker in self.workers for platform in worker.platforms))

    def need(self, feature: str, purpose: str, *, engine: str) -> None:
        """Raise EngineError unless the engine says that it can do `feature`."""
        if feature not in self.features:
            why = self.reasons.get(feature) or "it does not know it"
            raise EngineError(
                f"the BuildKit at {engine} cannot do {purpose}: {why}", hint="choose another engine with --builder"
            )
