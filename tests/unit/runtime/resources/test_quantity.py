"""Kubernetes quantities: their values, and errors with a remedy for texts that are not quantities."""

from __future__ import annotations

from decimal import Decimal

import pytest

from flyte_images_runtime.errors import SpecError
from flyte_images_runtime.resources.quantity import format_cpu, format_size, parse_cpu, parse_quantity, parse_size


@pytest.mark.parametrize(
    ("written", "bytes_"),
    [
        ("0", 0),
        ("16Gi", 16 << 30),
        ("500M", 500_000_000),
        ("1k", 1000),
        ("1Ki", 1024),
        ("1.5Gi", 3 << 29),
        (".5Mi", 1 << 19),
        ("2.", 2),
        ("1e3", 1000),
        ("2E3", 2000),
        ("1E", 10**18),
        ("2Ei", 2 << 60),
        ("3000m", 3),
    ],
)
def test_a_quantity_is_read_as_kubernetes_reads_it(written: str, bytes_: int) -> None:
    assert parse_quantity(written) == bytes_


@pytest.mark.parametrize(
    "written",
    ["", " 1", "1 ", "x", "1g", "1KI", "1ki", "1K", "-1", "+1", "1,5", "0x10", "1_000", "\u0661", "1e", "1e100", "nan"],
)
def test_another_text_is_not_a_quantity(written: str) -> None:
    assert parse_quantity(written) is None


@pytest.mark.parametrize(
    ("written", "cores"),
    [(2, "2"), ("2", "2"), (0.5, "0.5"), ("500m", "0.5"), (0.1, "0.1"), ("10m", "0.01"), (Decimal("1.25"), "1.25")],
)
def test_cores_are_exact(written: object, cores: str) -> None:
    assert parse_cpu(written) == Decimal(cores)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("x", "`x` is not a number of cores"),
        (True, "cpu=True is not a number of cores"),
        (None, "cpu=None is not a number of cores"),
        ([1], "cpu=[1] is not a number of cores"),
        (float("nan"), "`nan` is not a number of cores"),
        (float("inf"), "`inf` is not a number of cores"),
        (0, "cpu=0 is less than the smallest share"),
        ("9m", "cpu='9m' is less than the smallest share"),
        (-1, "cpu=-1 is less than the smallest share"),
        ("-1", "`-1` is not a number of cores"),
        ("0.0105", "cpu='0.0105' is finer than a thousandth"),
        ("1M", "cpu='1M' is more cores than any machine has"),
        ("4Gi", "cpu='4Gi' is more cores than any machine has"),
    ],
)
def test_cores_that_cannot_be_are_refused_with_a_remedy(written: object, message: str) -> None:
    with pytest.raises(SpecError) as refused:
        parse_cpu(written)
    assert str(refused.value).startswith(message)
    assert refused.value.hint
    assert refused.value.exit_code == 2


@pytest.mark.parametrize(
    ("written", "message", "remedy"),
    [
        ("1 gigabyte", "`1 gigabyte` is not a size", 'did you mean memory="1Gi" or memory="1G"?'),
        ("16GB", "`16GB` is not a size", 'did you mean memory="16Gi" or memory="16G"?'),
        ("4g", "`4g` is not a size", 'did you mean memory="4Gi" or memory="4G"?'),
        ("64KB", "`64KB` is not a size", 'did you mean memory="64Ki" or memory="64k"?'),
        ("512m", "memory='512m' is too small", 'did you mean memory="512Mi" or memory="512M"?'),
        ("1.5", "memory='1.5' is not a whole number of bytes", "Gi"),
        ("lots", "`lots` is not a size", "Gi"),
        ("-1Gi", "`-1Gi` is not a size", "Gi"),
        (-1, "memory=-1 is too small", "at least one byte"),
        ("0", "memory='0' is too small", "at least one byte"),
        (1.5, "memory=1.5 is not a size", "Gi"),
        (True, "memory=True is not a size", "Gi"),
        (10**28, "memory=10000000000000000000000000000 is more than the kernel can count", "Gi"),
        ("1.0000000000000000000000000001", "memory='1.0000000000000000000000000001' is not a whole", "Gi"),
        ("8Ei", "memory='8Ei' is more than the kernel can count", "Gi"),
    ],
)
def test_sizes_that_cannot_be_are_refused_with_a_remedy(written: object, message: str, remedy: str) -> None:
    with pytest.raises(SpecError) as refused:
        parse_size(written)
    assert str(refused.value).startswith(message)
    assert refused.value.hint is not None
    assert remedy in refused.value.hint


def test_the_shortest_spelling_is_written() -> None:
    assert [format_size(size) for size in (0, 1, 1000, 1024, 16 << 30, 500_000_000)] == [
        "0",
        "1",
        "1k",
        "1Ki",
        "16Gi",
        "500M",
    ]
    assert [format_cpu(Decimal(cores)) for cores in ("2", "0.5", "20", "0.01")] == ["2", "500m", "20", "10m"]
