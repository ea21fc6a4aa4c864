"""Debian package names -> exact files, by the image's own apt, with its sources, keys and package lists.

The engine runs apt, with network, on the file system below the packages. The image contains nothing of that step.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from flyte_images_layers.steps import Deb

from .. import llb
from ..bootstrap.base_image import BaseImage
from ..buildkit.client import Client
from ..buildkit.exporters import Files
from ..buildkit.failure import StepError
from ..buildkit.session import Session
from ..errors import ResolveError
from ..plan.lower import HOST_BUNDLE, HOST_SETTINGS, PROGRAMS, STEP_ENV, program
from ..plan.sources import SourceMap, base_state
from ..serving.serve import engine_features, session_for
from ..store.leftovers import temporary_directory

_OUT = "/flyte-images/out"


def ask(
    packages: Sequence[str], root: llb.State, platform: str, *, client: Client, session: Session
) -> tuple[Deb, ...]:
    """Return the files that an installation of `packages` on `root` needs, without recommended packages, by name.

    Raise ResolveError with apt's message for an unknown package, an unavailable version, or an archive that does not
    answer.
    """
    return _run(("install", *packages), packages, root, platform, client=client, session=session)


def exact(
    debs: Sequence[Deb], base: BaseImage, platform: str, *, client: Client, environ: Mapping[str, str]
) -> tuple[Deb, ...]:
    """Return the current addresses of exactly these versions in the archives of `base`.

    Raise ResolveError if a version is gone.
    """
    features, source_map = engine_features(client.capabilities()), SourceMap()
    root = base_state(base, llb.Platform.parse(platform), features, source_map)
    names = [f"{deb.name}:{deb.architecture}={deb.version}".replace(":all=", "=") for deb in debs]
    session = session_for(source_map, environ=environ)
    return _run(("download", *names), names, root, platform, client=client, session=session)


def _run(
    words: Sequence[str], packages: Sequence[str], root: llb.State, platform: str, *, client: Client, session: Session
) -> tuple[Deb, ...]:
    where = llb.Platform.parse(platform)
    query = llb.run(
        root,
        ("/bin/sh", f"{PROGRAMS}/find_debs.sh", _OUT, *words),
        platform=where,
        env=STEP_ENV,
        network=llb.Network.UNSET,
        mounts=[HOST_BUNDLE, program("find_debs.sh"), llb.output(_OUT), llb.tmpfs("/tmp")],
        secret_env=HOST_SETTINGS,
        note=llb.Note(name=f"apt: which files are {', '.join(packages)}", ignore_cache=True),
    )
    with temporary_directory("apt") as folder:
        try:
            client.solve(
                llb.marshal(query.output(_OUT)).data,
                session=session,
                exporters=(Files(dest=Path(folder)),),
                internal=True,
            )
        except StepError as error:
            if "find_debs.sh" not in (error.command or ""):
                raise  # a step below failed
            raise _error(error, packages) from None
        return parse((Path(folder) / "debs").read_text(encoding="utf-8"))


def parse(text: str) -> tuple[Deb, ...]:
    """Return the packages in the output of find_debs.sh.

    >>> parse("git 1:2.39 amd64 git_1%3a2.39_amd64.deb 12 abc http://archive.test/git.deb")[0].version
    '1:2.39'
    """
    debs = []
    for line in text.splitlines():
        name, version, architecture, filename, size, sha256, url = line.split(" ")
        debs.append(
            Deb(
                name=name,
                version=version,
                architecture=architecture,
                filename=filename,
                sha256=sha256,
                size=int(size),
                url=url,
            )
        )
    return tuple(sorted(debs, key=lambda deb: (deb.name, deb.architecture)))


def _error(error: StepError, packages: Sequence[str]) -> ResolveError:
    messages = [re.sub(r"^[EW]: ", "", line) for line in error.log.splitlines() if line.startswith(("E: ", "W: "))]
    text = "\n".join(dict.fromkeys(messages)) or f"{error}\n{error.log}"
    first = f"apt cannot find {', '.join(packages)}:"
    if re.search(r"Version '.*' for '.*' was not found", text):
        return ResolveError(
            f"{first}\n{text}", hint="the archives have other versions: name one of them, or no version"
        )
    if re.search(r"Unable to locate|has no installation candidate", text):
        return ResolveError(f"{first}\n{text}", hint="check that the base's Debian release has a package of that name")
    if re.search(r"Failed to fetch|Could not resolve|Temporary failure|Could not connect", text):
        return ResolveError(f"{first}\n{text}", hint="check that the engine reaches the base's archives")
    return ResolveError(f"{first}\n{text}")
