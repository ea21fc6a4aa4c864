"""with_commands: the secrets and limits of commands."""

from __future__ import annotations

import re
from typing import Any

import pytest

from flyte_images.errors import SpecError
from flyte_images.image import Image
from flyte_images.options import Secret
from flyte_images_runtime.resources.request import Resources


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"secret_mounts": [3]}, "secret_mounts: 3 is not a Secret"),
        ({"secret_mounts": "a b"}, "'a b' is not a secret's key"),
        ({"limits": "1Gi"}, "limits='1Gi' is not Resources"),
        ({"limits": Resources(cpu=1, gpu=1)}, "a build step has no limit of cpu, gpu"),
        ({"timeout": "1h"}, "timeout='1h' is not a time"),
    ],
)
def test_wrong_options_of_commands_are_refused(words: dict[str, Any], told: str) -> None:
    with pytest.raises(SpecError, match=re.escape(told)):
        Image.from_debian_base("3.11").with_commands(["make"], **words)


def test_a_digest_covers_the_name_of_a_secret_and_no_limit() -> None:
    """D20, D22"""
    base = Image.from_debian_base("3.11", platform="linux/amd64")
    plain = base.with_commands(["make"])
    asks = [base.with_commands(["make"], secret_mounts=it) for it in ("a", "b", Secret("a", mount="/a"), ["a"])]
    assert len({plain.digest, *(it.digest for it in asks)}) == 4
    assert base.with_commands(["make"], limits=Resources(mem="1Gi"), timeout=9).digest == plain.digest
