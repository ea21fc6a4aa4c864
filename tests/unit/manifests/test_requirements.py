"""requirements.txt has the meaning of pip's format; a line that an image cannot honor is an error with its number."""

from __future__ import annotations

from pathlib import Path

import pytest

from flyte_images.errors import SpecError
from flyte_images.image import Image
from flyte_images_layers import PipPackages

A, B = "a" * 64, "b" * 64
URL, OTHER = "https://index.test/simple", "https://other.test/simple"


def debian() -> Image:
    return Image.from_debian_base("3.11", platform="linux/amd64")


def read(folder: Path, text: str, **options: object) -> PipPackages:
    path = folder / "requirements.txt"
    path.write_text(text, encoding="utf-8")
    (layer,) = debian().with_requirements(path, **options).layers  # type: ignore[arg-type]
    assert isinstance(layer, PipPackages)
    return layer


def test_lines_have_the_same_effect_as_arguments(tmp_path: Path) -> None:
    text = "\ufeff# ours\n\nPandas >= 2  # for tables\n  six\r\nhttpx[http2]; python_version < '3.13'\n"
    assert read(tmp_path, text) == PipPackages(packages=("pandas>=2", "six", "httpx[http2]; python_version < '3.13'"))
    image = debian().with_requirements(tmp_path / "requirements.txt")
    assert image.digest == debian().with_pip_packages(*image.layers[0].packages).digest  # type: ignore[attr-defined]


def test_a_backslash_continues_a_line_and_a_number_sign_inside_a_word_is_not_a_comment(tmp_path: Path) -> None:
    url = "https://files.test/b-1.0-py3-none-any.whl#egg=b"
    layer = read(tmp_path, f"a \\\n  >=1 \\\n  # no end of it\nb @ {url}\n")
    assert layer.packages == ("a>=1", f"b @ {url}")


def test_hashes_are_kept_for_the_package(tmp_path: Path) -> None:
    hashes = f"    --hash=sha256:{B} \\\n    --hash=sha256:{A} \\\n    --hash=md5:00\n"
    text = f"--require-hashes\nA.b==1 \\\n{hashes}c==1 --hash sha256:{A}\n"
    layer = read(tmp_path, text)
    assert layer.packages == ("a-b==1", "c==1")
    assert layer.hashes == (("a-b", (A, B)), ("c", (A,)))
    assert layer.python_requirements().hashes == layer.hashes
    assert read(tmp_path, text.replace(B, "c" * 64)) != layer


def test_included_files_are_relative_to_the_file_that_names_them(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more/base.txt").write_text("-r deep.txt\n-c../limits.txt\nb\n")
    (tmp_path / "more/deep.txt").write_text("c\n--pre\n")
    (tmp_path / "limits.txt").write_text("b<2\n-r more/few.txt\n")
    (tmp_path / "more/few.txt").write_text("c<3\n")
    layer = read(tmp_path, "-r more/base.txt\n--constraint=limits.txt\na\n")
    assert (layer.packages, layer.constraints, layer.pre) == (("a", "b", "c"), ("b<2", "c<3"), True)
    assert layer.python_requirements().constraints == ("b<2", "c<3")


def test_options_of_the_file_and_of_the_call_add_up(tmp_path: Path) -> None:
    layer = read(tmp_path, f"--index-url {URL}\n--extra-index-url={OTHER}\n--no-binary a\na\n", extra_args="--pre")
    assert (layer.index_url, layer.extra_index_urls, layer.pre, layer.no_binary) == (URL, (OTHER,), True, ("a",))
    layer = read(tmp_path, f"-i {URL}\na\n", index_url=OTHER, extra_index_urls=URL)
    assert (layer.index_url, layer.extra_index_urls) == (OTHER, (URL,))


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("", "`requirements.txt` names no package", "remove the call"),
        ("# nothing\n", "`requirements.txt` names no package", None),
        ("a\nb c\n", "`requirements.txt` line 2: `b c` is not a package requirement", "one requirement"),
        ("a\n\nb \\\n ==latest\n", "`requirements.txt` line 3: `b ==latest` is not", None),
        ("-e ./lib\n", "line 1: `-e ./lib` is a folder or file on this machine", "with_source_folder"),
        ("./wheels/a.whl\n", "line 1: `./wheels/a.whl` is a folder or file", "serve a wheel of it"),
        ("a @ git+https://git.test/a\n", "line 1: `a @ git+https://git.test/a` names a source", "build a wheel"),
        ("--trusted-host x\n", "line 1: the option `--trusted-host` is not supported", "--no-binary"),
        ("a --global-option=x\n", "line 1: `a --global-option=x` is not a package requirement", None),
        (f"a==1 --hash=sha512:{A}\n", "line 1: `a==1` has no sha256 among its hashes", "indexes publish sha256"),
        ("--index-url https://${USER}@index.test\n", "}@index.test` uses an environment variable", "write its value"),
        ("-i https://robot:s3cret@index.test\na\n", "holds credentials", "netrc"),
        ("-r nowhere.txt\n", "line 1: `", None),
        ("-r requirements.txt\n", "`requirements.txt` includes itself", None),
    ],
)
def test_a_line_that_cannot_be_honored_is_refused_with_its_number(
    tmp_path: Path, text: str, message: str, hint: str | None
) -> None:
    with pytest.raises(SpecError) as caught:
        read(tmp_path, text)
    assert message in str(caught.value) and "s3cret" not in str(caught.value)
    assert hint is None or hint in (caught.value.hint or "")
    assert caught.value.location is not None and caught.value.location.file == __file__


def test_an_error_in_an_included_file_names_that_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "base.txt").write_text("a\nb c\n")
    with pytest.raises(SpecError, match=r"`base.txt` line 2: `b c` is not a package requirement"):
        read(tmp_path, "x\n-r base.txt\n")


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecError, match="cannot be read: it is not UTF-8"):
        debian().with_requirements(tmp_path / "requirements.txt")
    with pytest.raises(SpecError, match=r"there is no `nowhere.txt`"):
        debian().with_requirements("nowhere.txt")
    with pytest.raises(SpecError, match="takes no secret_mounts"):
        debian().with_requirements(tmp_path / "requirements.txt", secret_mounts="x")
