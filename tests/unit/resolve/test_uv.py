"""Requirements to exact wheels: real uv, a made-up index, the settings of the user, and readable refusals."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

import pytest

from flyte_images.errors import ResolveError
from flyte_images.resolve import uv
from flyte_images.resolve.uv import Resolution, Target
from flyte_images_layers import PythonRequirements
from tests.fakes.package_index import Index, serve

TARGET = Target(python="3.11", platform="linux/amd64", libc="2.36")


def asked(*requirements: str, **options: Any) -> PythonRequirements:
    return PythonRequirements(requirements=requirements, **options)


def ask(environ: Mapping[str, str], *requirements: str, target: Target = TARGET, **options: Any) -> Resolution:
    return uv.ask([asked(*requirements)], target, environ=environ, **options)


def versions(answer: Resolution) -> dict[str, str]:
    return {wheel.name: wheel.version for wheel in answer.wheels}


def test_a_package_and_what_it_needs_are_exact_files(environ: dict[str, str], shelf: Index) -> None:
    alpha, beta = ask(environ, "alpha").wheels
    content = shelf.files["alpha"]["alpha-1.1-py3-none-any.whl"]
    assert (alpha.name, alpha.version, alpha.filename) == ("alpha", "1.1", "alpha-1.1-py3-none-any.whl")
    assert alpha.sha256 == hashlib.sha256(content).hexdigest()
    assert alpha.size == len(content)
    assert alpha.url == f"http://{shelf.address}/files/alpha-1.1-py3-none-any.whl"
    assert (beta.name, beta.version) == ("beta", "1.5")


@pytest.mark.parametrize(
    ("target", "filename"),
    [
        (TARGET, "native-1.0-cp311-cp311-manylinux_2_28_x86_64.whl"),
        (dataclasses.replace(TARGET, platform="linux/arm64"), "native-1.0-cp311-cp311-manylinux_2_28_aarch64.whl"),
        (dataclasses.replace(TARGET, python="3.12"), "native-1.0-cp312-cp312-manylinux_2_28_x86_64.whl"),
        (dataclasses.replace(TARGET, libc=""), "native-1.0-cp311-cp311-manylinux_2_28_x86_64.whl"),
    ],
)
def test_wheels_fit_the_image_and_not_this_machine(environ: dict[str, str], target: Target, filename: str) -> None:
    assert [wheel.filename for wheel in ask(environ, "native", target=target).wheels] == [filename]


def test_of_several_suitable_wheels_the_most_specific_is_chosen(environ: dict[str, str]) -> None:
    """As in pip: this Python before abi3, a newer C library before an older one, a platform before `any`."""
    tags = [
        *("py3-none-any", "cp311-abi3-manylinux2014_x86_64.manylinux_2_17_x86_64", "cp311-abi3-manylinux_2_34_x86_64"),
        *("cp38-abi3-manylinux_2_34_x86_64", "cp311-abi3-manylinux_2_39_x86_64", "cp311-cp311-manylinux1_x86_64"),
    ]
    with serve(Index()) as index:
        for tag in tags:
            index.add("many", "1.0", tag=tag)
            if "cp311-cp311" not in tag:
                index.add("abi", "1.0", tag=tag)
        found = ask({**environ, "UV_DEFAULT_INDEX": index.url}, "many", "abi").wheels
    assert [it.filename.removeprefix(f"{it.name}-1.0-") for it in found] == [
        "cp311-abi3-manylinux_2_34_x86_64.whl",
        "cp311-cp311-manylinux1_x86_64.whl",
    ]


@pytest.mark.parametrize(("libc", "version"), [("2.36", "1.0"), ("2.38", "2.0"), ("2.41", "2.0"), ("2.30", "1.0")])
def test_the_c_library_of_the_image_decides(environ: dict[str, str], libc: str, version: str) -> None:
    assert versions(ask(environ, "newest", target=dataclasses.replace(TARGET, libc=libc))) == {"newest": version}


def test_markers_are_those_of_the_image(environ: dict[str, str]) -> None:
    assert set(versions(ask(environ, "marked"))) == {"marked", "beta"}
    assert set(versions(ask(environ, "marked", target=dataclasses.replace(TARGET, python="3.12")))) == {"marked"}


def test_pre_releases_are_used_when_they_are_requested(environ: dict[str, str]) -> None:
    assert versions(ask(environ, "alpha"))["alpha"] == "1.1"
    answer = uv.ask([asked("alpha", prereleases=True)], TARGET, environ=environ)
    assert versions(answer)["alpha"] == "2.0rc1"


def test_an_earlier_answer_is_preferred_until_it_is_upgraded(environ: dict[str, str]) -> None:
    old = ask(environ, "alpha<1.1").text
    assert versions(ask(environ, "alpha", preferred=old))["alpha"] == "1.0"
    assert versions(ask(environ, "alpha", preferred=old, upgrade=True))["alpha"] == "1.1"
    assert versions(ask(environ, "alpha>1", preferred=old))["alpha"] == "1.1"


def test_a_damaged_earlier_answer_is_an_error_with_a_message(environ: dict[str, str]) -> None:
    try:
        assert versions(ask(environ, "alpha", preferred="not toml ["))["alpha"] == "1.1"
    except ResolveError as error:
        assert "alpha" in str(error)


def test_constraints_are_met(environ: dict[str, str]) -> None:
    assert versions(ask(environ, "alpha", constraints=["beta==1.0", "alpha==1.0"])) == {"alpha": "1.0", "beta": "1.0"}


def test_a_wheel_may_be_named_by_its_address(environ: dict[str, str], shelf: Index) -> None:
    address = f"http://{shelf.address}/files/beta-1.0-py3-none-any.whl"
    (wheel,) = ask(environ, f"beta @ {address}").wheels
    assert (wheel.name, wheel.version, wheel.url) == ("beta", "1.0", address)
    assert wheel.sha256 == hashlib.sha256(shelf.files["beta"]["beta-1.0-py3-none-any.whl"]).hexdigest()


# --- settings


def test_settings_of_pip_hold_where_uv_has_none(environ: dict[str, str], shelf: Index) -> None:
    without = {name: value for name, value in environ.items() if name != "UV_DEFAULT_INDEX"}
    assert versions(ask({**without, "PIP_INDEX_URL": shelf.url}, "beta")) == {"beta": "1.5"}
    dead = "http://127.0.0.1:1/simple"
    assert versions(ask({**environ, "PIP_INDEX_URL": dead}, "beta")) == {"beta": "1.5"}
    with serve(Index()) as extra:
        extra.add("delta", "3.0")
        assert versions(ask({**environ, "PIP_EXTRA_INDEX_URL": extra.url}, "delta", "beta")) == {
            "beta": "1.5",
            "delta": "3.0",
        }


def test_the_layers_own_index_is_the_only_one(environ: dict[str, str]) -> None:
    with serve(Index()) as own:
        own.add("beta", "9.0")
        answer = uv.ask([asked("beta", index_url=own.url)], TARGET, environ=environ)
        assert versions(answer) == {"beta": "9.0"}
        with pytest.raises(ResolveError):
            uv.ask([asked("alpha", index_url=own.url)], TARGET, environ=environ)


def test_extra_indexes_are_asked_first(environ: dict[str, str]) -> None:
    with serve(Index()) as extra:
        extra.add("beta", "1.2")
        answer = uv.ask([asked("alpha", extra_index_urls=(extra.url,))], TARGET, environ=environ)
        assert versions(answer) == {"alpha": "1.1", "beta": "1.2"}


def test_two_layers_with_two_indexes_are_refused(environ: dict[str, str]) -> None:
    two = [asked("a", index_url="https://one.test/simple"), asked("b", index_url="https://two.test/simple")]
    with pytest.raises(ResolveError) as caught:
        uv.ask(two, TARGET, environ=environ)
    assert "https://one.test/simple and https://two.test/simple" in str(caught.value)
    assert "extra_index_urls" in (caught.value.hint or "")


def test_the_users_virtual_environment_does_not_matter(environ: dict[str, str]) -> None:
    odd = {**environ, "VIRTUAL_ENV": "/nowhere", "UV_PYTHON": "2.7"}
    assert ask(odd, "alpha") == ask(environ, "alpha")


def test_an_unsupported_architecture_is_refused(environ: dict[str, str]) -> None:
    with pytest.raises(ResolveError, match="Python packages for `linux/riscv64` are not supported") as caught:
        ask(environ, "alpha", target=dataclasses.replace(TARGET, platform="linux/riscv64"))
    assert caught.value.hint == "supported: linux/amd64, linux/arm64"


# --- a login


def test_a_login_is_used_and_never_stored(environ: dict[str, str]) -> None:
    with serve(Index(login=("robot", "s3cret"))) as guarded:
        guarded.add("beta", "1.5")
        answer = ask({**environ, "UV_DEFAULT_INDEX": guarded.url_with_login}, "beta")
        assert versions(answer) == {"beta": "1.5"}
        for text in (answer.text, repr(answer), *(wheel.url for wheel in answer.wheels)):
            assert "s3cret" not in text and "robot" not in text
        with pytest.raises(ResolveError) as caught:
            ask({**environ, "UV_DEFAULT_INDEX": guarded.url_with_login}, "nothing")
        assert "s3cret" not in f"{caught.value}{caught.value.hint}"
        with pytest.raises(ResolveError) as caught:
            ask({**environ, "UV_DEFAULT_INDEX": guarded.url}, "beta")
        assert "401" in str(caught.value)
        assert "netrc" in (caught.value.hint or "")


# --- refusals


@pytest.mark.parametrize(
    ("requirements", "message", "hint"),
    [
        (("nothing",), "nothing was not found in the package registry", "check the spelling of the name"),
        (("alpha==9",), "there is no version of alpha==9", "loosen one of the requirements"),
        (("alpha", "gamma"), "gamma depend on beta<1 and all versions of alpha depend on beta>=1", "loosen one"),
        (("alpha>1", "alpha<1"), "unsatisfiable", "loosen one of the requirements"),
        (("windows",), "win_amd64", "name a version that has a wheel"),
        (("broken",), "nowhere-to-be-found was not found", "check the spelling of the name"),
        (("beta==1.403",), "there is no version of beta==1.403", "loosen one of the requirements"),
        (("sick",), "500", "does the index answer?"),
    ],
)
def test_refusals_have_uvs_message_and_a_remedy(
    environ: dict[str, str], requirements: tuple[str, ...], message: str, hint: str
) -> None:
    with pytest.raises(ResolveError) as caught:
        ask(environ, *requirements)
    first, *others = str(caught.value).splitlines()
    assert first == f"cannot resolve {', '.join(requirements)} for Python 3.11 on linux/amd64:"
    assert message in " ".join(others)
    assert hint in (caught.value.hint or "")
    assert not [line for line in others if line != line.strip() or not line.isascii()]


def test_an_index_that_does_not_answer_is_an_error(environ: dict[str, str]) -> None:
    with pytest.raises(ResolveError) as caught:
        ask({**environ, "UV_DEFAULT_INDEX": "http://robot:s3cret@127.0.0.1:1/simple"}, "alpha")
    assert "127.0.0.1:1" in str(caught.value) and "s3cret" not in str(caught.value)
    assert "does the index answer?" in (caught.value.hint or "")


def test_without_uv_the_remedy_is_to_install_it(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    def gone() -> str:
        raise FileNotFoundError("/usr/bin/uv")

    monkeypatch.setattr("uv.find_uv_bin", gone)
    with pytest.raises(ResolveError, match="uv is not installed") as caught:
        ask(environ, "alpha")
    assert caught.value.hint == "pip install uv"


def test_a_file_has_one_of_the_hashes_that_are_listed(environ: dict[str, str], shelf: Index) -> None:
    """Although another file fits better. The list of one layer does not apply to another layer."""
    with serve(Index()) as index:
        index.add("many", "1.0", tag="py3-none-any")
        index.add("many", "1.0", tag="cp311-cp311-manylinux1_x86_64", files={"other.py": ""})
        index.add_source(
            "many", "1.0", {"pyproject.toml": "", "PKG-INFO": "Metadata-Version: 2.2\nName: many\nVersion: 1.0\n"}
        )
        here = {**environ, "UV_DEFAULT_INDEX": index.url}
        hashes = {name: hashlib.sha256(content).hexdigest() for name, content in index.files["many"].items()}
        for filename, sha256 in hashes.items():
            answer = uv.ask([asked("many", hashes=(("many", (sha256, "0" * 64)),))], TARGET, environ=here)
            assert [it.filename for it in answer.files] == [filename]
            assert sha256 in answer.offered and set(answer.offered) <= set(hashes.values())
        several = [
            asked("many", hashes=(("many", (*hashes.values(),)),)),
            asked("many", hashes=(("many", ("0" * 64,)),)),
        ]
        with pytest.raises(ResolveError, match=r"no suitable file of many 1.0 has one of the listed hashes") as caught:
            uv.ask(several, TARGET, environ=here)
        assert "another index" in (caught.value.hint or "")


def test_constraints_of_a_layer_apply_to_needed_packages_only(environ: dict[str, str]) -> None:
    answer = uv.ask([asked("alpha", constraints=("beta<1.5", "gamma==1.0"))], TARGET, environ=environ)
    assert versions(answer) == {"alpha": "1.1", "beta": "1.0"}


def test_hashes_let_each_index_offer_its_own(environ: dict[str, str], shelf: Index) -> None:
    """Without hashes only the first index that has a package is asked for it."""
    with serve(Index()) as index:
        index.add("beta", "0.1")
        content = shelf.files["beta"]["beta-1.5-py3-none-any.whl"]
        pinned = (("beta", (hashlib.sha256(content).hexdigest(),)),)
        answer = uv.ask([asked("beta==1.5", hashes=pinned, extra_index_urls=(index.url,))], TARGET, environ=environ)
        assert versions(answer) == {"beta": "1.5"}
        with pytest.raises(ResolveError):
            uv.ask([asked("beta==1.5", extra_index_urls=(index.url,))], TARGET, environ=environ)
