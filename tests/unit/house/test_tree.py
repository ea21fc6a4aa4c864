"""What no file of the house may hold, and how long one may be."""

from __future__ import annotations

import re

from .house import ROOT, tracked

# Written so that this file does not hold them itself.
_PARTS = (
    *(r"pythonhosted\.o{}rg", r"(//|\b)pypi\.o{}rg", r"(deb|security|snapshot)\.d{}ebian\.org"),
    *(r"registry\.npmj{}s\.org", r"/wor{}k/(main|shared|steering|\.)", r"/roo{}t/\.pyenv", r"/far{}m/"),
)
FORBIDDEN = re.compile("|".join(part.replace("{}", "()") for part in _PARTS).encode())
LONGEST = 420  # lines that are not blank


def test_no_host_of_a_package_index_and_no_path_of_a_machine_is_in_any_file() -> None:
    wrong = []
    for path in tracked():
        for number, line in enumerate(path.read_bytes().splitlines(), 1):
            if FORBIDDEN.search(line):
                wrong.append(f"{path.relative_to(ROOT)}:{number}: {line.decode(errors='replace').strip()[:100]}")
    assert wrong == []


def test_the_pattern_finds_what_it_is_for() -> None:
    for text in ("https://py" + "pi.org/simple", "http://deb.de" + "bian.org/debian", "/wor" + "k/main/x"):
        assert FORBIDDEN.search(text.encode())
    assert not FORBIDDEN.search(b"https://index.test/simple /root/src /home/ada/work/x")


def test_no_file_is_binary() -> None:
    assert [str(path.relative_to(ROOT)) for path in tracked() if b"\0" in path.read_bytes()] == []


def test_no_file_is_long() -> None:
    """Generated code apart. What is longer has two subjects: split it."""
    lengths = {
        str(path.relative_to(ROOT)): sum(bool(line.strip()) for line in path.read_bytes().splitlines())
        for path in tracked()
        if path.suffix in (".py", ".sh") and not path.stem.endswith("_pb2")
    }
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}
