"""No declared floor and no installed dependency has a known vulnerability; the list grows by one command."""

from __future__ import annotations

import json
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests import advisories

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_no_floor_and_no_installed_version_has_a_known_vulnerability() -> None:
    """D33: pyproject.toml admitted a uv with CVE-2025-62518."""
    requirements = advisories.declared(PROJECT)
    installed = advisories.installed_versions(requirements)
    assert advisories.violations(advisories.known(), requirements, installed) == []


@pytest.mark.parametrize(
    ("requirement", "installed", "said"),
    [
        ("uv>=0.8", "0.10.0", "uv>=0.8 admits a version with GHSA-w476-p2h3-79g9: write >=0.9.5"),
        ("uv", "0.10.0", "uv admits a version with GHSA-w476-p2h3-79g9"),
        ("uv>=0.10", "0.9.4", "uv 0.9.4 is installed and has GHSA-w476-p2h3-79g9: fixed in 0.9.5"),
    ],
)
def test_a_floor_or_version_with_a_known_vulnerability_is_reported(requirement: str, installed: str, said: str) -> None:
    """D33"""
    found = advisories.violations(advisories.known(), [Requirement(requirement)], {"uv": Version(installed)})
    assert [line for line in found if line.startswith(said)]


def test_a_fix_in_an_older_major_version_counts_there_alone() -> None:
    row = advisories.row_of("p", {"id": "G-1", "fixed_in": ["6.31.1", "4.25.8", "5.29.5"], "summary": "s"})
    assert row is not None
    affected = advisories.Advisory.of(row)
    versions = ["1.0", "4.25.7", "4.25.8", "5.0", "5.29.5", "6.31.0", "6.31.1", "7.0"]
    assert [one for one in versions if affected.affects(Version(one))] == ["1.0", "4.25.7", "5.0", "6.31.0"]
    assert affected.fixed == Version("6.31.1")


def test_the_licence_that_the_package_names_is_in_the_repository() -> None:
    """D33: there was no LICENSE."""
    assert PROJECT["project"]["license"] == "Apache-2.0"
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text and "Version 2.0, January 2004" in text and "END OF TERMS AND CONDITIONS" in text


class _Index(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        known = self.path == "/pypi/uv/0.0.1/json"
        said = {"vulnerabilities": [{"id": "G-7", "aliases": ["C-7"], "fixed_in": ["99.1"], "summary": "new"}]}
        self.send_response(200 if known else 404)
        self.end_headers()
        self.wfile.write(json.dumps(said).encode() if known else b"")

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def index() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Index) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_the_list_is_updated_from_an_index(
    index: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """D33: an advisory of the index is added once; a package that the index does not have is an error."""
    copy = tmp_path / "advisories.json"
    copy.write_text(advisories.LIST.read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(advisories, "LIST", copy)
    before = len(advisories.known())
    for new in (1, 0):
        assert advisories.main(["--index", index, "uv==0.0.1"]) == 1  # the index knows that one version alone
        printed = capsys.readouterr()
        assert printed.out.startswith(f"{new} advisories are new, {before + 1} in all")
        assert "the index does not say: click" in printed.err
    assert advisories.violations(advisories.known(), [Requirement("uv>=1")], {})[-1].endswith("write >=99.1 (new)")
