"""What the READMEs name is there: files, make targets, verbs; their programs are Python."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from flyte_images.cli.verbs import _VERBS

from .house import ROOT, tracked

READMES = [path for path in tracked() if path.name == "README.md"]
MAIN = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", READMES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_and_named_files_are_there(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    assert [link for link in links if not (path.parent / link).exists()] == []
    cells = re.findall(r"^\| (`[^|]+`) \|", text, re.MULTILINE)
    homes = (path.parent, path.parent / "flyte_images_layers", path.parent / "flyte_images_runtime")
    named = [name for cell in cells for name in re.findall(r"`([\w/]+(?:\.py|/))`", cell)]
    assert [name for name in named if not any((home / name).exists() for home in homes)] == []


def test_files_that_contributors_are_sent_to_are_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8") + (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    named = set(re.findall(r"(?:flyte_images|layers|tests)/[\w/]+\.(?:py|sh|json)", text))
    named |= {f"runtime/flyte_images_runtime/{name}" for name in re.findall(r"runtime: ([\w/]+\.py)", text)}
    assert len(named) > 20 and [name for name in named if "VERB" not in name and not (ROOT / name).exists()] == []


def test_each_defect_of_the_trials_names_tests_that_are_there() -> None:
    folder = ROOT / "tests" / "adversarial"
    table = (folder / "README.md").read_text(encoding="utf-8")
    rows = set(re.findall(r"^\| D(\d+) \|", table, re.MULTILINE))
    assert rows == {str(number) for number in range(1, 35)}
    named = set(re.findall(r"`([\w/]+\.py)`", table))
    assert [name for name in named if not (folder / name).exists() and not (ROOT / name).exists()] == []


def test_make_targets_are_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {
        name
        for path in READMES
        for name in re.findall(r"(?:`|^)make ([a-z-]+)(?=`|$|  )", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert named and named <= targets


def test_verbs_are_there() -> None:
    named = set(re.findall(r"^flyte-images (\w+)", MAIN, re.MULTILINE))
    assert named and named <= set(_VERBS)


def test_programs_are_python() -> None:
    programs = re.findall(r"```python\n(.*?)```", MAIN, re.DOTALL)
    assert programs
    for program in programs:
        ast.parse(program)
