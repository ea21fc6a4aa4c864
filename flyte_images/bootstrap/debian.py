"""A state of the archive -> the files of a small Debian with Python, as a tar. mmdebstrap does the work.

What is particular to this machine (host name, resolver, proxies, mirror, keys to it) is not in the result.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from flyte_images_runtime.system.diagnostics import timed

from ..errors import BuildError, EngineError, ResolveError
from .archive import Archive, public
from .catalog import SUITES

PACKAGES = ("ca-certificates", "netbase", "passwd", "python3", "tzdata")

# Where apt finds its way and its rights; a base is made with them and does not keep them.
_APT_SETTINGS = ("Acquire::http", "Acquire::https", "Acquire::Check-", "Acquire::Retries", "Acquire::ForceIPv")


def make_tree(archive: Archive, target: Path, *, held: int) -> None:
    """Write the files of `archive.suite` to `target`. What goes wrong leaves no mounts and no files.

    What is run inherits the open file `held`.
    """
    settings = archive.directory / "apt.conf"
    settings.write_text(_apt_settings(archive.environ), encoding="utf-8")
    settings.chmod(0o644)
    setup = (_script("setup.sh", archive), str(archive.lists))
    finish = (_script("finish.sh", archive), archive.suite, SUITES[archive.suite])
    argv = (
        *("sh", _script("guard.sh", archive)),
        *("mmdebstrap", "--quiet", f"--mode={'root' if os.geteuid() == 0 else 'unshare'}", "--variant=apt"),
        *("--skip=update", f"--include={','.join(PACKAGES)}", f"--aptopt={settings}"),
        f"--setup-hook={_hook(*setup)}",
        f"--extract-hook={_hook(_script('unpacked.sh', archive))}",
        f"--customize-hook={_hook(*finish)}",
        *(archive.suite, "-", str(archive.sources)),
    )
    environ = {
        **_network(archive.environ),
        "PATH": _with_sbin(archive.environ.get("PATH", "")),
        "LC_ALL": "C.UTF-8",
        "SOURCE_DATE_EPOCH": str(archive.epoch),
        "TMPDIR": str(archive.directory),
    }
    with timed("running mmdebstrap for %s", archive.suite):
        code, said = _run(argv, environ, target, held)
    if code:
        raise _failed(archive.suite, said)


def _run(argv: tuple[str, ...], environ: Mapping[str, str], target: Path, held: int) -> tuple[int, str]:
    """Run to the end. When interrupted, wait until all is ended and has taken down what it had put up."""
    watched, ours = os.pipe()  # closed with this process, however that ends
    try:
        with open(target, "wb") as out:
            process = subprocess.Popen(
                argv,
                env=environ,
                stdin=watched,
                stdout=out,
                stderr=subprocess.PIPE,
                umask=0o022,
                pass_fds=(held,),
                start_new_session=True,
            )
        with process:
            try:
                _, said = process.communicate()
            except BaseException:
                os.close(ours)
                ours = -1
                process.communicate()
                raise
    finally:
        os.close(watched)
        if ours >= 0:
            os.close(ours)
    return process.returncode, said.decode(errors="replace")


def _failed(suite: str, said: str) -> BuildError | EngineError | ResolveError:
    lines = [public(line.strip()) for line in said.splitlines()]
    errors = [line.removeprefix("E: ") for line in lines if line.startswith("E: ")]
    log = "\n".join(lines)
    if any(word in log for word in ("newuidmap", "/etc/subuid", "unshare", "user namespace")):
        return EngineError(
            f"no rights to make a Debian base: {errors[0] if errors else 'no user namespace'}",
            hint="run it as root, or install uidmap and give the user a range in /etc/subuid and /etc/subgid",
        )
    if any("Failed to fetch" in line for line in errors):
        fetch = next(line for line in errors if "Failed to fetch" in line)
        return ResolveError(f"a package of {suite} cannot be fetched: {fetch}", hint="check the network; then again")
    if "No space left on device" in log:
        return BuildError(f"no space left while {suite} was made", hint="make room, or set TMPDIR", log=log)
    return BuildError(f"mmdebstrap could not make {suite}: {errors[0] if errors else 'it says nothing'}", log=log)


def _apt_settings(environ: Mapping[str, str]) -> str:
    """This machine's settings of apt that decide whether the archive can be reached."""
    done = subprocess.run(("apt-config", "dump"), env=environ, text=True, capture_output=True, check=False)
    kept = [line for line in done.stdout.splitlines() if line.startswith(_APT_SETTINGS)]
    keys = ('Dir::Etc::netrc "/etc/apt/auth.conf";', 'Dir::Etc::netrcparts "/etc/apt/auth.conf.d";')
    return "\n".join((*kept, *keys, 'Acquire::Languages "none";')) + "\n"


def _network(environ: Mapping[str, str]) -> dict[str, str]:
    names = ("http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy")
    return {name: value for name, value in environ.items() if name.lower() in names}


def _with_sbin(path: str) -> str:
    """Debian's users have no /usr/sbin on PATH, which what runs in the new system needs."""
    return ":".join(dict.fromkeys((*filter(None, path.split(":")), "/usr/sbin", "/usr/bin", "/sbin", "/bin")))


def _script(name: str, archive: Archive) -> str:
    """A script of this package where mmdebstrap can read it, whoever it is in its namespace."""
    path = archive.directory / name
    path.write_bytes((files(__package__) / name).read_bytes())
    path.chmod(0o644)
    return str(path)


def _hook(script: str, *arguments: str) -> str:
    """mmdebstrap gives hooks to a shell, the new system's directory as $1."""
    return f'sh {shlex.quote(script)} "$1" {shlex.join(arguments)}'
