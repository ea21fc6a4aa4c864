"""The name of an image that was built."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from flyte_images.builder import reference
from flyte_images.image import Image
from flyte_images.plan.model import Plan
from flyte_images_runtime.system.image_ref import ImageRef

PLAN = cast("Plan", SimpleNamespace(digest="sha256:" + "0123456789" * 6 + "abcd"))


@pytest.mark.parametrize(
    ("name", "registry", "full", "short"),
    [
        (None, None, "docker.io/library/flyte-images", "flyte-images"),
        ("app", None, "docker.io/library/app", "app"),
        ("team/app", None, "docker.io/team/app", "team/app"),
        ("team/app", "r.test:5000/x", "r.test:5000/x/team/app", "r.test:5000/x/team/app"),
        ("a.b/app", None, "docker.io/a.b/app", "docker.io/a.b/app"),
    ],
)
def test_the_name_is_full_and_docker_lists_its_short_form(
    name: str | None, registry: str | None, full: str, short: str
) -> None:
    """A name with a slash is `docker.io/team/app`, under which Docker finds the image again."""
    image = Image.from_debian_base(name=name, registry=registry)
    tag = "01234567890123456789"
    assert reference(image, PLAN) == f"{full}:{tag}"
    assert ImageRef.parse(reference(image, PLAN)).familiar == f"{short}:{tag}"
