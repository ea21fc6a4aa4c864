"""The values that options are made of: `Secret`, `RetryStrategy`, `ReusePolicy`. Each checks itself."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .._validate import caller
from ..errors import SpecError


@dataclass(frozen=True, slots=True)
class Secret:
    """A value that the task gets and that is stored nowhere: the caller's environment variable when the task starts.

    It reaches the task as the variable `as_env_var` (default: the key in capitals), or as a file at the absolute path
    `mount`. No image, no container configuration and no log holds it.

    Raises:
        SpecError: The key or the path is not valid.

    >>> Secret("hf-token").variable
    'HF_TOKEN'
    """

    key: str
    as_env_var: str | None = None
    mount: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.key, str) or not re.fullmatch(r"[A-Za-z0-9_.-]+", self.key):
            raise SpecError(f"{self.key!r} is not a secret's key", hint='Secret("hf-token")', location=caller())
        if self.mount is not None and not self.mount.startswith("/"):
            raise SpecError(f"mount=`{self.mount}` is not an absolute path", location=caller())

    @property
    def variable(self) -> str:
        """The variable that holds the value in the caller's environment and, without `mount`, in the task's."""
        return self.as_env_var or re.sub(r"[^A-Za-z0-9_]", "_", self.key).upper()


@dataclass(frozen=True, slots=True)
class RetryStrategy:
    """Up to `count` further attempts after a failure.

    The first pause is `backoff` seconds; each later pause is `factor` times longer, and at most `cap` seconds.

    Raises:
        SpecError: A number is out of its range.

    >>> [RetryStrategy(count=9).pause(n) for n in (1, 2, 3, 9)]
    [0.5, 1.0, 2.0, 30.0]
    """

    count: int = 0
    backoff: float = 0.5
    factor: float = 2.0
    cap: float = 30.0

    def __post_init__(self) -> None:
        if isinstance(self.count, bool) or not isinstance(self.count, int) or not 0 <= self.count <= 1000:
            raise SpecError(f"retries={self.count!r} is not a number of retries", hint="retries=3", location=caller())
        for name, least in (("backoff", 0.0), ("factor", 1.0), ("cap", 0.0)):
            _at_least(name, getattr(self, name), least)

    def pause(self, attempt: int) -> float:
        """Return the seconds between attempt number `attempt` and the next."""
        return float(min(self.cap, self.backoff * self.factor ** (attempt - 1)))


@dataclass(frozen=True, slots=True)
class ReusePolicy:
    """Keep up to `replicas` containers warm. One ends after `idle_ttl` seconds without a call, or `max_calls` calls.

    Each call runs in a fork of the container's first process and sees nothing of earlier calls. With `fork=False` calls
    run in that process itself, which is quicker: a call then finds what earlier calls have loaded (a model, a
    connection), and also what else they have left in memory, in /tmp and as processes. The limits are the same.

    Raises:
        SpecError: A number is out of its range.

    >>> ReusePolicy(replicas=2, idle_ttl=300).max_calls
    1000
    """

    replicas: int = 1
    idle_ttl: float = 60.0
    max_calls: int = 1000
    fork: bool = True

    def __post_init__(self) -> None:
        for name in ("replicas", "max_calls"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise SpecError(f"{name}={value!r} is not a number of one or more", location=caller())
        _at_least("idle_ttl", self.idle_ttl, 0.0)


def _at_least(name: str, value: object, least: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value < 10**9:
        raise SpecError(f"{name}={value!r} is not a number of {least:g} or more", location=caller())
