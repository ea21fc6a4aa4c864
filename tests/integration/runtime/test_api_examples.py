"""The examples in the docstrings of `build`, `run` and `map` do what they say, on a real engine."""

from __future__ import annotations

import doctest

import pytest

import flyte_images.builder
import flyte_images.runner.runner
from tests.unit.house.house import NEEDS_ENGINE

EXAMPLES = {
    example.name: example
    for module in (flyte_images.builder, flyte_images.runner.runner)
    for example in doctest.DocTestFinder().find(module)
    if example.name in NEEDS_ENGINE
}


@pytest.mark.parametrize("name", sorted(NEEDS_ENGINE))
def test_an_example_of_the_reference(name: str, image: str) -> None:
    example = EXAMPLES[name]
    assert example.examples
    example.globs = {"__name__": "an_example"}  # its tasks are in no module, as in a notebook
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    runner.run(example)
    assert runner.failures == 0
