"""`dataclass` for the values that every command defines: as the standard library's, made some ten times faster.

The standard one writes source text for each method of each class and compiles it, half a millisecond a class; a build
that changes nothing would spend a third of its time on that. Here the fields are collected by the standard library, so
`fields`, `replace`, `asdict` and pattern matching work, and the methods are shared. Frozen values only, and no slots:
`slots` is taken and means nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass
else:
    import dataclasses

    _MISSING = dataclasses.MISSING

    def dataclass(*, frozen, slots=False, kw_only=False, eq=True, repr=True):
        """Return the decorator; `frozen` has to be true."""
        if not frozen:
            raise TypeError("a value that can change is a standard dataclass")

        def decorate(cls):
            made = dataclasses.dataclass(init=False, repr=False, eq=False, kw_only=kw_only)(cls)
            made.__init__ = _init(made)
            made.__setattr__, made.__delattr__ = _refuse_set, _refuse_delete
            if repr and "__repr__" not in cls.__dict__:
                made.__repr__ = _repr
            if eq:
                made.__eq__ = _eq if "__eq__" not in cls.__dict__ else cls.__eq__
                if cls.__dict__.get("__hash__") is None:
                    made.__hash__ = _hash
            made._compared_fields = tuple(f.name for f in dataclasses.fields(made) if f.compare)
            return made

        return decorate

    def _init(cls):
        specs = [(f.name, f.default, f.default_factory) for f in dataclasses.fields(cls)]
        positional = [f.name for f in dataclasses.fields(cls) if not f.kw_only]
        has_more = hasattr(cls, "__post_init__")

        def __init__(self, *args, **kwargs):  # noqa: N807 - it becomes one
            if args:
                if len(args) > len(positional):
                    raise TypeError(f"{cls.__name__} takes {len(positional)} positional arguments, not {len(args)}")
                for name, value in zip(positional, args):  # noqa: B905 - there may be fewer
                    if name in kwargs:
                        raise TypeError(f"{cls.__name__} got two values for `{name}`")
                    kwargs[name] = value
            values = self.__dict__
            for name, default, factory in specs:
                if name in kwargs:
                    values[name] = kwargs.pop(name)
                elif default is not _MISSING:
                    values[name] = default
                elif factory is not _MISSING:
                    values[name] = factory()
                else:
                    raise TypeError(f"{cls.__name__} needs `{name}`")
            if kwargs:
                raise TypeError(f"{cls.__name__} got an unexpected keyword argument `{next(iter(kwargs))}`")
            if has_more:
                self.__post_init__()

        return __init__

    def _refuse_set(self, name, value):
        raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")

    def _refuse_delete(self, name):
        raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")

    def _repr(self):
        shown = (f"{f.name}={getattr(self, f.name)!r}" for f in dataclasses.fields(self) if f.repr)
        return f"{type(self).__qualname__}({', '.join(shown)})"

    def _compared(self):
        return tuple([self.__dict__[name] for name in self._compared_fields])

    def _eq(self, other):
        return _compared(self) == _compared(other) if other.__class__ is self.__class__ else NotImplemented

    def _hash(self):
        return hash(_compared(self))


__all__ = ["dataclass"]
