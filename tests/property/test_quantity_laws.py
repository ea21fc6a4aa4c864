"""Laws of quantities: a formatted value parses to the same value; notation never changes a value."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from flyte_images_runtime.errors import SpecError
from flyte_images_runtime.resources.quantity import format_cpu, format_size, parse_cpu, parse_quantity, parse_size
from flyte_images_runtime.resources.request import Resources

sizes = st.integers(1, (1 << 63) - 1) | st.builds(
    lambda number, unit: number * unit, st.integers(1, 999), st.sampled_from([10**3, 10**9, 1 << 10, 1 << 20, 1 << 40])
)
millicores = st.integers(10, 65536_000)


@given(sizes)
def test_a_formatted_size_parses_to_the_size(size: int) -> None:
    assert parse_size(format_size(size)) == parse_size(size) == size
    assert len(format_size(size)) <= len(str(size))


@given(millicores)
def test_formatted_cores_parse_to_the_cores(thousandths: int) -> None:
    cores = Decimal(thousandths) / 1000
    assert parse_cpu(format_cpu(cores)) == parse_cpu(cores) == parse_cpu(float(cores)) == cores
    assert parse_cpu(str(cores)) == parse_cpu(f"{thousandths}m") == cores


@given(st.integers(0, 10**6), st.sampled_from(["Ki", "Mi", "Gi", "k", "M", "G"]), st.integers(0, 6))
def test_zeros_change_nothing(number: int, suffix: str, zeros: int) -> None:
    plain = parse_quantity(f"{number}{suffix}")
    assert (
        plain == parse_quantity(f"{'0' * zeros}{number}{suffix}") == parse_quantity(f"{number}.{'0' * zeros}{suffix}")
    )


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_a_larger_number_is_a_larger_quantity(one: int, other: int) -> None:
    first, second = parse_quantity(f"{one}Mi"), parse_quantity(f"{other}Mi")
    assert first is not None
    assert second is not None
    assert (first < second) == (one < other)


@given(
    st.text(max_size=12) | st.integers() | st.floats() | st.booleans() | st.none() | st.lists(st.integers(), max_size=3)
)
def test_any_value_is_a_limit_or_an_error_with_a_remedy(written: object) -> None:
    for field in ("cpu", "memory", "disk", "shm", "gpu"):
        try:
            limits = Resources(**{field: written}).limits()  # type: ignore[arg-type]
        except SpecError as refused:
            assert refused.hint
        else:
            value = getattr(limits, field)
            assert value is None or field == "gpu" or value > 0
