"""resolve(image) -> Lock: package names become exact files, by the package index and, for apt packages, the engine.

The results are in the user's cache directory: the same request gives the same files, without asking, until an upgrade.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from flyte_images_layers import Layer, PythonRequirements, digest
from flyte_images_layers.steps import Deb, Sdist, Wheel

from .._validate import at
from ..bootstrap.base_image import BaseImage
from ..buildkit.build_context import BuildContext
from ..image import Image
from ..plan.lock import (
    LayerLock,
    Lock,
    Overlap,
    debs_from_json,
    files_to_json,
    overlaps_from_json,
    request,
    sdists_from_json,
    wheels_from_json,
)
from ..plan.model import Debs, Plan, below
from ..plan.planner import plan
from ..serving.index_logins import indexes_of
from ..store import json_cache
from . import addresses

if TYPE_CHECKING:
    from . import uv
    from .sdist_metadata import MetadataProvider
    from .sdists import SourceDist

__all__ = ["resolve"]

_VERSION = 2
_NAMED = 3  # paths of an overlap that the lock names; the others are counted
_PLACEHOLDER = Deb(name="", version="", architecture="", filename="placeholder", sha256="", size=0)


def resolve(
    image: Image,
    context: BuildContext,
    *,
    platform: str,
    base: BaseImage,
    toolchain: BaseImage | None,
    contents: Sequence[Sequence[str]],
) -> Lock:
    """Return the exact files of every layer of `image`; `contents` are the digests of its local sources.

    `context.warm` is called when an index has to be asked, because a solve will follow. Raise ResolveError, with the
    user's line, for a package that does not exist, versions that conflict, or an index that does not answer.
    """
    asking = _Resolver(image, platform, base, toolchain, context)
    python, overlaps = asking.python()
    found = [python.get(index, LayerLock()) for index in range(len(image.layers))]
    asked = request(image, platform=platform)
    for index, layer in enumerate(image.layers):
        if layer.apt_packages():
            # apt runs on the file system below the packages, which the plan so far describes.
            sofar = [*found[:index], replace(found[index], debs=(_PLACEHOLDER,)), *found[index + 1 :]]
            lock = Lock(request=asked, base=base, toolchain=toolchain, layers=tuple(sofar), overlaps=overlaps)
            part = replace(image, layers=image.layers[: index + 1])
            made = plan(part, lock=lock, platform=platform, contents=contents)
            found[index] = replace(found[index], debs=asking.debs(layer, made))
    return Lock(request=asked, base=base, toolchain=toolchain, layers=tuple(found), overlaps=overlaps)


class _Resolver:
    """Takes results from the cache, or asks and records the answers."""

    def __init__(
        self,
        image: Image,
        platform: str,
        base: BaseImage,
        toolchain: BaseImage | None,
        context: BuildContext,
    ) -> None:
        self.image, self.platform, self.base, self.context = image, platform, base, context
        self.toolchain = toolchain or base
        self.environ, self.note = context.environ, context.note

    def python(self) -> tuple[dict[int, LayerLock], tuple[Overlap, ...]]:
        """Return the Python packages of each layer, by its index, and the packages that hold the same files.

        All layers are resolved together; a package belongs to the first layer that needs it.
        """
        asking = [(index, it) for index, layer in enumerate(self.image.layers) if (it := layer.python_requirements())]
        if not asking:
            return {}, ()
        key = digest("wheels", (_VERSION, self.image.python, self.platform, self.base.libc, [it for _, it in asking]))
        known = None if self.context.upgrade else self._known(key, len(asking))
        if known is None:
            self.context.warm()
            from .uv import shown

            self.note(f"resolving {shown([it for _, it in asking])}")
            with at(self.image.layers[asking[-1][0]].location):
                known = self._ask([it for _, it in asking])
            found, overlaps = known
            json_cache.write(
                self.environ,
                "wheels",
                key,
                {
                    "layers": [_python_to_json(entry) for entry in found],
                    "overlaps": [asdict(overlap) for overlap in overlaps],
                },
            )
            for entry in found:
                addresses.remember(entry.wheels, self.environ)
                addresses.remember(entry.sdists, self.environ)
                for sdist in entry.sdists:
                    addresses.remember(sdist.build, self.environ)
        found, overlaps = known
        return {index: entry for (index, _), entry in zip(asking, found, strict=True)}, overlaps

    def _known(self, key: str, count: int) -> tuple[list[LayerLock], tuple[Overlap, ...]] | None:
        raw = json_cache.read(self.environ, "wheels", key)
        try:
            known = [
                LayerLock(wheels=wheels_from_json(entry["wheels"]), sdists=sdists_from_json(entry["sdists"]))
                for entry in raw["layers"]
            ]
            overlaps = overlaps_from_json(raw["overlaps"])
        except (TypeError, KeyError, ValueError):
            return None  # no entry, or a damaged one
        return (known, overlaps) if len(known) == count else None

    def _ask(self, asked: Sequence[PythonRequirements]) -> tuple[list[LayerLock], tuple[Overlap, ...]]:
        from . import uv

        target = uv.Target(python=self.image.python, platform=self.platform, libc=self.base.libc)
        memory = digest("preferred", (self.image.name, self.image.python, self.platform, self.base.libc))
        preferred = json_cache.read(self.environ, "preferred", memory)
        described = self._described(asked, target)
        answer = uv.ask(
            asked,
            target,
            environ=self.environ,
            preferred=preferred if isinstance(preferred, str) else "",
            upgrade=self.context.upgrade,
            described=described,
        )
        json_cache.write(self.environ, "preferred", memory, answer.text)
        sdists = {source.name: self._sdist(source, asked, target, described) for source in answer.sources}
        pins = [f"{name}=={version}" for name, version in answer.versions.items()]
        found: list[LayerLock] = []
        assigned: set[str] = set()
        for number in range(1, len(asked) + 1):
            last = number == len(asked)
            part = (
                answer
                if last
                else uv.ask(asked[:number], target, environ=self.environ, constraints=pins, described=described)
            )
            new = set(part.versions) - assigned
            wheels = tuple(wheel for wheel in part.wheels if wheel.name in new)
            found.append(LayerLock(wheels=wheels, sdists=tuple(sdists[name] for name in sorted(new & set(sdists)))))
            assigned |= new
        return found, self._overlaps(asked, answer, target, described)

    def _overlaps(
        self, asked: Sequence[PythonRequirements], answer: uv.Resolution, target: uv.Target, described: MetadataProvider
    ) -> tuple[Overlap, ...]:
        from . import uv, wheel_contents

        shared, unknown = wheel_contents.shared(answer.wheels, self.environ, indexes_of(asked))
        if unknown:
            self.note(
                f"cannot check {', '.join(unknown)} for files that other packages hold too: their contents are unknown"
            )
        if not shared:
            return ()
        needs = uv.needs(asked, target, answer.versions, environ=self.environ, described=described)
        order = wheel_contents.pip_order(needs)
        places = {name: place for place, name in enumerate(order)}
        overlaps = []
        for group in shared:
            packages = tuple(sorted(group.packages, key=lambda name: places.get(name, len(places))))
            overlaps.append(
                Overlap(
                    packages=packages,
                    paths=tuple(map(wheel_contents.shown, group.paths[:_NAMED])),
                    count=len(group.paths),
                )
            )
            self.note(str(overlaps[-1]))
        return tuple(overlaps)

    def _described(self, asked: Sequence[PythonRequirements], target: uv.Target) -> MetadataProvider:
        from .sdist_describe import MetadataBuilder
        from .sdist_metadata import MetadataProvider

        making = MetadataBuilder(
            image=self.image,
            toolchain=self.toolchain,
            platform=self.platform,
            context=self.context,
            needs=lambda source, more: self._build_needs(source, more, asked, target),
        )
        return MetadataProvider(making, self.environ)

    def _sdist(
        self, source: SourceDist, asked: Sequence[PythonRequirements], target: uv.Target, described: MetadataProvider
    ) -> Sdist:
        """Return a source distribution with the wheels that its build needs, from the same indexes."""
        self.note(f"{source.name} {source.version} has no wheel: the build makes one from source")
        known = described.of(source)
        build = self._build_needs(source, known.build if known else (), asked, target)
        fields = {name: getattr(source, name) for name in ("name", "version", "filename", "sha256", "size", "url")}
        return Sdist(build=build, **fields)

    def _build_needs(
        self, source: SourceDist, more: Sequence[str], asked: Sequence[PythonRequirements], target: uv.Target
    ) -> tuple[Wheel, ...]:
        """Return the wheels for a build: the requirements of its pyproject.toml, `more`, and their requirements."""
        from . import uv
        from .sdists import build_requirements

        needs = (*build_requirements(source, self.environ, indexes_of(asked)), *more, "wheel")
        like = replace(asked[0].indexes, requirements=tuple(dict.fromkeys(needs)))
        return uv.ask([like], target, environ=self.environ, sources=False).wheels

    def debs(self, layer: Layer, made: Plan) -> tuple[Deb, ...]:
        """Return the files of an apt layer, whose step is the last apt step in `made`."""
        index = max(i for i, step in enumerate(made.steps) if isinstance(step.body, Debs))
        root = below(made, index)
        packages = layer.apt_packages()
        key = digest("debs", (_VERSION, packages, self.base.digest, [step.digest for step in root.steps]))
        if not self.context.upgrade:
            try:
                return debs_from_json(json_cache.read(self.environ, "debs", key))
            except (TypeError, KeyError, ValueError):
                pass  # no entry, or a damaged one
        from ..buildkit.redact import masked
        from ..plan.lower import Lowering
        from ..serving.host_settings import redactor_of
        from ..serving.serve import check_tags, engine_features, serve_sources, session_for
        from . import apt

        self.note(f"resolving apt packages {', '.join(packages)}")
        client = self.context.connect()
        features = engine_features(client.capabilities())
        check_tags(client, root, features)
        source_map = serve_sources(self.image, root, environ=self.environ, features=features)
        state = Lowering(features=features).lower(root, source_map)
        session = session_for(source_map, environ=self.environ, plan=root)
        with at(layer.location), masked(redactor_of(root, self.environ)):
            found = apt.ask(packages, state, self.platform, client=client, session=session)
        json_cache.write(self.environ, "debs", key, files_to_json(found, addresses=True))
        addresses.remember(found, self.environ)
        return found


def _python_to_json(entry: LayerLock) -> dict[str, object]:
    return {
        "wheels": files_to_json(entry.wheels, addresses=True),
        "sdists": files_to_json(entry.sdists, addresses=True),
    }
