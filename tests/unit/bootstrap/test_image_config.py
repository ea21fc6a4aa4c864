"""What a registry sends as the configuration of an image is one, or is refused."""

from __future__ import annotations

import pytest

from flyte_images.bootstrap.image_config import check_config
from flyte_images.errors import ResolveError


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"<html>", b"\xff", b"[]", b"7", b'"x"', b"null", b"[" * 100_000, b" " * (5 << 20)),
        *(b'{"config": [1]}', b'{"config": 7}', b'{"config": {"Env": "A=1"}}', b'{"config": {"Env": [1]}}'),
        *(b'{"config": {"Env": ["A\\u0000=1"]}}', b'{"config": {"Labels": ["a"]}}', b'{"config": {"WorkingDir": 7}}'),
        *(b'{"config": {"Cmd": {}, "Entrypoint": "sh"}}', b'{"history": {"a": 1}}'),
    ],
)
def test_what_is_not_a_configuration_is_refused(data: bytes) -> None:
    """D18: a registry could make a build end in a fault of this package, by a configuration of another form."""
    with pytest.raises(ResolveError, match="is not that of an image") as caught:
        check_config(data, "registry.test/x")
    assert len(str(caught.value)) < 200 and caught.value.hint


@pytest.mark.parametrize(
    "data", [b"{}", b'{"config": null}', b'{"config": {"Env": null, "Cmd": ["sh"], "Labels": {}}}']
)
def test_a_configuration_is_taken_as_it_is(data: bytes) -> None:
    assert check_config(data, "x").encode() == data
