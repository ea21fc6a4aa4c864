"""Text or number -> exact quantity: cores as Decimal, sizes as bytes, in Kubernetes' notation. Pure.

    <number><suffix>    suffix: n u m (none) k M G T P E, or Ki Mi Gi Ti Pi Ei, or an exponent: 1e3, 2E9

A quantity is never rounded: one that the kernel cannot hold exactly is an error.
"""

from __future__ import annotations

import re
from decimal import Context, Decimal

from ..errors import SpecError

_BINARY = {suffix: Decimal(1024**power) for power, suffix in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), start=1)}
_DECIMAL = {
    suffix: Decimal(10) ** power
    for suffix, power in {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}.items()
}
_SUFFIXES = {**_BINARY, **_DECIMAL}
# At most 30 digits: enough for any size in bytes, and too few for a number that takes minutes to expand.
_QUANTITY = re.compile(
    r"([0-9]{1,30}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})(?:([eE][+-]?[0-9]{1,2})|([KMGTPE]i|[numkMGTPE]?))"
)

MILLICORE = Decimal("0.001")
SMALLEST_CPU = Decimal("0.01")  # the kernel's shortest quota is 1 ms of a period of 100 ms
_EXACT = Context(prec=100)  # more digits than two factors of 30 can make
_LARGEST_CPU = Decimal(65536)
_LARGEST_SIZE = 1 << 63  # the kernel's counters are signed 64-bit


def parse_quantity(text: str) -> Decimal | None:
    """Return the exact value of a Kubernetes quantity, or None if `text` is not a quantity. None is negative.

    >>> parse_quantity("500m"), parse_quantity("16Gi"), parse_quantity("2e3"), parse_quantity("1 gigabyte")
    (Decimal('0.500'), Decimal('17179869184'), Decimal('2E+3'), None)
    """
    match = _QUANTITY.fullmatch(text)
    if match is None:
        return None
    number, exponent, suffix = match.groups()
    if exponent:
        return Decimal(number + exponent)
    return _EXACT.multiply(Decimal(number), _SUFFIXES[suffix])


def parse_cpu(value: object, *, name: str = "cpu") -> Decimal:
    """Return a number of cores, to the thousandth. Raise SpecError for a value that cannot be one.

    >>> parse_cpu("500m") == parse_cpu(0.5) == parse_cpu("0.5") == Decimal("0.5")
    True
    >>> parse_cpu("x")
    Traceback (most recent call last):
    flyte_images_runtime.errors.SpecError: `x` is not a number of cores
    """
    hint = f'write cores or thousandths of a core: {name}=2, {name}=0.5, {name}="500m"'
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal, str)):
        raise SpecError(f"{name}={value!r} is not a number of cores", hint=hint)
    cores = _number(value)
    if cores is None:
        raise SpecError(f"`{value}` is not a number of cores", hint=hint)
    if cores < SMALLEST_CPU:
        none = "; leave it out for no limit" if cores == 0 else ""
        raise SpecError(
            f"{name}={value!r} is less than the smallest share of a core that the kernel can give",
            hint=f'at least {name}="{format_cpu(SMALLEST_CPU)}"{none}',
        )
    if cores > _LARGEST_CPU:
        raise SpecError(f"{name}={value!r} is more cores than any machine has", hint=hint)
    if cores % MILLICORE:
        raise SpecError(f"{name}={value!r} is finer than a thousandth of a core", hint=hint)
    return cores.normalize() + 0  # `+ 0` writes 2E+1 as 20


def parse_size(value: object, *, name: str = "memory", smallest: int = 1) -> int:
    """Return a size in bytes. A plain number is bytes. Raise SpecError for a value that cannot be a size.

    >>> parse_size("16Gi"), parse_size("500M"), parse_size("1.5Ki"), parse_size("1e3")
    (17179869184, 500000000, 1536, 1000)
    >>> parse_size("1 gigabyte")
    Traceback (most recent call last):
    flyte_images_runtime.errors.SpecError: `1 gigabyte` is not a size
    """
    hint = f'write {name}="16Gi" (1024-based: Ki Mi Gi Ti) or {name}="500M" (1000-based: k M G T)'
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise SpecError(f"{name}={value!r} is not a size", hint=hint)
    size = _number(value)
    if size is None:
        raise SpecError(f"`{value}` is not a size", hint=_suggestion(str(value), name) or hint)
    if size >= _LARGEST_SIZE:
        raise SpecError(f"{name}={value!r} is more than the kernel can count", hint=hint)
    if size < smallest or size % 1:  # in this order: a number far below zero has no exact remainder
        least = f"at least {format_size(smallest)}" if smallest > 1 else "at least one byte"
        fault = "too small" if size < smallest else "not a whole number of bytes"
        raise SpecError(f"{name}={value!r} is {fault}", hint=_suggestion(str(value), name) or f"{hint}; {least}")
    return int(size)


def format_cpu(cores: Decimal) -> str:
    """Return the shortest exact spelling, which `parse_cpu` reads back.

    >>> format_cpu(Decimal("2")), format_cpu(Decimal("0.5")), format_cpu(Decimal("1.5"))
    ('2', '500m', '1500m')
    """
    return str(int(cores)) if cores % 1 == 0 else f"{int(cores * 1000)}m"


def format_size(size: int) -> str:
    """Return the spelling in the largest unit that is exact, which `parse_size` reads back.

    >>> format_size(17179869184), format_size(500_000_000), format_size(1536), format_size(1537)
    ('16Gi', '500M', '1536', '1537')
    """
    candidates = [str(size)]
    for suffix, unit in (*_BINARY.items(), *_DECIMAL.items()):
        if suffix not in ("n", "u", "m", "") and size >= unit and size % int(unit) == 0:
            candidates.append(f"{size // int(unit)}{suffix}")
    return min(candidates, key=len)


def _number(value: int | float | Decimal | str) -> Decimal | None:
    if isinstance(value, str):
        return parse_quantity(value)
    number = Decimal(str(value)) if isinstance(value, float) else Decimal(value)
    return number if number.is_finite() else None


def _suggestion(text: str, name: str) -> str | None:
    """Return a hint with the quantity that a user probably means by `512m`, `1 gigabyte`, `16GB` or `4g`."""
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([kmgtp])([a-z]*)\s*", text.lower())
    if match is None or match[3] not in ("", "b", "i", "ib", "byte", "bytes", *_WORDS):
        return None
    number, unit = match[1], match[2].upper()
    decimal = "k" if unit == "K" else unit
    return f'did you mean {name}="{number}{"K" if unit == "K" else unit}i" or {name}="{number}{decimal}"?'


_WORDS = tuple(prefix + end for prefix in ("ilo", "ega", "iga", "era", "eta") for end in ("byte", "bytes"))
