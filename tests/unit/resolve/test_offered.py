"""One of the offered files is chosen, under a name of that package and version, or the index is refused."""

from __future__ import annotations

from typing import Any

import pytest

from flyte_images.errors import ResolveError
from flyte_images.resolve.offered import addresses, choose_file
from flyte_images.resolve.target import Target
from flyte_images_layers.steps import Wheel

TARGET = Target(python="3.11", platform="linux/amd64", libc="2.36")
SUM = "0" * 64


def file(url: str, name: str | None = None, **more: Any) -> dict[str, Any]:
    return {"url": url, "hashes": {"sha256": SUM}, "size": 1} | ({"name": name} if name else {}) | more


def wheels(*several: dict[str, Any], version: str = "1.0") -> dict[str, Any]:
    return {"name": "alpha", "version": version, "wheels": several}


def sdist(it: dict[str, Any]) -> dict[str, Any]:
    return {"name": "alpha", "version": "1.0", "sdist": it}


ENDS = [
    *("%2fHOME%2f.ssh%2fauthorized_keys", "..%2f..%2fpwn", "%2e%2e%2fpwn", "..%5cpwn", "%00", "a%0ab.whl", "", ".."),
    *("alpha-1.0-py3-none-any.whl%2f..%2f..%2fpwn", "beta-1.0-py3-none-any.whl", "alpha-2.0-py3-none-any.whl"),
    *("alpha-1.0-py3-none-../x.whl", "alpha-1.0-py3-none-any.tar.gz", "%EF%BD%81lpha-1.0-py3-none-any.whl"),
    *("beta-1.0.tar.gz", "alpha-1.1.tar.gz", "alpha-1.0.exe", "alpha.tar.gz", "alpha-1.0", "a" * 300),
]


@pytest.mark.parametrize("end", ENDS)
def test_a_file_under_a_name_of_something_else_is_refused(end: str) -> None:
    """D1: an index chooses the end of an address, and so chose where on the client its file was written."""
    for package in (wheels(file(f"http://index.test/files/{end}")), sdist(file(f"http://index.test/files/{end}"))):
        with pytest.raises(ResolveError) as caught:
            choose_file(package, TARGET, (), {})
        assert "the index at `index.test`" in str(caught.value) and "`alpha` 1.0" in str(caught.value)
        assert caught.value.hint


@pytest.mark.parametrize("end", ENDS)
def test_the_name_is_the_one_that_the_index_gives_and_not_the_end_of_the_address(end: str) -> None:
    """D1: a storage may use any names for its objects; they are never used here."""
    name = "alpha-1.0-py3-none-any.whl"
    assert choose_file(wheels(file(f"http://index.test/{end}", name)), TARGET, (), {}).filename == name
    found = choose_file(sdist(file(f"http://index.test/{end}", "alpha-1.0.tar.gz")), TARGET, (), {})
    assert found.filename == "alpha-1.0.tar.gz"


@pytest.mark.parametrize("name", ["alpha-1.0.tar.gz", "Alpha-1.0.zip", "alpha-1.0.0.tar.bz2", "ALPHA-1.tgz"])
def test_old_spellings_of_source_distributions_are_accepted(name: str) -> None:
    assert choose_file(sdist(file(f"http://index.test/{name}")), TARGET, (), {}).filename == name


def test_names_with_dashes_and_local_versions() -> None:
    package = {"name": "py-alpha", "version": "2.0+cpu.1", "sdist": file("http://i.test/py-alpha-2.0%2Bcpu.1.tar.gz")}
    assert choose_file(package, TARGET, (), {}).filename == "py-alpha-2.0+cpu.1.tar.gz"
    package = {
        "name": "py-alpha",
        "version": "2.0+cpu",
        "wheels": [file("http://i.test/py_alpha-2.0%2Bcpu-py3-none-any.whl")],
    }
    assert choose_file(package, TARGET, (), {}).filename == "py_alpha-2.0+cpu-py3-none-any.whl"


@pytest.mark.parametrize(("end", "kind"), [("alpha-3.0-py3-none-any.whl", Wheel), ("alpha-3.0.tar.gz", object)])
def test_a_file_that_is_named_by_its_address_has_the_version_of_its_name(end: str, kind: type) -> None:
    found = choose_file({"name": "alpha", "archive": file(f"https://files.test/{end}")}, TARGET, (), {})
    assert isinstance(found, kind) and (found.version, found.filename) == ("3.0", end)


@pytest.mark.parametrize("hashes", [{}, {"md5": "0" * 32}, {"sha256": "0" * 63}, {"sha256": 7}])
def test_a_file_without_a_sha256_is_refused(hashes: dict[str, Any]) -> None:
    package = wheels(file("http://index.test/alpha-1.0-py3-none-any.whl", hashes=hashes))
    for look in (lambda: choose_file(package, TARGET, (), {}), lambda: addresses([package])):
        with pytest.raises(ResolveError, match="gives no sha256 of a file of `alpha`"):
            look()


@pytest.mark.parametrize("url", ["ftp://index.test/alpha-1.0-py3-none-any.whl", "data:,x", "gopher://x/"])
def test_an_address_that_is_not_of_the_web_is_refused(url: str) -> None:
    with pytest.raises(ResolveError, match="an address that is not http or https"):
        choose_file(wheels(file(url, "alpha-1.0-py3-none-any.whl")), TARGET, (), {})
