"""A package file has a name that is safe wherever the file is written; a value with another name cannot be made."""

from __future__ import annotations

import pytest

from flyte_images_layers import LayerError
from flyte_images_layers.steps import Deb, Sdist, Wheel

HOSTILE = [
    *("", ".", "..", "../a.whl", "/etc/passwd", "a/b.whl", "..\\a.whl", "-rf.whl", ".hidden", "a\0b.whl", "a\nb.whl"),
    *("a b.whl", "a\x1b[31m.whl", "\u202ea.whl", "\uff41.whl", "a" * 241, "a.whl\n", "$(id).whl", "a;b", "~root"),
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_name_is_refused(name: str) -> None:
    """D1: the name of a package file is checked."""
    fields = {"name": "a", "version": "1", "filename": name, "sha256": "0" * 64, "size": 1}
    for make in (
        lambda: Wheel(**fields),
        lambda: Sdist(**fields, build=()),
        lambda: Deb(**fields, architecture="amd64"),
    ):
        with pytest.raises(LayerError, match="is not the name of a package file"):
            make()


@pytest.mark.parametrize(
    "name",
    [
        "torch-2.3.0+cu121-cp311-cp311-linux_x86_64.whl",
        "a-1!2.0-py3-none-any.whl",
        "git_1%3a2.39.2-1.1_amd64.deb",
        "libfoo_1.0~rc1+dfsg-1_all.deb",
        "a" * 240,
    ],
)
def test_usual_file_names_are_accepted(name: str) -> None:
    assert Wheel(name="a", version="1", filename=name, sha256="0" * 64, size=1).filename == name
