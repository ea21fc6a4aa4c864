"""Python packages: one spelling of each requirement; other texts are refused with a remedy."""

from __future__ import annotations

import pytest

from flyte_images_layers import LayerError, PipPackages, Resolved, encode
from flyte_images_layers.steps import InstallWheels
from tests.fakes import values


def packages(*given: str) -> tuple[str, ...]:
    return PipPackages(packages=given).packages


@pytest.mark.parametrize(
    ("written", "spelled"),
    [
        ("pandas", "pandas"),
        ("  pandas ", "pandas"),
        ("Scikit_Learn", "scikit-learn"),
        ("zope.interface", "zope-interface"),
        ("a--b", "a-b"),
        ("a >= 1", "a>=1"),
        ("a  ==  1.2.*", "a==1.2.*"),
        ("a<2,>=1", "a<2,>=1"),
        ("a >=1 , <2", "a<2,>=1"),
        ("a>=1,>=1", "a>=1"),
        ("a (>=1)", "a>=1"),
        ("httpx[http2]", "httpx[http2]"),
        ("httpx[ HTTP2 , Brotli_x ]>=0.28", "httpx[brotli-x,http2]>=0.28"),
        ("a===1.0+weird", "a===1.0+weird"),
        ("a~=1.4", "a~=1.4"),
        ("a!=1.0rc1", "a!=1.0rc1"),
        ("a==1!2.0.post3.dev4", "a==1!2.0.post3.dev4"),
        ('A_b; python_version<"3.12"', 'a-b; python_version < "3.12"'),
        (
            "Name @ https://files.test/name-1.0-py3-none-any.whl",
            "name@ https://files.test/name-1.0-py3-none-any.whl",
        ),
    ],
)
def test_a_requirement_has_one_spelling(written: str, spelled: str) -> None:
    (found,) = packages(written)
    assert found.replace(" @ ", "@ ") == spelled
    assert packages(found) == (found,)  # the normal spelling is stable


@pytest.mark.parametrize(
    ("common", "library"),
    [("a_b>=1,<2", "a_b (>=1,<2)"), ("A.b[x]", 'A.b[x]; python_version >= "3"'), ("a==1.0", "a (==1.0)")],
)
def test_the_fast_path_spells_as_the_packaging_library(common: str, library: str) -> None:
    assert packages(common)[0] == packages(library)[0].partition(";")[0]


def test_order_and_repetition_do_not_matter() -> None:
    assert packages("b", "a", "B") == ("a", "b")
    assert PipPackages(packages=("b", "a")) == PipPackages(packages=("a", "b"))


@pytest.mark.parametrize(
    ("written", "told", "hint"),
    [
        (
            "pandas; rm -rf /",
            "`pandas; rm -rf /` is not a package requirement",
            "shell commands belong in with_commands",
        ),
        ("pandas && curl x", "`pandas && curl x` is not a package requirement", "with_commands"),
        ("$(id)", "`$(id)` is not a package requirement", "with_commands"),
        ("`id`", "`id`", "with_commands"),
        ("pandas numpy", "`pandas numpy` is not a package requirement", "one requirement for each argument"),
        ("pandas,numpy", "`pandas,numpy` is not a package requirement", "one requirement for each argument"),
        ("pandas\nnumpy", "is not a package requirement", "one requirement for each argument"),
        ("pandas=2", "`pandas=2` is not a package requirement", "pandas>=2"),
        ("pandas==latest", "`pandas==latest` is not a package requirement", "pandas>=2"),
        ("pandas>=2.x", "`pandas>=2.x` is not a package requirement", "pandas>=2"),
        ("pandas>=2.*", "`pandas>=2.*` is not a package requirement", "pandas>=2"),
        ("pandas~=2", "`pandas~=2` is not a package requirement", "pandas>=2"),
        ("-r requirements.txt", "is an option, not a package", "index_url="),
        ("--pre", "`--pre` is an option, not a package", "pre="),
        ("./wheels/a.whl", "`./wheels/a.whl` is not a package requirement", "one requirement for each argument"),
        ("a @ file:///tmp/a.whl", "names a source that is neither http nor https", "serve it from an index"),
        ("a @ git+https://git.test/a", "names a source that is neither http nor https", "build a wheel"),
        ("", "with_pip_packages was given an empty package", None),
        ("   ", "with_pip_packages was given an empty package", None),
    ],
)
def test_a_text_that_is_not_a_requirement_is_refused(written: str, told: str, hint: str | None) -> None:
    with pytest.raises(LayerError) as caught:
        packages("fine", written)
    assert told in str(caught.value)
    assert caught.value.hint is hint if hint is None else hint in (caught.value.hint or "")


def test_a_call_without_packages_is_refused() -> None:
    with pytest.raises(LayerError, match="was given no package"):
        packages()


@pytest.mark.parametrize("given", [["pandas", "numpy"], ("pandas",), {"pandas"}, frozenset({"pandas"})])
def test_a_collection_of_names_is_refused_with_the_right_spelling(given: object) -> None:
    with pytest.raises(LayerError) as caught:
        PipPackages(packages=(given,))  # type: ignore[arg-type]
    assert f"takes names as separate arguments, not a {type(given).__name__}: {given!r}" in str(caught.value)
    assert 'with_pip_packages("pandas"' in (caught.value.hint or "")


@pytest.mark.parametrize("given", [None, 3, b"pandas", 1.5])
def test_a_name_that_is_not_a_string_is_refused(given: object) -> None:
    with pytest.raises(LayerError, match=f"takes strings, not {type(given).__name__}"):
        PipPackages(packages=(given,))  # type: ignore[arg-type]


@pytest.mark.parametrize("url", ["pypi", "ftp://index.test/simple", "index.test/simple", "", 3])
def test_an_index_is_an_address(url: object) -> None:
    with pytest.raises(LayerError, match="is not the address of a package index"):
        PipPackages(packages=("a",), extra_index_urls=(url,))  # type: ignore[arg-type]


def test_an_index_address_with_credentials_is_refused_without_repeating_them() -> None:
    with pytest.raises(LayerError) as caught:
        PipPackages(packages=("a",), index_url="https://robot:s3cret@index.test/simple")
    assert "s3cret" not in f"{caught.value} {caught.value.hint}"
    assert "`index.test`" in str(caught.value) and "netrc" in (caught.value.hint or "")


URL, OTHER = "https://index.test/simple", "https://other.test/simple"


def test_options_as_pip_and_uv_spell_them_mean_the_parameters() -> None:
    for text in (f"--pre -i {URL} --extra-index-url {OTHER}", f"--default-index={URL} --index '{OTHER}' --pre"):
        given = PipPackages.of(("a",), extra_args=text)
        assert given == PipPackages(packages=("a",), index_url=URL, extra_index_urls=(OTHER,), pre=True)
    both = PipPackages.of(("a",), extra_index_urls=URL, extra_args=f"--extra-index-url {OTHER}")
    assert both.extra_index_urls == (URL, OTHER)


def test_packages_to_be_built_from_source_are_names() -> None:
    given = PipPackages.of(("a",), extra_args="--no-binary Zope.Interface,a --no-binary=b")
    assert given.python_requirements().no_binary == ("a", "b", "zope-interface")
    assert PipPackages.of(("a",), extra_args="--no-binary :all:").no_binary == (":all:",)
    assert encode(given) != encode(PipPackages(packages=("a",)))


@pytest.mark.parametrize(
    ("text", "told", "hint"),
    [
        ("--no-deps", "the option `--no-deps` is not supported", "--no-binary NAME"),
        ("--trusted-host index.test", "the option `--trusted-host` is not supported", "uv's and pip's own settings"),
        ("pandas", "the option `pandas` is not supported", None),
        ("--no-binary", "the option `--no-binary` has no value", None),
        ("--no-binary --pre", "the option `--no-binary` has no value", None),
        ("--no-binary 'a b'", "`a b` is not the name of a package", ":all:"),
        ("--pre '", "cannot be read", None),
        (["--pre"], "extra_args takes a string, not list", '"--pre"'),
        (f"-i {OTHER}", f"two indexes: index_url is `{URL}`, and `{OTHER}` is in extra_args", None),
        ("-i https://robot:s3cret@index.test", "holds credentials", "netrc"),
    ],
)
def test_unsupported_options_are_refused(text: object, told: str, hint: str | None) -> None:
    index_url = URL if isinstance(text, str) and text.endswith(OTHER) else None
    with pytest.raises(LayerError) as caught:
        PipPackages.of(("a",), index_url=index_url, extra_args=text)  # type: ignore[arg-type]
    assert told in str(caught.value) and "s3cret" not in str(caught.value)
    assert hint is None or hint in (caught.value.hint or "")


def test_the_resolver_gets_the_packages_and_indexes() -> None:
    layer = PipPackages(packages=("B", "a"), index_url="https://index.test/simple", pre=True)
    asked = layer.python_requirements()
    assert asked.requirements == ("a", "b")
    assert (asked.index_url, asked.extra_index_urls, asked.prereleases) == ("https://index.test/simple", (), True)


def test_pip_packages_lower_to_one_step_with_the_resolved_wheels() -> None:
    wheels = (values.wheel("a"), values.wheel("b"))
    assert PipPackages(packages=("a",)).lower(Resolved(wheels=wheels)) == (InstallWheels(wheels=wheels),)
