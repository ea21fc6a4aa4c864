"""Find the run that a word means: an id, the beginning of an id, the name of a task, or `last`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from flyte_images_runtime.portable.suggest import did_you_mean

from ..errors import SpecError


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A run of this user. since: its start, seconds since 1970, 0 if not known; also: another name of the run."""

    id: str
    task: str
    since: float
    runs: bool = False
    also: str = ""

    def __str__(self) -> str:
        import time

        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        return f"{self.id}  {self.task}  {'running since' if self.runs else 'started'} {when}"


def find(word: str, runs: Sequence[Known], *, running: bool = False) -> Known:
    """Return the run that `word` means. Raise SpecError if no run fits, or several do: the error lists them.

    `last` means the run that began last, preferring runs that still go on. The name of a task, with or without its
    environment, means its last run. `running`: the error speaks of running tasks.

    >>> known = [Known(id="a1b2", task="ml.train", since=1.0), Known(id="a1c3", task="ml.train", since=2.0)]
    >>> [find(word, known).id for word in ("last", "ml.train", "train", "a1b")]
    ['a1c3', 'a1c3', 'a1c3', 'a1b2']
    """
    newest_last = sorted(runs, key=lambda run: (run.runs, run.since))
    if not newest_last:
        raise SpecError("no task has been run yet", hint="`flyte-images run FILE TASK` runs one")
    if word == "last":
        return newest_last[-1]
    exact = [run for run in newest_last if word in (run.id, run.also)]
    if exact:
        return exact[-1]
    matches = [run for run in newest_last if run.id.startswith(word)] if word else []
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise SpecError(f"`{word}` begins {len(matches)} ids:{_listed(matches)}", hint="type more characters")
    named = [run for run in newest_last if word in (run.task, run.task.partition(".")[2])]
    if named:
        return named[-1]
    words = {name for run in newest_last for name in (run.id, run.task, run.task.partition(".")[2])}
    message = f"no task `{word}` is running" if running else f"no run fits `{word}`"
    listing = "`flyte-images ps` lists them" if running else "`flyte-images runs` lists them"
    raise SpecError(message, hint=did_you_mean(word, words) or listing)


def _listed(runs: Sequence[Known]) -> str:
    shown: Iterable[str] = (f"\n  {run}" for run in reversed(runs[-20:]))
    return "".join(shown)
