"""Bytes and strings of a build -> text that is safe on a terminal. No I/O.

The output of a step is arbitrary: escape sequences, half characters, carriage returns, endless lines. None of it may
move the cursor, change colors or fill the memory of this process.
"""

from __future__ import annotations

from flyte_images_runtime.portable.visible import visible

_LONGEST_LINE = 4096


def clean(text: str) -> str:
    """Return `text` as one line, with escape sequences made visible.

    >>> clean("\\x1b[31mred\\x1b[0m\\tand\\nmore\\x07")
    '\\\\x1b[31mred\\\\x1b[0m    and more\\\\x07'
    """
    return visible(text.replace("\t", "    ").replace("\n", " "))


def last_state(text: str) -> str:
    """Return the final text of a line that carriage returns overwrite, such as a progress bar.

    >>> last_state("10%\\r90%\\r100%\\r")
    '100%'
    """
    return text.rstrip("\r").rpartition("\r")[2]


class Lines:
    """Chunks of output -> whole, clean lines. A line that a carriage return overwrites shows its last state.

    >>> lines = Lines()
    >>> lines.feed(b"one\\ntw"), lines.feed(b"o\\n10%\\r90%\\r"), lines.rest()
    (['one'], ['two'], ['90%'])
    """

    def __init__(self) -> None:
        from flyte_images_runtime.task.line_splitter import LineSplitter  # loaded only by a build that is solved

        self._ready: list[str] = []
        self._splitter = LineSplitter("stdout", self._take)

    def feed(self, data: bytes) -> list[str]:
        """Take in a chunk. Return the lines that it ends, each cut to 4096 characters."""
        self._splitter.feed(data)
        return self._drain()

    def rest(self) -> list[str]:
        """End the output. Return its last line if that has no newline."""
        self._splitter.finish()
        return self._drain()

    def _take(self, stream: str, text: str) -> None:
        if not text.endswith("\r"):  # the state of a line that goes on
            self._ready.append(clean(text[:_LONGEST_LINE]).rstrip())

    def _drain(self) -> list[str]:
        ready, self._ready = self._ready, []
        return ready


def size(count: int) -> str:
    """Return a number of bytes for people.

    >>> [size(n) for n in (0, 999, 1_500, 35_100_000, 2_000_000_000)]
    ['0 B', '999 B', '1.5 kB', '35.1 MB', '2.0 GB']
    """
    value = float(count)
    for unit in ("B", "kB", "MB"):
        if value < 999.95:
            return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"


def duration(seconds: float) -> str:
    """Return a time in seconds for people.

    >>> [duration(s) for s in (0, 0.04, 3.42, 59.96, 75, 3720)]
    ['0.0 s', '0.0 s', '3.4 s', '1 min 00 s', '1 min 15 s', '1 h 02 min']
    """
    if seconds < 59.95:
        return f"{max(seconds, 0.0):.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
