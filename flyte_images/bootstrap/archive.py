"""The Debian archive: its address for this machine, and its state in a directory, checked with Debian's keys.

apt reads its configuration on this machine, so it uses the mirrors, proxies and certificates that are set there.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

from flyte_images_runtime.system.diagnostics import timed

from ..errors import EngineError, ResolveError, SpecError
from ..store.leftovers import temporary_directory
from .catalog import Package, Release

_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_INSTALL = "as root: apt-get install mmdebstrap debian-archive-keyring (`make engine` does it too)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """The addresses of an archive: `main` has `dists/<suite>`, `security` is the security archive."""

    main: str
    security: str

    def sources(self, suite: str) -> str:
        """Return the one-line sources of a suite, its updates and its security updates.

        >>> mirror = Mirror(main="http://mirror.test/debian", security="http://mirror.test/debian-security")
        >>> mirror.sources("trixie").splitlines()[2].split("] ")[1]
        'http://mirror.test/debian-security trixie-security main'
        """
        places = ((self.main, suite), (self.main, f"{suite}-updates"), (self.security, f"{suite}-security"))
        return "".join(f"deb [signed-by={_KEYRING}] {address} {name} main\n" for address, name in places)


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """A state of the archive: signed package lists in `directory`, and the environment in which apt fetched them."""

    suite: str
    directory: Path
    releases: tuple[Release, ...]
    environ: Mapping[str, str]

    @property
    def epoch(self) -> int:
        """The date of the newest Release file, in seconds since 1970: all packages are older."""
        return max(int(datetime.fromisoformat(release.date).timestamp()) for release in self.releases)

    @property
    def sources(self) -> Path:
        return self.directory / "sources.list"

    @property
    def lists(self) -> Path:
        return self.directory / "lists"

    def packages(self, installed: Iterable[tuple[str, str, str]]) -> tuple[Package, ...]:
        """Return the packages of (name, version, architecture) with the hash of each .deb file, sorted by name."""
        wanted = sorted(installed)
        argv = (*_apt("apt-cache", self.directory), "show", *(f"{name}:{arch}={ver}" for name, ver, arch in wanted))
        done = _run(argv, self.environ)
        known = {}
        for stanza in done.stdout.split("\n\n"):
            fields = dict(line.split(": ", 1) for line in stanza.splitlines() if re.match(r"[\w-]+: ", line))
            if "SHA256" in fields:
                known[fields["Package"], fields["Version"], fields["Architecture"]] = fields["SHA256"]
        missing = [name for name, version, arch in wanted if (name, version, arch) not in known]
        if missing:
            raise ResolveError(f"the package lists of {self.suite} lack installed packages: {', '.join(missing)}")
        return tuple(
            Package(name=name, version=version, architecture=arch, sha256=known[name, version, arch])
            for name, version, arch in wanted
        )


def fetch_archive(suite: str, directory: Path, *, environ: Mapping[str, str]) -> Archive:
    """Fetch the current package lists of `suite` into `directory`, which does not exist yet.

    The mirror is FLYTE_IMAGES_DEBIAN_MIRROR if it is set, else the mirror of this machine's apt, else Debian's default.
    Raise SpecError for a mirror that is not an address, ResolveError if the archive gives no valid lists.
    """
    named = _named_mirror(environ)
    text = named.sources(suite) if named else (_host_sources(suite, environ) or _default_sources(suite, environ))
    (directory / "lists" / "partial").mkdir(parents=True)
    (directory / "sources.list").write_text(text, encoding="utf-8")
    (directory / "status").touch()
    argv = (*_apt("apt-get", directory), "--option=APT::Update::Error-Mode=any", "--quiet", "update")
    done = _run(argv, environ)
    if done.returncode:
        raise _archive_error(suite, text, done.stdout + done.stderr)
    # mmdebstrap reads the lists as another user of its namespace.
    for path in (directory, *directory.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    releases = [read_release(path) for path in sorted((directory / "lists").glob("*Release"))]
    return Archive(suite=suite, directory=directory, releases=tuple(releases), environ=environ)


def require_tools(environ: Mapping[str, str]) -> None:
    """Raise EngineError unless the programs and keys for making a base are installed."""
    for tool in ("mmdebstrap", "apt-get"):
        if shutil.which(tool, path=environ.get("PATH", "")) is None:
            raise EngineError(f"`{tool}` is not installed: this machine cannot make a Debian base", hint=_INSTALL)
    if not _KEYRING.exists():
        raise EngineError(f"Debian's archive keys are not installed: `{_KEYRING}` does not exist", hint=_INSTALL)
    if os.geteuid() != 0 and shutil.which("newuidmap", path=environ.get("PATH", "")) is None:
        raise EngineError(
            "`newuidmap` is not installed: only root can make a Debian base on this machine",
            hint="as root: apt-get install uidmap, and give the user a range in /etc/subuid and /etc/subgid",
        )


def without_logins(text: str) -> str:
    """Return a text without the user names and passwords of the addresses in it.

    >>> without_logins("deb http://ada:secret@mirror.test/debian trixie main")
    'deb http://mirror.test/debian trixie main'
    """
    return re.sub(r"://[^/@\s]+@", "://", text)


def _named_mirror(environ: Mapping[str, str]) -> Mirror | None:
    address = environ.get("FLYTE_IMAGES_DEBIAN_MIRROR", "").rstrip("/")
    if not address:
        return None
    if not re.fullmatch(r"(https?|file|ftp)://\S+", address):
        raise SpecError(
            f"FLYTE_IMAGES_DEBIAN_MIRROR is not an address: `{address}`", hint="write it like http://mirror.test/debian"
        )
    return Mirror(main=address, security=f"{address}-security")


def _host_sources(suite: str, environ: Mapping[str, str]) -> str | None:
    """Return the sources of `suite` at the mirror of this machine's apt; None if that is not a mirror of Debian."""
    argv = ("apt-get", "indextargets", "--no-release-info", "--format", "$(REPO_URI)\t$(RELEASE)\t$(COMPONENT)")
    rows = [line.split("\t") for line in _run(argv, environ).stdout.splitlines()]
    mirror = host_mirror([(row[0], row[1]) for row in rows if len(row) == 3 and row[2] == "main"])
    return mirror.sources(suite) if mirror else None


def host_mirror(rows: Sequence[tuple[str, str]]) -> Mirror | None:
    """Return Debian's archive among (address, suite): other archives may have a `bookworm`, but no `bookworm-updates`.

    >>> host_mirror([("http://tools.test/", "trixie"), ("http://m.test/debian/", "trixie"),
    ...              ("http://m.test/debian/", "trixie-updates")]).main
    'http://m.test/debian/'
    """
    for address, suite in rows:
        if suite.endswith("-updates") and (address, suite.removesuffix("-updates")) in rows:
            secure = (row[0] for row in rows if row[1] == f"{suite.removesuffix('-updates')}-security")
            return Mirror(main=address, security=next(secure, f"{address.rstrip('/')}-security"))
    return None


def _default_sources(suite: str, environ: Mapping[str, str]) -> str:
    """Return the default sources of mmdebstrap, which it has written when its first hook runs."""
    with temporary_directory("archive") as directory:
        Path(directory).chmod(0o755)
        hook = 'cat "$1/etc/apt/sources.list" >&2; exit 1'
        argv = ("mmdebstrap", "--quiet", "--variant=custom", f"--setup-hook={hook}", suite, "/dev/null")
        stderr = _run(argv, {**environ, "TMPDIR": directory}).stderr
    lines = [re.sub(r"^deb (\[.*?\] )?", f"deb [signed-by={_KEYRING}] ", line) for line in stderr.splitlines()]
    sources = [line for line in lines if line.startswith("deb [")]
    if not sources:
        raise ResolveError(
            f"mmdebstrap names no mirror for {suite}: {stderr.strip()}", hint="set FLYTE_IMAGES_DEBIAN_MIRROR"
        )
    return "\n".join(sources) + "\n"


def _apt(tool: str, directory: Path) -> tuple[str, ...]:
    """Return the command of an apt tool with this machine's settings, and sources, lists and caches in `directory`."""
    options = {
        "Dir::Etc::SourceList": directory / "sources.list",
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::Etc::Preferences": "/dev/null",
        "Dir::Etc::PreferencesParts": "/dev/null",
        "Dir::State::Lists": directory / "lists",
        "Dir::State::status": directory / "status",
        "Dir::Cache": directory / "cache",
        "APT::Sandbox::User": "root",  # the only user who can write here
        "Acquire::Languages": "none",
        "Acquire::GzipIndexes": "false",
    }
    return (tool, *(f"--option={name}={value}" for name, value in options.items()))


def _run(argv: Sequence[str], environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    env = {**environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
    with timed("running %s", argv[0]):
        return subprocess.run(argv, env=env, text=True, errors="replace", capture_output=True, stdin=subprocess.DEVNULL)


def _archive_error(suite: str, sources: str, output: str) -> ResolveError:
    messages = [without_logins(line[2:].strip()) for line in output.splitlines() if line.startswith(("E:", "W:"))]
    where = without_logins(sources.split("] ", 1)[1].split(" ", 1)[0])
    reason = messages[0] if messages else "apt-get update failed"
    if any("NO_PUBKEY" in line or "not signed" in line for line in messages):
        hint = "the archive is not signed by Debian's keys; install a current debian-archive-keyring"
    elif any("not valid yet" in line or "expired" in line for line in messages):
        hint = "the mirror is out of date, or this machine's clock is wrong"
    else:
        hint = "check the network and apt's own settings (sources, proxy), or set FLYTE_IMAGES_DEBIAN_MIRROR"
    return ResolveError(f"the Debian archive at `{where}` gives no package lists of {suite}: {reason}", hint=hint)


def read_release(path: Path) -> Release:
    """Return the state that a Release file and the package lists beside it describe."""
    data = path.read_bytes()
    fields = dict(re.findall(r"^(Codename|Date): (.+)$", data.decode(), re.MULTILINE))
    lists = sorted(path.parent.glob(re.sub("(In)?Release$", "", path.name) + "*_Packages"))
    date = parsedate_to_datetime(fields["Date"].replace("UTC", "+0000")).astimezone(UTC)
    return Release(
        suite=fields["Codename"],
        date=date.strftime("%Y-%m-%dT%H:%M:%SZ"),
        sha256=hashlib.sha256(data).hexdigest(),
        lists=tuple(hashlib.sha256(packages.read_bytes()).hexdigest() for packages in lists),
    )
