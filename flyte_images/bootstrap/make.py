"""Debian suite -> BootstrappedBase: package lists, files, layer, image in the layout, record in the catalog."""

from __future__ import annotations

import functools
import tarfile
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from flyte_images_layers import DebianBase
from flyte_images_runtime.system.platform import Platform

from ..errors import EngineError, SpecError
from ..store.blobs import using_layout
from ..store.cache_dir import cache_dir, layout_dir
from ..store.oci_layout import LAYER_GZIP, Layer, Layout
from .archive import Archive, fetch_archive, require_tools
from .base_record import record_base
from .catalog import SUITES, BootstrappedBase, newest, save
from .debian import make_tree
from .layer import pack_layer
from .scratch_dir import ScratchDir, exclusive, open_scratch_dir

_ARCHITECTURES = ("amd64", "arm64", "ppc64le", "s390x", "riscv64")  # those of Debian's archive

Note = Callable[[str], None]


def bootstrap(suite: str, *, environ: Mapping[str, str], note: Note, rebuild: bool = True) -> BootstrappedBase:
    """Make the base of `suite` from the current archive; later builds use it.

    The same packages give the same image, byte for byte. Making one takes about 25 s, and 600 MB in TMPDIR meanwhile.
    When several processes call this function at once, one makes the base and the others take the result. With
    `rebuild=False` an existing base is returned. `note` receives lines of progress. Raise SpecError for an unknown
    suite, EngineError without the programs and rights, ResolveError if the archive is unusable.
    """
    if suite not in SUITES:
        raise SpecError(f"unknown suite `{suite}`", hint=f"known suites: {', '.join(SUITES)}")
    require_tools(environ)
    python, architecture = SUITES[suite], this_architecture()
    started = _now()
    lock = cache_dir(environ) / "bases" / f".{suite}.lock"
    waiting = functools.partial(note, f"base: debian {suite}: another process is making it")
    with using_layout(cache_dir(environ)), exclusive(lock, waiting=waiting) as waited:
        base = newest(environ, python=python, architecture=architecture)
        if base is None or (rebuild and not (waited and base.made >= started)):
            with open_scratch_dir(environ) as scratch:
                base = _make(suite, scratch, architecture=architecture, environ=environ, note=note)
        wanted = DebianBase(python=python)
        record_base(wanted, f"linux/{architecture}", base.base_image(environ=environ), environ=environ)
    return base


def _make(
    suite: str, scratch: ScratchDir, *, architecture: str, environ: Mapping[str, str], note: Note
) -> BootstrappedBase:
    note(f"base: debian {suite}: fetching the package lists")
    archive = fetch_archive(suite, scratch.directory / "archive", environ=environ)
    note(f"base: debian {suite}: installing packages (archive of {max(release.date for release in archive.releases)})")
    return from_archive(archive, scratch, architecture=architecture, environ=environ)


def from_archive(
    archive: Archive, scratch: ScratchDir, *, architecture: str, environ: Mapping[str, str]
) -> BootstrappedBase:
    """Make a base from a state of the archive, and record it in the catalog."""
    tree, layer = scratch.directory / "tree.tar", scratch.directory / "layer.tar.gz"
    make_tree(archive, tree, lock_fd=scratch.lock_fd)
    packed = pack_layer(tree, layer, before=archive.epoch)
    created = datetime.fromtimestamp(packed.newest, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    config = {
        "architecture": architecture,
        "os": "linux",
        "created": created,
        "config": {
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"],
            "Cmd": ["python3"],
            "Labels": {
                "org.opencontainers.image.title": f"debian {archive.suite} with python {SUITES[archive.suite]}",
                "org.opencontainers.image.version": f"{archive.suite}-{created[:10].replace('-', '')}",
            },
        },
        "history": [{"created": created, "created_by": f"mmdebstrap {archive.suite}", "comment": "flyte-images base"}],
    }
    layout = Layout(layout_dir(environ))
    packages = archive.packages(installed(tree))
    manifest = layout.put_image([Layer(layout.put_file(layer, LAYER_GZIP), packed.diff_id)], config)
    base = BootstrappedBase(
        suite=archive.suite,
        python=SUITES[archive.suite],
        architecture=architecture,
        manifest=manifest,
        config=layout.manifest(manifest.digest)["config"]["digest"],
        size=layer.stat().st_size,
        created=created,
        made=_now(),
        releases=archive.releases,
        packages=packages,
    )
    save(base, environ=environ)
    return base


def this_architecture() -> str:
    """Return the architecture of this machine as OCI names it. Raise EngineError if Debian does not support it."""
    architecture = Platform.of_this_machine().architecture
    if architecture not in _ARCHITECTURES:
        raise EngineError(f"no base can be made for this machine's architecture, `{architecture}`")
    return architecture


def installed(tree: Path) -> Iterator[tuple[str, str, str]]:
    """Yield (name, version, architecture) of each package that dpkg has recorded in `tree`, a tar file."""
    with tarfile.open(tree, "r:") as files:
        status = files.extractfile("./var/lib/dpkg/status")
        text = status.read().decode() if status else ""
    for stanza in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in stanza.splitlines() if not line.startswith(" ") and ": " in line)
        if fields.get("Status") == "install ok installed":
            yield fields["Package"], fields["Version"], fields["Architecture"]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
