"""uv runs no code of a package; metadata that a source distribution does not state is made once, for uv."""

from __future__ import annotations

from pathlib import Path

import pytest

from flyte_images.errors import ResolveError
from flyte_images.resolve import uv
from flyte_images.resolve.sdist_metadata import HERE, Metadata, MetadataProvider
from flyte_images.resolve.sdists import SourceDist
from flyte_images_layers import PythonRequirements
from tests.fakes.package_index import Index, serve

TARGET = uv.Target(python="3.11", platform="linux/amd64", libc="2.36")
PROJECT = '[build-system]\nrequires = []\nbuild-backend = "{backend}"\nbackend-path = ["."]\n'


class Maker:
    """Makes metadata in which every source needs `alpha`, and counts the calls."""

    def __init__(self, text: str = "Name: {name}\nVersion: {version}\nRequires-Dist: alpha\n") -> None:
        self.text, self.made = text, list[str]()

    def __call__(self, source: SourceDist) -> Metadata:
        self.made.append(source.filename)
        text = "Metadata-Version: 2.1\n" + self.text.format(name=source.name, version=source.version)
        return Metadata.parse(source, text, ())


def offer(index: Index, mark: Path, version: str = "1.0", backend: str = "backend") -> str:
    code = f"open({str(mark)!r}, 'w').close()\n"
    files = {"pyproject.toml": PROJECT.format(backend=backend), "backend.py": code, "get_interpreter_info.py": code}
    return index.add_source("old", version, {**files, "PKG-INFO": "Metadata-Version: 2.1\n"})


def ask(environ: dict[str, str], maker: Maker, *wanted: str, **words: str) -> uv.Answer:
    described = MetadataProvider(maker, environ)
    return uv.ask([PythonRequirements(requirements=wanted, **words)], TARGET, environ=environ, described=described)  # type: ignore[arg-type]


@pytest.mark.parametrize("backend", ["backend", "get_interpreter_info"])
@pytest.mark.parametrize("is_by_address", [False, True])
def test_metadata_is_made_once_and_no_code_runs(
    environ: dict[str, str], tmp_path: Path, shelf: Index, backend: str, is_by_address: bool
) -> None:
    """D2"""
    with serve(Index()) as index:
        filename, maker = offer(index, tmp_path / "RAN", backend=backend), Maker()
        index.add("alpha", "1.1")
        asked = f"old @ http://{index.address}/files/{filename}" if is_by_address else "old"
        for _ in range(2):
            answer = ask(environ, maker, asked, index_url=index.url)
            assert answer.versions == {"old": "1.0", "alpha": "1.1"}
        assert maker.made == [filename]
    assert not (tmp_path / "RAN").exists()


def test_wheels_and_sources_are_candidates_together(environ: dict[str, str], tmp_path: Path) -> None:
    """The newest version wins although an older one has a wheel; a pre-release does not win because it has one."""
    with serve(Index()) as index:
        index.add("old", "1.0")
        index.add("old", "3.0rc1")
        offer(index, tmp_path / "RAN", "2.0")
        index.add("alpha", "1.1")
        assert ask(environ, Maker(), "old", index_url=index.url).versions == {"old": "2.0", "alpha": "1.1"}


def test_metadata_of_another_package_is_refused(environ: dict[str, str], tmp_path: Path) -> None:
    with serve(Index()) as index:
        offer(index, tmp_path / "RAN")
        with pytest.raises(ResolveError, match=r"the metadata of old-1.0.tar.gz is that of other 1.0, not old 1.0"):
            ask(environ, Maker("Name: other\nVersion: 1.0\n"), "old", index_url=index.url)


def test_the_user_may_let_uv_build_here(environ: dict[str, str], tmp_path: Path) -> None:
    """With the variable set, uv runs the backend, which fails but leaves a mark."""
    with serve(Index()) as index:
        offer(index, tmp_path / "RAN")
        maker = Maker()
        with pytest.raises(ResolveError):
            ask({**environ, HERE: "1"}, maker, "old", index_url=index.url)
    assert (tmp_path / "RAN").exists() and maker.made == []


KINDS = {
    "no-pyproject": {},
    "setuptools": {
        "pyproject.toml": '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
    },
    "dynamic": {"pyproject.toml": '[project]\nname = "old"\nversion = "1.0"\ndynamic = ["dependencies"]\n'},
    "stated-but-dynamic": {"PKG-INFO": "Metadata-Version: 2.2\nName: old\nVersion: 1.0\nDynamic: Requires-Dist\n"},
    "nothing": {"PKG-INFO": ""},
}


@pytest.mark.parametrize("form", ["tar.gz", "zip"])
@pytest.mark.parametrize("kind", KINDS)
def test_no_kind_of_source_distribution_runs_here(
    environ: dict[str, str], tmp_path: Path, kind: str, form: str
) -> None:
    """D2: whichever metadata a source distribution states or omits."""
    code = f"open({str(tmp_path / 'RAN')!r}, 'w').close()\n"
    files = {"setup.py": code, "setuptools.py": code, "PKG-INFO": "Metadata-Version: 2.1\n", **KINDS[kind]}
    with serve(Index()) as index:
        filename, maker = index.add_source("old", "1.0", files, form=form), Maker()
        index.add("alpha", "1.1")
        answer = ask(environ, maker, "old", index_url=index.url)
    assert ([it.filename for it in answer.sources], maker.made) == ([filename], [filename])
    assert not (tmp_path / "RAN").exists()
