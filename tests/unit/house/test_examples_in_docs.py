"""Every `>>>` in a docstring does what it says: those that name files do so in a folder with a small project."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

from .house import NEEDS_ENGINE, PACKAGES, Module, modules

FILES = {
    "requirements.txt": "httpx==0.28.1\npandas>=2\n",
    "main.py": "",
    "src/app.py": "",
    "data/rows.csv": "a,b\n1,2\n",
    "uv-project/pyproject.toml": """
[project]
name = "demo"
version = "1.0"
requires-python = ">=3.11"
dependencies = ["idna"]
""",
    "uv-project/uv.lock": """
version = 1
revision = 2
requires-python = ">=3.11"

[[package]]
name = "demo"
version = "1.0"
source = { virtual = "." }
dependencies = [{ name = "idna" }]

[package.metadata]
requires-dist = [{ name = "idna" }]

[[package]]
name = "idna"
version = "3.10"
source = { registry = "https://index.test/simple" }
wheels = [
    { url = "https://index.test/idna-3.10-py3-none-any.whl", hash = "sha256:HASH", size = 70442 },
]
""".replace("HASH", "a" * 64),
    "poetry-project/pyproject.toml": """
[project]
name = "demo"
version = "1.0"
requires-python = ">=3.11"
dependencies = ["idna"]
""",
    "poetry-project/poetry.lock": """
[[package]]
name = "idna"
version = "3.10"
optional = false
python-versions = ">=3.6"
groups = ["main"]
files = [{file = "idna-3.10-py3-none-any.whl", hash = "sha256:HASH"}]

[metadata]
lock-version = "2.1"
python-versions = ">=3.11"
content-hash = "0"
""".replace("HASH", "a" * 64),
}
EVERY = [
    module for package in PACKAGES for module in modules(package) if ">>>" in module.path.read_text(encoding="utf-8")
]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize("module", EVERY, ids=lambda module: module.name)
def test_docstrings(module: Module, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for example in doctest.DocTestFinder().find(importlib.import_module(module.name)):
        if example.name not in NEEDS_ENGINE:
            runner.run(example)
    assert runner.tries > 0
    assert runner.failures == 0
