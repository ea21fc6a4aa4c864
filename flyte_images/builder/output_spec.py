"""Outputs and caches of a build: buildx's command-line syntax -> values. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..buildkit.caches import Cache, InlineCache, LocalCache, RegistryCache, ServiceCache
from ..buildkit.exporters import Annotation, Archive, Exporter, Files, Layout, Packing
from ..errors import SpecError

_COMPRESSIONS = ("uncompressed", "gzip", "zstd")


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputSpec:
    """The outputs and the caches of a build, for `build(image, wanted=...)`.

    The image stays in the engine, also under the full names `tags`. With `outputs` (`type=oci,dest=DIR`, ...) it is
    written to this machine instead. `cache_from` and `cache_to` are caches as buildx spells them
    (`type=registry,ref=...`).

    Raises:
        SpecError: A text is not an output or a cache, or there are both outputs and tags.

    >>> OutputSpec(outputs=("type=oci,dest=/tmp/layout",)).tags
    ()
    """

    tags: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    cache_from: tuple[str, ...] = ()
    cache_to: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.outputs and self.tags:
            raise SpecError("an output to this machine cannot have tags", hint="build once for each")
        for text in self.outputs:
            exporter(text, Packing())
        for text in (*self.cache_from, *self.cache_to):
            cache(text)


def exporter(text: str, packing: Packing) -> Exporter:
    """Return the output on this machine that `text` describes. Raises SpecError for any other text.

    `type=oci,dest=DIR` is an OCI layout directory (`,tag=NAME`); `type=oci,dest=FILE.tar` and
    `type=docker,dest=FILE.tar` are tarballs; `type=local,dest=DIR` are the files; `type=tar,dest=FILE` is a tarball of
    the files. Images may also have `compression=`, `compression-level=` and `annotation.KEY=VALUE`.

    >>> exporter("type=local,dest=/tmp/x", Packing()).type
    'local'
    """
    fields = _fields(text)
    kind, dest = fields.pop("type", ""), fields.pop("dest", "")
    if not dest:
        raise _no_output(text)
    path = Path(dest).expanduser().absolute()
    if kind in ("local", "tar"):
        if fields:
            raise _no_output(text)
        return Files(dest=path, tar=kind == "tar")
    tag = fields.pop("tag", None)
    packing = _packing(fields, packing, text)
    is_archive = kind == "docker" or dest.endswith(".tar")
    if kind == "oci" and not is_archive:
        return Layout(dest=path, tag=tag, packing=packing)
    if kind in ("oci", "docker"):
        return Archive(dest=path, format=kind, names=(tag,) if tag else (), packing=packing)  # type: ignore[arg-type]
    raise _no_output(text)


def cache(text: str) -> Cache:
    """Return the cache that `text` describes. Raises SpecError for any other text.

    A cache is `type=registry,ref=NAME`, `type=local,dest=DIR` (or `src=DIR`), `type=inline` or `type=gha|s3|azblob`,
    with `mode=min|max` and `ignore-error=true` as in buildx; a bare name is the name of a registry cache.

    >>> cache("registry.test/team/cache").type
    'registry'
    """
    fields = _fields(text) if "=" in text else {"type": "registry", "ref": text}
    kind = fields.pop("type", "")
    mode = fields.pop("mode", "max")
    if mode not in ("min", "max"):
        raise SpecError(f"`{mode}` is not a mode of a cache", hint="mode=min or mode=max")
    options: dict[str, Any] = {"mode": mode, "ignore_error": fields.pop("ignore-error", "") == "true"}
    directory = fields.pop("dest", None) or fields.pop("src", None)
    ref = fields.pop("ref", None)
    match kind:
        case "registry" if ref and not fields:
            return RegistryCache(ref=ref, **options)
        case "local" if directory and not set(fields) - {"tag"}:
            tag = fields.get("tag", "latest")
            return LocalCache(directory=Path(directory).expanduser().absolute(), tag=tag, **options)
        case "inline" if not fields:
            return InlineCache()
        case "gha" | "s3" | "azblob":
            return ServiceCache(type=kind, settings=fields, **options)
    raise SpecError(f"not a cache: `{text}`", hint="type=registry,ref=NAME or type=local,dest=DIR, mode=max")


def _packing(fields: Mapping[str, str], packing: Packing, text: str) -> Packing:
    unused = dict(fields)
    if compression := unused.pop("compression", ""):
        if compression not in _COMPRESSIONS:
            raise SpecError(f"`{compression}` is not a compression", hint=", ".join(_COMPRESSIONS))
        packing = replace(packing, compression=compression, compression_level=None, force_compression=True)  # type: ignore[arg-type]
    if level := unused.pop("compression-level", ""):
        if not level.isdigit():
            raise _no_output(text)
        packing = replace(packing, compression_level=int(level))
    keys = [key for key in unused if key.startswith("annotation.")]
    annotations = tuple(Annotation(key=key.removeprefix("annotation."), value=unused.pop(key)) for key in keys)
    if unused:
        raise _no_output(text)
    return replace(packing, annotations=(*packing.annotations, *annotations))


def _fields(text: str) -> dict[str, str]:
    fields = {}
    for part in text.split(","):
        key, equals, value = part.partition("=")
        if not equals or not key.strip():
            raise SpecError(f"`{part}` of `{text}` is not KEY=VALUE")
        fields[key.strip()] = value
    return fields


def _no_output(text: str) -> SpecError:
    return SpecError(
        f"not an output: `{text}`",
        hint="type=oci,dest=DIR; type=oci,dest=FILE.tar; type=docker,dest=FILE.tar; type=local,dest=DIR; "
        "type=tar,dest=FILE",
    )
