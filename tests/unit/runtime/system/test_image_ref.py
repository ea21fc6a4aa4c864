"""Names of images and blobs: the parts of a name, and the forms that are written from the parts."""

from __future__ import annotations

import pytest

from flyte_images_runtime.system.image_ref import Digest, ImageRef

SUM = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("text", "parts", "familiar"),
    [
        ("python", ("docker.io", "library/python", "", ""), "python"),
        ("python:3.12", ("docker.io", "library/python", "3.12", ""), "python:3.12"),
        ("docker.io/python", ("docker.io", "library/python", "", ""), "python"),
        ("index.docker.io/team/app:1", ("docker.io", "team/app", "1", ""), "team/app:1"),
        ("team/app", ("docker.io", "team/app", "", ""), "team/app"),
        ("docker.io/library/team/app", ("docker.io", "library/team/app", "", ""), "library/team/app"),
        (f"localhost/x@{SUM}", ("localhost", "x", "", SUM), f"localhost/x@{SUM}"),
        ("127.0.0.1:5000/team/app:1", ("127.0.0.1:5000", "team/app", "1", ""), "127.0.0.1:5000/team/app:1"),
        (f"r.test/a:1@{SUM}", ("r.test", "a", "1", SUM), f"r.test/a:1@{SUM}"),
        ("docker.io/localhost/app", ("docker.io", "localhost/app", "", ""), "docker.io/localhost/app"),
    ],
)
def test_the_parts_of_a_name_and_its_short_form(text: str, parts: tuple[str, ...], familiar: str) -> None:
    ref = ImageRef.parse(text)
    assert ref == parts
    assert ImageRef.parse(str(ref)) == ImageRef.parse(ref.familiar) == ref
    assert ref.familiar == familiar


def test_a_digest_has_64_hexadecimal_digits() -> None:
    assert str(Digest.parse(SUM)) == SUM
    assert Digest.parse(SUM).hex == "ab" * 32
    for text in ("sha256:00ff", SUM.upper(), f"{SUM}0", "ab" * 32, ""):
        with pytest.raises(ValueError, match="not a sha256 digest"):
            Digest.parse(text)
