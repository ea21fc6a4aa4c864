"""The codec of `Any`, `object` and a missing annotation: the value's class decides.

JSON's own types cross as they are, other known classes as `{"$type": ..., "is": ...}`. A class of the user's needs an
annotation, since data must not decide which class the other side makes.
"""

from __future__ import annotations

import collections
import types
import typing
from typing import Any

from .base import CAN_CROSS, Codec, foreign
from .containers import hashable, pair
from .errors import Problem, located, name_of, shown
from .files import Files
from .scalars import scalar_for, tagged

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .base import CodecOf

_TAG = "$type"
_HOLDERS = (list, dict)
_GROUPS: dict[str, type] = {"tuple": tuple, "set": set, "frozenset": frozenset}
_FOREIGN_NAMES = {
    "numpy.ndarray": "ndarray",
    "torch.Tensor": "Tensor",
    "pandas.DataFrame": "DataFrame",
    "pandas.Series": "Series",
    "polars.DataFrame": "DataFrame",
    "pyarrow.Table": "Table",
}


class _Any(Codec):
    def __init__(self, kind: Any, codec_of: CodecOf) -> None:
        super().__init__(kind)
        self._codec_of = codec_of

    def accepts(self, value: Any) -> bool:
        return True

    def encode(self, value: Any, files: Files) -> Any:
        kind = type(value)
        if value is None or kind is str or kind is bool or (kind is int and value.bit_length() < 10_000):
            return value
        if kind is float and value - value == 0:  # neither NaN nor an infinity
            return value
        if kind is list:
            return [located(at, self.encode, item, files) for at, item in enumerate(value)]
        if kind in (
            dict,
            collections.OrderedDict,
            collections.defaultdict,
            collections.Counter,
            types.MappingProxyType,
        ):
            return self._mapping(value, files)
        if kind.__name__ in _GROUPS and kind is _GROUPS[kind.__name__]:
            return {_TAG: kind.__name__, "is": [located(at, self.encode, item, files) for at, item in enumerate(value)]}
        scalar = scalar_for(kind)
        if scalar is not None:
            return {_TAG: kind.__name__, "is": scalar.encode(value, files)}
        return self._other(value, files)

    def _mapping(self, value: Any, files: Files) -> Any:
        if all(type(key) is str for key in value) and _TAG not in value:
            return {key: located(f"[{key!r}]", self.encode, item, files) for key, item in value.items()}
        pairs = [
            [
                located(f" key {shown(key)}", self.encode, key, files),
                located(f"[{shown(key)}]", self.encode, item, files),
            ]
            for key, item in value.items()
        ]
        return {_TAG: "dict", "is": pairs}

    def _other(self, value: Any, files: Files) -> Any:
        kind = type(value)
        if kind.__module__ == "numpy" and getattr(value, "shape", None) == () and hasattr(value, "item"):
            return self.encode(value.item(), files)  # a numpy number
        if foreign(kind):
            for base in kind.__mro__:
                for name, short in _FOREIGN_NAMES.items():
                    package = name.partition(".")[0]
                    if base.__name__ == short and base.__module__.partition(".")[0] == package:
                        return {_TAG: name, "is": self._codec_of(base).encode(value, files)}
        for base in (str, bool, int, float):  # a value of a subclass, such as numpy's float64, becomes one of `base`
            if isinstance(value, base) and not hasattr(kind, "__members__"):
                return self._codec_of(base).encode(value, files)
        if self._can_cross(kind):
            raise Problem(
                f"{kind.__qualname__} {shown(value)} can only cross if the annotation names its class",
                hint=f"annotate the value with `{kind.__qualname__}`, or use builtins",
            )
        raise Problem(f"{kind.__qualname__} {shown(value)} cannot cross into a container and back", hint=CAN_CROSS)

    def _can_cross(self, kind: Any) -> bool:
        """Return whether a value of this class crosses where an annotation names the class."""
        try:
            return kind is not object and self._codec_of(kind) is not None
        except Problem:
            return False

    def decode(self, data: Any, files: Files) -> Any:
        if isinstance(data, list):
            return self._items(data, files)
        if not isinstance(data, dict):
            return data
        if _TAG not in data:
            return {
                key: located(f"[{shown(key, 30)}]", self.decode, item, files) if type(item) in _HOLDERS else item
                for _, (key, item) in files.timed(data.items())
            }
        name, inner = data[_TAG], data.get("is")
        if not isinstance(name, str):
            raise Problem(f"a value of the unknown type {shown(name)}")
        if name == "dict" and isinstance(inner, list):
            return self._pairs(inner, files)
        if name in _GROUPS and isinstance(inner, list):
            items = self._items(inner, files)
            return _GROUPS[name](items if name == "tuple" else map(hashable, items))
        if name in _FOREIGN_NAMES:
            return self._codec_of(_foreign_class(name)).decode(inner, files)
        scalar = tagged(name)
        if scalar is not None:
            return scalar.decode(inner, files)
        raise Problem(f"a value of the unknown type {shown(name)}")

    def _items(self, data: list[Any], files: Files) -> list[Any]:
        return [
            located(at, self.decode, item, files) if type(item) in _HOLDERS else item for at, item in files.timed(data)
        ]

    def _pairs(self, pairs: list[Any], files: Files) -> dict[Any, Any]:
        mapping = {}
        for _, data in files.timed(pairs):
            key, item = pair(data)
            key = hashable(located(f" key {shown(key)}", self.decode, key, files))
            mapping[key] = located(f"[{shown(key, 30)}]", self.decode, item, files)
        return mapping

    def parse(self, text: str) -> Any:
        import json

        try:
            return json.loads(text)
        except ValueError:
            return text


def _foreign_class(name: str) -> Any:
    package, _, short = name.partition(".")
    try:
        return getattr(__import__(package), short)
    except ImportError:
        raise Problem(f"the value is a {name}, but `{package}` is not installed", hint=f"install {package}") from None


def make(annotation: Any, codec_of: CodecOf) -> Codec | None:
    """Return the codec of Any, object and a missing annotation; None for any other annotation."""
    import inspect

    if annotation in (Any, object, inspect.Parameter.empty):
        return _Any(Any, codec_of)
    if isinstance(annotation, str) or type(annotation) is typing.ForwardRef:
        raise Problem(f"the annotation {name_of(annotation)} has a name that is not defined where the task is")
    return None
