"""Every kind in LAYERS: these tests cover a new kind without a change."""

from __future__ import annotations

import dataclasses
import doctest
import importlib
import pkgutil
from types import ModuleType

import pytest

import flyte_images_layers
from flyte_images_layers import LAYERS, Layer, Resolved, encode
from tests.fakes import values

EXAMPLES = [(kind, example) for kind, layer in LAYERS.items() for example in layer.examples]
MODULES = [
    importlib.import_module(it.name)
    for it in pkgutil.walk_packages(flyte_images_layers.__path__, "flyte_images_layers.")
    if not it.name.endswith("install_wheels")
]


@pytest.mark.parametrize("kind", LAYERS)
def test_a_kind_has_a_name_examples_and_a_docstring_that_runs(kind: str) -> None:
    layer = LAYERS[kind]
    assert layer.kind == kind
    assert layer.examples and all(type(example) is layer for example in layer.examples)
    assert layer.__doc__


@pytest.mark.parametrize(("kind", "example"), EXAMPLES, ids=[f"{kind}-{example.title}" for kind, example in EXAMPLES])
def test_an_example_lowers(kind: str, example: Layer) -> None:
    asked = example.python_requirements()
    resolved = Resolved(
        wheels=tuple(values.wheel(values.name_in(line)) for line in asked.requirements) if asked else (),
        debs=tuple(values.deb(name) for name in example.apt_packages()),
        contents=tuple("sha256:" + values.sha(it.path) for it in example.local_sources()),
    )
    steps = example.lower(resolved)
    assert steps
    assert len({encode(step) for step in steps}) == len(steps)
    assert 0 < len(example.title) < 200 and "\n" not in example.title


@pytest.mark.parametrize(("kind", "example"), EXAMPLES, ids=[f"{kind}-{example.title}" for kind, example in EXAMPLES])
def test_an_example_is_frozen_hashable_and_has_a_canonical_form(kind: str, example: Layer) -> None:
    assert hash(example) == hash(dataclasses.replace(example, location="elsewhere"))
    assert encode(example) == encode(dataclasses.replace(example, location="elsewhere"))
    for field in dataclasses.fields(example):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(example, field.name, "other")


def test_examples_differ() -> None:
    assert len({encode(example) for _, example in EXAMPLES}) == len(EXAMPLES)


@pytest.mark.parametrize("module", MODULES, ids=[it.__name__ for it in MODULES])
def test_examples_in_docstrings_run(module: ModuleType) -> None:
    assert doctest.testmod(module).failed == 0
