"""Everything that a Runner keeps between calls: environment variables, engines, caches, warm containers.

Nothing outside this object remembers a call. Each part is made when the first call needs it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from .make_once import MakeOnce

if TYPE_CHECKING:
    from flyte_images_runtime.execution.pool import Pool

    from .built_images import BuiltImages
    from .code_bundle import CodeBundles
    from .engines import Engines
    from .spec_cache import SpecCache


class RunnerState:
    """The state of one Runner and of all Runners that `using` makes from it."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self._once = MakeOnce()

    @property
    def bundles(self) -> CodeBundles:
        """The copies of source trees that this process has made or uses."""
        from .code_bundle import CodeBundles

        return self._once("bundles", lambda: CodeBundles(self.environ))

    @property
    def engines(self) -> Engines:
        """The engines that tasks run on."""
        from .engines import Engines

        return self._once("engines", lambda: Engines(self.environ, self.bundles))

    @property
    def images(self) -> BuiltImages:
        """The references of the images that are built."""
        from .built_images import BuiltImages

        return self._once("images", lambda: BuiltImages(self.engines))

    @property
    def specs(self) -> SpecCache:
        """The specifications of the last second."""
        from .spec_cache import SpecCache

        return self._once("specs", SpecCache)

    @property
    def warm_containers(self) -> Pool:
        """The warm containers."""
        from flyte_images_runtime.execution.pool import Pool

        return self._once("warm containers", Pool)

    @property
    def default_slots(self) -> int:
        """How many nested calls work at once by default. The system call takes 50 microseconds, so it is made once."""
        from .nested_slots import machine_slots

        return self._once("default slots", machine_slots)

    def close(self) -> None:
        """Remove the warm containers that wait for a call. Another call starts new ones."""
        pool: Pool | None = self._once.find("warm containers")
        if pool is not None:
            pool.close()
