"""Tensors cross by their bytes. These tests need torch, which is not a development tool here: it has 200 MB."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flyte_images_runtime.values import Files, Problem, codec

torch: Any = pytest.importorskip("torch")

TENSORS = {
    "whole numbers": lambda: torch.arange(6).reshape(2, 3),
    "one number": lambda: torch.tensor(3.5),
    "none": lambda: torch.zeros(0, 4),
    "truth": lambda: torch.tensor([True, False]),
    "half": lambda: torch.ones(2, 3, dtype=torch.bfloat16),
    "quarter": lambda: torch.ones(2, dtype=torch.float8_e4m3fn),
    "another order": lambda: torch.arange(12.0).reshape(3, 4).t(),
    "every second": lambda: torch.arange(10)[::2],
    "a lazy conjugate": lambda: torch.conj(torch.ones(2, dtype=torch.complex64) * 1j),
    "expanded": lambda: torch.ones(2, 2).expand(3, 2, 2),
}


def crossed(value: Any, directory: Path, kind: Any = None) -> Any:
    with Files(str(directory)) as files:
        data = json.loads(json.dumps(codec(kind or type(value)).encode(value, files)))
        return codec(kind or type(value)).decode(data, files)


@pytest.mark.parametrize("name", TENSORS)
def test_a_tensor_crosses_unchanged(name: str, tmp_path: Path) -> None:
    value = TENSORS[name]()
    result = crossed(value, tmp_path)
    assert result.dtype == value.dtype
    assert result.shape == value.shape
    assert torch.equal(result.to(torch.complex64), value.to(torch.complex64))


def test_a_tensor_is_a_private_copy(tmp_path: Path) -> None:
    result = crossed(torch.zeros(3), tmp_path)
    result[0] = 7
    (file,) = tmp_path.iterdir()
    assert file.read_bytes() == bytes(12)


def test_gradients_and_parameters_cross(tmp_path: Path) -> None:
    assert crossed(torch.ones(3, requires_grad=True), tmp_path).requires_grad
    parameter = crossed(torch.nn.Parameter(torch.ones(2)), tmp_path / "again")
    assert isinstance(parameter, torch.nn.Parameter)
    assert parameter.requires_grad


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (lambda: torch.eye(3).to_sparse(), "sparse"),
        (lambda: torch.ones(2, device="meta"), "meta"),
        (lambda: [1.0], "expected Tensor, got list"),
    ],
)
def test_a_tensor_without_plain_bytes_is_refused(value: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(Problem, match=message):
        crossed(value(), tmp_path, torch.Tensor)


def test_a_file_that_is_too_short_and_a_module_are_refused(tmp_path: Path) -> None:
    with Files(str(tmp_path)) as files:
        data = codec(torch.Tensor).encode(torch.ones(3), files)
        (tmp_path / data["bin"]).write_bytes(b"xy")
        with pytest.raises(Problem, match="do not fit its shape"):
            codec(torch.Tensor).decode(data, files)
    with pytest.raises(Problem, match="Linear") as caught:
        codec(torch.nn.Linear)
    assert "state_dict" in str(caught.value.hint)
