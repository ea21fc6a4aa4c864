"""The JSON documents that the command line prints, as pydantic models: one model for each verb that takes --json.

The verbs print plain dictionaries and do not import this module: pydantic takes longer to load than `ps` takes to run.
`flyte-images schema` prints the JSON Schemas, and tests validate what the verbs print.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel

from ..plan.lock_schema import LockDocument


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid")


class BuiltImage(_Document):
    """One image that was built, or that the engine had already (`cached`)."""

    name: str
    ref: str = Field(description="the full name to run")
    digest: str = Field(description="digest of the image's manifest or configuration, as the engine names it")
    plan: str = Field(description="digest of everything that decides the image")
    cached: bool = Field(description="no step was run")
    seconds: float
    base: str = Field(description="the base, in words")


class Build(_Document):
    """`flyte-images build --json`"""

    images: list[BuiltImage]


class Metrics(_Document):
    """Resources that one run used: times in seconds, sizes in bytes; null for what is not known."""

    queue: float = Field(description="waiting for a turn and for devices")
    start: float | None = Field(description="from asking the engine until the function began")
    wall: float | None = Field(description="the function itself")
    total: float
    cpu: float | None
    throttled: float | None = Field(description="time in which the CPU limit held the task back")
    throttled_periods: int | None
    peak_memory: int | None
    peak_pids: int | None
    read_bytes: int | None
    written_bytes: int | None
    received_bytes: int | None
    sent_bytes: int | None
    gpu_peak_memory: int | None
    gpu_utilisation: float | None = Field(description="mean share of the time in which the GPUs computed, 0 to 1")


class Run(_Document):
    """`flyte-images run --json`"""

    id: str
    task: str
    result: Any = Field(description="the result in JSON's types; values that JSON has no form for are text")
    metrics: Metrics
    image: str
    attempts: int
    cached: bool = Field(description="the result was kept from an earlier run")


class RunningTask(_Document):
    """One task that runs now."""

    id: str
    task: str
    image: str
    engine: str
    seconds: float = Field(description="since the start")
    cpu: float | None = Field(description="CPU time in seconds")
    memory: int | None
    peak_memory: int | None


class Ps(RootModel[list[RunningTask]]):
    """`flyte-images ps --json`"""


class PastRun(_Document):
    """One run of the history."""

    id: str = ""
    time: float = Field(description="end of the run, seconds since 1970")
    task: str
    image: str
    end: str = Field(description="`done`, or the class of the error")
    message: str
    attempts: int
    cached: bool
    metrics: Metrics | None


class Runs(RootModel[list[PastRun]]):
    """`flyte-images runs --json`, the newest last"""


class LogLine(_Document):
    """`flyte-images logs --json`: one object a line"""

    time: float = Field(description="seconds since 1970")
    stream: Literal["stdout", "stderr"]
    text: str


class PlanBase(_Document):
    """An image that others are built on."""

    reference: str
    digest: str
    python: str
    origin: str = Field(description="layout, engine or registry: where BuildKit gets the image")


class PlanStep(BaseModel):
    """One step. Each kind of step has further fields."""

    model_config = ConfigDict(extra="allow")

    digest: str
    title: str
    reads: list[int] = Field(description="indices of the steps below this one")
    origin: str | None = Field(description="FILE:LINE that asks for the step")
    kind: str


class PlannedImage(_Document):
    """The plan of one image."""

    name: str
    digest: str
    platform: str
    base: PlanBase
    toolchain: PlanBase | None = None
    steps: list[PlanStep]
    env: dict[str, str]
    workdir: str


class ShowPlan(_Document):
    """`flyte-images show plan --json`"""

    images: list[PlannedImage]


class Finding(_Document):
    """One thing that doctor looked at."""

    area: str
    state: Literal["ok", "absent", "warning", "failed"]
    what: str
    fix: str | None


class Doctor(_Document):
    """`flyte-images doctor --json`"""

    findings: list[Finding]


class CacheEntry(_Document):
    """One entry of the cache."""

    kind: str
    name: str
    size: int = Field(description="bytes")
    used: float = Field(description="last use, seconds since 1970")
    about: str = Field(description="the image, task or packages; empty if not known")


class CacheLs(_Document):
    """`flyte-images cache ls --json`"""

    entries: list[CacheEntry]


class CacheKind(_Document):
    """The entries of one kind together."""

    kind: str
    count: int
    size: int = Field(description="bytes")


class CacheDu(_Document):
    """`flyte-images cache du --json`"""

    kinds: list[CacheKind]


class Base(_Document):
    """One bootstrapped Debian base."""

    suite: str
    python: str
    architecture: str
    digest: str
    size: int = Field(description="bytes")
    packages: int = Field(description="how many packages are installed")
    made: str = Field(description="ISO 8601")
    archive: str = Field(description="date of the Debian archive, ISO 8601")


class BaseLs(_Document):
    """`flyte-images base ls --json`"""

    bases: list[Base]


DOCUMENTS: dict[str, type[BaseModel]] = {
    "base-ls": BaseLs,
    "build": Build,
    "cache-du": CacheDu,
    "cache-ls": CacheLs,
    "doctor": Doctor,
    "lock": LockDocument,
    "logs": LogLine,
    "ps": Ps,
    "run": Run,
    "runs": Runs,
    "show-plan": ShowPlan,
}
"""The model of each verb's document, by the verb's words; `lock` is the file that `flyte-images lock` writes."""


def schema_of(name: str) -> dict[str, Any]:
    """Return the JSON Schema of a document.

    >>> schema_of("ps")["type"]
    'array'
    """
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **DOCUMENTS[name].model_json_schema()}
