"""A state of the archive -> the files of a small Debian system with Python, as a tar, made by mmdebstrap.

Settings of this machine (host name, resolver, proxies, mirror, credentials of the mirror) are not in the result.
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
from .archive import Archive, without_logins
from .catalog import SUITES

PACKAGES = ("ca-certificates", "netbase", "passwd", "python3", "tzdata")

# Settings with which apt reaches the archive. A base is made with them and does not keep them.
_APT_SETTINGS = ("Acquire::http", "Acquire::https", "Acquire::Check-", "Acquire::Retries", "Acquire::ForceIPv")


def make_tree(archive: Archive, target: Path, *, lock_fd: int) -> None:
    """Write the files of `archive.suite` to `target`, a tar file. A failure leaves neither mounts nor files.

    The programs inherit the descriptor `lock_fd`. Raise EngineError without the rights, ResolveError if a package
    cannot be fetched, BuildError for any other failure of mmdebstrap.
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
        status, stderr = _run(argv, environ, target, lock_fd)
    if status:
        raise _error(archive.suite, stderr)


def _run(argv: tuple[str, ...], environ: Mapping[str, str], target: Path, lock_fd: int) -> tuple[int, str]:
    """Return status and stderr. When interrupted, wait until the programs have cleaned up and ended."""
    guard_input, alive = os.pipe()  # guard.sh ends the programs when `alive` is closed, also by the kernel
    try:
        with open(target, "wb") as out:
            process = subprocess.Popen(
                argv,
                env=environ,
                stdin=guard_input,
                stdout=out,
                stderr=subprocess.PIPE,
                umask=0o022,
                pass_fds=(lock_fd,),
                start_new_session=True,
            )
        with process:
            try:
                _, stderr = process.communicate()
            except BaseException:
                os.close(alive)
                alive = -1
                process.communicate()
                raise
    finally:
        os.close(guard_input)
        if alive >= 0:
            os.close(alive)
    return process.returncode, stderr.decode(errors="replace")


def _error(suite: str, stderr: str) -> BuildError | EngineError | ResolveError:
    lines = [without_logins(line.strip()) for line in stderr.splitlines()]
    errors = [line.removeprefix("E: ") for line in lines if line.startswith("E: ")]
    log = "\n".join(lines)
    if any(word in log for word in ("newuidmap", "/etc/subuid", "unshare", "user namespace")):
        return EngineError(
            f"this user cannot make a Debian base: {errors[0] if errors else 'no user namespace'}",
            hint="run the command as root, or install uidmap and give the user a range in /etc/subuid and /etc/subgid",
        )
    if any("Failed to fetch" in line for line in errors):
        fetch = next(line for line in errors if "Failed to fetch" in line)
        return ResolveError(f"a package of {suite} cannot be fetched: {fetch}", hint="check the network and try again")
    if "No space left on device" in log:
        return BuildError(f"no space left while {suite} was made", hint="free some space, or set TMPDIR", log=log)
    return BuildError(f"mmdebstrap could not make {suite}: {errors[0] if errors else 'no message'}", log=log)


def _apt_settings(environ: Mapping[str, str]) -> str:
    """Return the settings of this machine's apt with which the archive is reached."""
    done = subprocess.run(("apt-config", "dump"), env=environ, text=True, capture_output=True, check=False)
    settings = [line for line in done.stdout.splitlines() if line.startswith(_APT_SETTINGS)]
    keys = ('Dir::Etc::netrc "/etc/apt/auth.conf";', 'Dir::Etc::netrcparts "/etc/apt/auth.conf.d";')
    return "\n".join((*settings, *keys, 'Acquire::Languages "none";')) + "\n"


def _network(environ: Mapping[str, str]) -> dict[str, str]:
    names = ("http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy")
    return {name: value for name, value in environ.items() if name.lower() in names}


def _with_sbin(path: str) -> str:
    """Return PATH with the system directories: users lack /usr/sbin on Debian, and the new system needs it."""
    return ":".join(dict.fromkeys((*filter(None, path.split(":")), "/usr/sbin", "/usr/bin", "/sbin", "/bin")))


def _script(name: str, archive: Archive) -> str:
    """Copy a script of this package to where any user of mmdebstrap's namespace can read it."""
    path = archive.directory / name
    path.write_bytes((files(__package__) / name).read_bytes())
    path.chmod(0o644)
    return str(path)


def _hook(script: str, *arguments: str) -> str:
    """Return a hook of mmdebstrap: a shell command that gets the directory of the new system as $1."""
    return f'sh {shlex.quote(script)} "$1" {shlex.join(arguments)}'
