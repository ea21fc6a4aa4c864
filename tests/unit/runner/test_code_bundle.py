"""A code bundle has the content of its source tree, and nothing that does not belong to the code."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from flyte_images.errors import SpecError
from flyte_images.runner import code_bundle
from flyte_images.runner.code_bundle import LARGEST, CodeBundles


@pytest.fixture
def bundles(tmp_path: Path) -> CodeBundles:
    return CodeBundles({"FLYTE_IMAGES_CACHE": str(tmp_path / "cache"), "HOME": str(tmp_path / "home")})


def test_a_bundle_is_named_by_its_content_and_all_users_can_read_it(tmp_path: Path, bundles: CodeBundles) -> None:
    tree = tmp_path / "project"
    (tree / "pkg").mkdir(parents=True)
    (tree / "pkg" / "a.py").write_text("x = 1")
    (tree / "pkg" / "a.py").chmod(0o600)
    (tree / "pkg").chmod(0o700)
    (tree / ".git").mkdir()
    (tree / "venv").mkdir()
    (tree / ".dockerignore").write_text("*.csv\n")
    (tree / "big.csv").write_text("1,2")
    first = Path(bundles.bundle(str(tree)))
    modes = {str(path.relative_to(first)): path.stat().st_mode & 0o777 for path in first.rglob("*")}
    assert modes == {"pkg": 0o755, "pkg/a.py": 0o644}
    assert Path(bundles.bundle(str(tree))) == first
    (tree / "pkg" / "a.py").write_text("x = 2")
    second = Path(bundles.bundle(str(tree)))
    assert ((first / "pkg" / "a.py").read_text(), (second / "pkg" / "a.py").read_text()) == ("x = 1", "x = 2")
    (tree / "pkg" / "a.py").write_text("x = 1")
    assert Path(bundles.bundle(str(tree))) == first


def test_a_home_directory_is_not_copied_whole(tmp_path: Path, bundles: CodeBundles) -> None:
    home = tmp_path / "home"
    (home / "documents").mkdir(parents=True)
    (home / "documents" / "letter.txt").write_text("dear")
    (home / "secret.txt").write_text("sesame")
    assert list(Path(bundles.bundle(str(home))).iterdir()) == []


def test_a_tree_with_data_is_refused_and_the_error_names_its_largest_part(tmp_path: Path, bundles: CodeBundles) -> None:
    (tmp_path / "project" / "data").mkdir(parents=True)
    with open(tmp_path / "project" / "data" / "a.bin", "wb") as file:
        file.truncate(LARGEST + 1)
    with pytest.raises(SpecError, match="most of it in `data`"):
        bundles.bundle(str(tmp_path / "project"))


def test_files_that_an_editor_makes_and_removes_do_no_harm(tmp_path: Path, bundles: CodeBundles) -> None:
    tree = tmp_path / "project"
    tree.mkdir()
    (tree / "a.py").write_text("x = 1")
    done = threading.Event()

    def edit() -> None:
        while not done.is_set():
            for number in range(3):
                (tree / f".{number}.swp").touch()
                (tree / f".{number}.swp").unlink()
            time.sleep(0.001)

    thread = threading.Thread(target=edit)
    thread.start()
    try:
        for _ in range(30):
            assert (Path(bundles.bundle(str(tree))) / "a.py").read_text() == "x = 1"
    finally:
        done.set()
        thread.join()
    with pytest.raises(SpecError, match="cannot be read"):
        bundles.bundle(str(tmp_path / "nowhere"))


def test_a_bundle_never_has_the_name_of_another_content(
    tmp_path: Path, bundles: CodeBundles, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = tmp_path / "project"
    tree.mkdir()
    (tree / "a.py").write_text("x = 1")
    original = code_bundle.tree_digest
    edits = iter(["x = 2"])

    def digest_then_edit(scanned: object) -> str:
        digest = original(scanned)  # type: ignore[arg-type]
        for text in edits:
            (tree / "a.py").write_text(text)
        return digest

    monkeypatch.setattr(code_bundle, "tree_digest", digest_then_edit)
    bundle = Path(bundles.bundle(str(tree)))
    assert (bundle / "a.py").read_text() == "x = 2"
    assert [path.name for path in (tmp_path / "cache" / "code").iterdir() if path.is_dir()] == [bundle.name]
