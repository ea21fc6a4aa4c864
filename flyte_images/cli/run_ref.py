"""What a person types for a run -> the run: its id, the beginning of it, a task's name, or `last`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from flyte_images_runtime.portable.suggest import did_you_mean

from ..errors import SpecError


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A run that can be asked for. `since` is when it began, as far as that is known; `also` another name of it."""

    id: str
    task: str
    since: float
    runs: bool = False
    also: str = ""

    def __str__(self) -> str:
        import time

        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        return f"{self.id}  {self.task}  {'runs since' if self.runs else 'of'} {when}"


def find(word: str, there: Sequence[Known], *, running: bool = False) -> Known:
    """The one that `word` means. SpecError for none, and for several: it lists them.

    `last` is the one that began last, of those that still run if there are any; a task's name, with its environment or
    without, means its last one. `running`: only what runs can be meant.

    >>> known = [Known(id="a1b2", task="ml.train", since=1.0), Known(id="a1c3", task="ml.train", since=2.0)]
    >>> [find(word, known).id for word in ("last", "ml.train", "train", "a1b")]
    ['a1c3', 'a1c3', 'a1c3', 'a1b2']
    """
    newest_last = sorted(there, key=lambda one: (one.runs, one.since))
    if not newest_last:
        raise SpecError("no run is known here", hint="`flyte-images run FILE TASK` makes one")
    if word == "last":
        return newest_last[-1]
    exact = [one for one in newest_last if word in (one.id, one.also)]
    if exact:
        return exact[-1]
    begun = [one for one in newest_last if one.id.startswith(word)] if word else []
    if len(begun) == 1:
        return begun[0]
    if begun:
        raise SpecError(f"`{word}` begins {len(begun)} ids:{_listed(begun)}", hint="type more of it")
    named = [one for one in newest_last if word in (one.task, one.task.partition(".")[2])]
    if named:
        return named[-1]
    words = {name for one in newest_last for name in (one.id, one.task, one.task.partition(".")[2])}
    said = f"no task `{word}` is running" if running else f"no run is known as `{word}`"
    listing = "`flyte-images ps` lists them" if running else "`flyte-images runs` lists them"
    raise SpecError(said, hint=did_you_mean(word, words) or listing)


def _listed(several: Sequence[Known]) -> str:
    shown: Iterable[str] = (f"\n  {one}" for one in reversed(several[-20:]))
    return "".join(shown)
