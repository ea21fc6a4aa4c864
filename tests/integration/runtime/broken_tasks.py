"""A module that an image without its package cannot import."""

from __future__ import annotations

import flyte_images as flyte

env = flyte.TaskEnvironment(name="broken", network="none", reusable=True)

if __file__.startswith("/run/flyte-images/"):
    import nowhere  # type: ignore[import-not-found]  # noqa: F401


@env.task
def task() -> None: ...
