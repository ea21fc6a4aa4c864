"""Texts of a command line -> the arguments of a call, by its signature; and the parameters for `--help`."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any, Mapping, Sequence

from .errors import Problem, name_of
from .scalars import LiteralCodec
from .signature import Signature


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One parameter as an option of a command line: `--name TYPE`, its default as text, whether it is required.

    many     the parameter takes any number of values: `*args`, or with `named` `**kwargs`
    choices  the values that the type has, where there are few: an enum, a Literal
    switch   the parameter is a bool: `--name` and `--no-name`
    """

    name: str
    type: str
    required: bool
    default: str | None
    many: bool = False
    named: bool = False
    choices: tuple[str, ...] = ()
    switch: bool = False


def parameters(signature: Signature) -> tuple[Parameter, ...]:
    """Return the parameters of a function, in order.

    >>> def train(rows: int, *, fast: bool = False) -> float: ...
    >>> [(p.name, p.type, p.required, p.default) for p in parameters(Signature(train))]
    [('rows', 'int', True, None), ('fast', 'bool', False, 'False')]
    """
    taken = []
    for name, parameter in signature.signature.parameters.items():
        codec = signature.codecs[name]
        many = parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        absent = parameter.default is inspect.Parameter.empty
        choices: tuple[str, ...] = ()
        if isinstance(codec, LiteralCodec):
            choices = tuple(str(getattr(value, "value", value)) for value in codec.values)
        elif isinstance(codec.kind, type) and hasattr(codec.kind, "__members__"):
            choices = tuple(codec.kind.__members__)
        taken.append(
            Parameter(
                name=name,
                type=name_of(codec.kind),
                required=absent and not many,
                default=None if absent else str(parameter.default),
                many=many,
                named=parameter.kind is inspect.Parameter.VAR_KEYWORD,
                choices=choices,
                switch=codec.kind is bool,
            )
        )
    return tuple(taken)


def arguments(signature: Signature, given: Mapping[str, str | Sequence[str]]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return (args, kwargs) of texts by parameter name. Raise Problem with the parameter's name for a wrong text.

    A value is one text, or several texts for `*args`. Names that the signature lacks go to `**kwargs`, if it has one.

    >>> def train(rows: int, names: list[str] = []) -> float: ...
    >>> arguments(Signature(train), {"rows": "10", "names": '["a"]'})
    ((10, ['a']), {})
    """
    bound: dict[str, Any] = {}
    declared = signature.signature.parameters
    keywords = next((n for n, p in declared.items() if p.kind is inspect.Parameter.VAR_KEYWORD), None)
    for name, text in given.items():
        parameter = declared.get(name)
        if parameter is None or name == keywords:
            if keywords is None:
                raise Problem(f"`{name}` is not a parameter of the task", hint=_parameter_list(signature))
            bound.setdefault(keywords, {})[name] = _parse(signature, keywords, name, _last(text))
        elif parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            texts = [text] if isinstance(text, str) else list(text)
            bound[name] = tuple(_parse(signature, name, name, one) for one in texts)
        else:
            bound[name] = _parse(signature, name, name, _last(text))
    missing = [p.name for p in parameters(signature) if p.required and p.name not in bound]
    if missing:
        raise Problem(f"parameter `{missing[0]}` is missing", hint=_parameter_list(signature))
    call = inspect.BoundArguments(signature.signature, bound)
    return call.args, call.kwargs


def _last(text: str | Sequence[str]) -> str:
    return text if isinstance(text, str) else text[-1]


def _parse(signature: Signature, codec: str, name: str, text: str) -> Any:
    try:
        return signature.codecs[codec].parse(text)
    except Problem as problem:
        raise Problem(f"parameter `{problem.inside(name).where}`: {problem.message}", (), problem.hint) from None


def _parameter_list(signature: Signature) -> str:
    taken = parameters(signature)
    if not taken:
        return "the task takes no parameters"
    return "the parameters are " + ", ".join(f"{p.name}: {p.type}" for p in taken)
