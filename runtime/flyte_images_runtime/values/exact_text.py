"""Codecs of types whose values have one exact text: times, Decimal, Fraction, UUID, complex, range, and paths."""

from __future__ import annotations

import os

from flyte_images_runtime.portable import fast_json

from .base import Codec
from .errors import Problem, expected, name_of, shown
from .files import Files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

_LONGEST_RANGE = 20_000  # characters of three integers
_HIGHEST = 1000  # exponent of a fraction's text: each step is a digit in memory


class _Text(Codec):
    """A type whose values have one exact text: `write` makes it, `read` reads it."""

    def __init__(self, kind: Any, write: Callable[[Any], str], read: Callable[[str], Any]) -> None:
        super().__init__(kind)
        self._write = write
        self._read = read

    def accepts(self, value: Any) -> bool:
        # datetime is a subclass of date, but only the part `datetime` of `date | datetime` takes a datetime
        return isinstance(value, self.kind) and not (self.kind.__name__ == "date" and hasattr(value, "hour"))

    def encode(self, value: Any, files: Files) -> Any:
        if not self.accepts(value):
            raise expected(self.kind, value)
        return self._write(value)

    def decode(self, data: Any, files: Files) -> Any:
        if not isinstance(data, str):
            raise expected(self.kind, data)
        return self.parse(data)

    def parse(self, text: str) -> Any:
        try:
            return self._read(text)
        except (ValueError, TypeError, ArithmeticError):
            raise Problem(f"{shown(text)} is not a {name_of(self.kind)}") from None


class _Path(_Text):
    """A path crosses as text. The content at a path crosses as `File` or `Dir`."""

    def accepts(self, value: Any) -> bool:
        return isinstance(value, (str, os.PathLike))


def _timedelta(text: str) -> Any:
    """Read the exact text `DAYS,SECONDS,MICROSECONDS`, or a user's `90`, `1.5h`, `250ms`."""
    import datetime

    days, seconds, microseconds = text.split(",") if "," in text else ("0", *_seconds(text))
    return datetime.timedelta(days=int(days), seconds=int(seconds), microseconds=int(microseconds))


def _seconds(text: str) -> tuple[str, str]:
    units = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
    for unit, factor in units.items():
        number = text[: -len(unit)]
        if text.endswith(unit) and number.replace(".", "", 1).isdigit():
            return "0", str(round(float(number) * factor * 1_000_000))
    return "0", str(round(float(text) * 1_000_000))


def _datetime(text: str) -> Any:
    import datetime

    # before Python 3.11, fromisoformat does not read the Z of UTC
    return datetime.datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith(("Z", "z")) else text)


def _delta_text(value: Any) -> str:
    return f"{value.days},{value.seconds},{value.microseconds}"


def _range_text(value: Any) -> str:
    return fast_json.dumps([value.start, value.stop, value.step])


def _fraction(text: str) -> Any:
    import fractions

    _, e, exponent = text.lower().partition("e")
    if e and abs(int(exponent)) > _HIGHEST:
        raise ValueError("the exponent is too large")
    return fractions.Fraction(text)


def _range(text: str) -> Any:
    if len(text) > _LONGEST_RANGE:
        raise ValueError("a range is three numbers")
    return range(*fast_json.loads(text))


# By the classes' full names, so that no module is imported for a type that a signature does not have.
TEXTS: dict[str, tuple[str, str]] = {
    "datetime.datetime": ("isoformat", "_datetime"),
    "datetime.date": ("isoformat", "fromisoformat"),
    "datetime.time": ("isoformat", "fromisoformat"),
    "datetime.timedelta": ("_delta_text", "_timedelta"),
    "decimal.Decimal": ("str", ""),
    "fractions.Fraction": ("str", "_fraction"),
    "uuid.UUID": ("str", ""),
    "builtins.complex": ("str", ""),
    "builtins.range": ("_range_text", "_range"),
}
PATHS = ("Path", "PosixPath", "PurePath", "PurePosixPath")


def text_for(kind: Any) -> Codec | None:
    """Return the codec of a class whose values have one exact text; None for any other class."""
    package = kind.__module__.partition(".")[0]
    if kind is os.PathLike or (package == "pathlib" and kind.__name__ in PATHS):
        import pathlib

        return _Path(kind, os.fspath, pathlib.Path if kind is os.PathLike else kind)
    if f"{package}.{kind.__qualname__}" not in TEXTS:
        return None
    write, read = TEXTS[f"{package}.{kind.__qualname__}"]
    own = {"str": str, "": kind, **{name: globals()[name] for name in (write, read) if name[:1] == "_"}}
    return _Text(kind, own.get(write) or getattr(kind, write), own.get(read) or getattr(kind, read))
