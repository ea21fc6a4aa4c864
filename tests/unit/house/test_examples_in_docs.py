"""Every `>>>` in a docstring does what it says."""

from __future__ import annotations

import doctest
import importlib

import pytest

from .house import PACKAGES, Module, modules

EVERY = [
    module for package in PACKAGES for module in modules(package) if ">>>" in module.path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("module", EVERY, ids=lambda module: module.name)
def test_docstrings(module: Module) -> None:
    result = doctest.testmod(importlib.import_module(module.name), optionflags=doctest.ELLIPSIS)
    assert result.attempted > 0
    assert result.failed == 0
