"""The Debian archive: where this machine gets it from, and its state, checked against Debian's keys, in a directory.

Reads apt's configuration on this machine, so mirrors, proxies and certificates are those that its user has set there.
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
    """Where the archive is: the address that has `dists/<suite>`, and that of the security archive."""

    main: str
    security: str

    def sources(self, suite: str) -> str:
        """The one-line sources of a suite, its updates and its security updates.

        >>> mirror = Mirror(main="http://mirror.test/debian", security="http://mirror.test/debian-security")
        >>> mirror.sources("trixie").splitlines()[2].split("] ")[1]
        'http://mirror.test/debian-security trixie-security main'
        """
        places = ((self.main, suite), (self.main, f"{suite}-updates"), (self.security, f"{suite}-security"))
        return "".join(f"deb [signed-by={_KEYRING}] {address} {name} main\n" for address, name in places)


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """A state of the archive: signed package lists in `directory`, and how apt was told to get them."""

    suite: str
    directory: Path
    releases: tuple[Release, ...]
    environ: Mapping[str, str]

    @property
    def epoch(self) -> int:
        """Seconds since 1970 of the newest Release file: all packages are older."""
        return max(int(datetime.fromisoformat(release.date).timestamp()) for release in self.releases)

    @property
    def sources(self) -> Path:
        return self.directory / "sources.list"

    @property
    def lists(self) -> Path:
        return self.directory / "lists"

    def packages(self, installed: Iterable[tuple[str, str, str]]) -> tuple[Package, ...]:
        """Find the .deb files of (name, version, architecture), sorted by name."""
        wanted = sorted(installed)
        argv = (*_apt("apt-cache", self.directory), "show", *(f"{name}:{arch}={ver}" for name, ver, arch in wanted))
        done = _run(argv, self.environ)
        known = {}
        for stanza in done.stdout.split("\n\n"):
            fields = dict(line.split(": ", 1) for line in stanza.splitlines() if re.match(r"[\w-]+: ", line))
            if "SHA256" in fields:
                known[fields["Package"], fields["Version"], fields["Architecture"]] = fields["SHA256"]
        lost = [name for name, version, arch in wanted if (name, version, arch) not in known]
        if lost:
            raise ResolveError(f"the package lists of {self.suite} do not have what was installed: {', '.join(lost)}")
        return tuple(
            Package(name=name, version=version, architecture=arch, sha256=known[name, version, arch])
            for name, version, arch in wanted
        )


def fetch(suite: str, directory: Path, *, environ: Mapping[str, str]) -> Archive:
    """Get the package lists of `suite` as they are now, into an empty directory.

    They come from FLYTE_IMAGES_DEBIAN_MIRROR if it is set, else from this machine's own mirror, else from Debian.
    """
    named = _named_mirror(environ)
    text = named.sources(suite) if named else (_of_this_host(suite, environ) or _default(suite, environ))
    (directory / "lists" / "partial").mkdir(parents=True)
    (directory / "sources.list").write_text(text, encoding="utf-8")
    (directory / "status").touch()
    argv = (*_apt("apt-get", directory), "--option=APT::Update::Error-Mode=any", "--quiet", "update")
    done = _run(argv, environ)
    if done.returncode:
        raise _unusable(suite, text, done.stdout + done.stderr)
    # The packages are then fetched by whoever mmdebstrap is in its namespace.
    for path in (directory, *directory.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    releases = [read_release(path) for path in sorted((directory / "lists").glob("*Release"))]
    return Archive(suite=suite, directory=directory, releases=tuple(releases), environ=environ)


def require_tools(environ: Mapping[str, str]) -> None:
    """Raise EngineError unless the programs and keys that a base is made with are here."""
    for tool in ("mmdebstrap", "apt-get"):
        if shutil.which(tool, path=environ.get("PATH", "")) is None:
            raise EngineError(f"`{tool}` is not installed: a Debian base cannot be made here", hint=_INSTALL)
    if not _KEYRING.exists():
        raise EngineError(f"Debian's archive keys are not installed: there is no `{_KEYRING}`", hint=_INSTALL)
    if os.geteuid() != 0 and shutil.which("newuidmap", path=environ.get("PATH", "")) is None:
        raise EngineError(
            "`newuidmap` is not installed: a Debian base can be made here by root only",
            hint="as root: apt-get install uidmap, and give the user a range in /etc/subuid and /etc/subgid",
        )


def public(text: str) -> str:
    """Leave user names and passwords out of the addresses in a text.

    >>> public("deb http://ada:secret@mirror.test/debian trixie main")
    'deb http://mirror.test/debian trixie main'
    """
    return re.sub(r"://[^/@\s]+@", "://", text)


def _named_mirror(environ: Mapping[str, str]) -> Mirror | None:
    address = environ.get("FLYTE_IMAGES_DEBIAN_MIRROR", "").rstrip("/")
    if not address:
        return None
    if not re.fullmatch(r"(https?|file|ftp)://\S+", address):
        raise SpecError(
            f"FLYTE_IMAGES_DEBIAN_MIRROR is not an address: `{address}`", hint="as in http://mirror.test/debian"
        )
    return Mirror(main=address, security=f"{address}-security")


def _of_this_host(suite: str, environ: Mapping[str, str]) -> str | None:
    """The sources of `suite` at the mirror that this machine's own apt uses, if it is one of Debian's."""
    argv = ("apt-get", "indextargets", "--no-release-info", "--format", "$(REPO_URI)\t$(RELEASE)\t$(COMPONENT)")
    rows = [line.split("\t") for line in _run(argv, environ).stdout.splitlines()]
    found = host_mirror([(row[0], row[1]) for row in rows if len(row) == 3 and row[2] == "main"])
    return found.sources(suite) if found else None


def host_mirror(rows: Sequence[tuple[str, str]]) -> Mirror | None:
    """Find Debian's archive among (address, suite): others have a `bookworm` too, but no `bookworm-updates`.

    >>> host_mirror([("http://tools.test/", "trixie"), ("http://m.test/debian/", "trixie"),
    ...              ("http://m.test/debian/", "trixie-updates")]).main
    'http://m.test/debian/'
    """
    for address, suite in rows:
        if suite.endswith("-updates") and (address, suite.removesuffix("-updates")) in rows:
            secure = (it for it, name in rows if name == f"{suite.removesuffix('-updates')}-security")
            return Mirror(main=address, security=next(secure, f"{address.rstrip('/')}-security"))
    return None


def _default(suite: str, environ: Mapping[str, str]) -> str:
    """The sources that mmdebstrap takes where nobody names any: it has written them when its first hook runs."""
    with temporary_directory("archive") as directory:
        Path(directory).chmod(0o755)
        hook = 'cat "$1/etc/apt/sources.list" >&2; exit 1'
        argv = ("mmdebstrap", "--quiet", "--variant=custom", f"--setup-hook={hook}", suite, "/dev/null")
        told = _run(argv, {**environ, "TMPDIR": directory}).stderr
    lines = [re.sub(r"^deb (\[.*?\] )?", f"deb [signed-by={_KEYRING}] ", it) for it in told.splitlines()]
    sources = [line for line in lines if line.startswith("deb [")]
    if not sources:
        raise ResolveError(
            f"mmdebstrap names no mirror for {suite}: {told.strip()}", hint="set FLYTE_IMAGES_DEBIAN_MIRROR"
        )
    return "\n".join(sources) + "\n"


def _apt(tool: str, directory: Path) -> tuple[str, ...]:
    """apt with this machine's settings, but with sources, lists and caches of its own."""
    options = {
        "Dir::Etc::SourceList": directory / "sources.list",
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::Etc::Preferences": "/dev/null",
        "Dir::Etc::PreferencesParts": "/dev/null",
        "Dir::State::Lists": directory / "lists",
        "Dir::State::status": directory / "status",
        "Dir::Cache": directory / "cache",
        "APT::Sandbox::User": "root",  # nobody else can write here
        "Acquire::Languages": "none",
        "Acquire::GzipIndexes": "false",
    }
    return (tool, *(f"--option={name}={value}" for name, value in options.items()))


def _run(argv: Sequence[str], environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    env = {**environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
    with timed("running %s", argv[0]):
        return subprocess.run(argv, env=env, text=True, errors="replace", capture_output=True, stdin=subprocess.DEVNULL)


def _unusable(suite: str, sources: str, output: str) -> ResolveError:
    said = [public(line[2:].strip()) for line in output.splitlines() if line.startswith(("E:", "W:"))]
    where = public(sources.split("] ", 1)[1].split(" ", 1)[0])
    reason = said[0] if said else "apt-get update failed"
    if any("NO_PUBKEY" in line or "not signed" in line for line in said):
        hint = "it is not signed by Debian's archive keys; install a current debian-archive-keyring"
    elif any("not valid yet" in line or "expired" in line for line in said):
        hint = "the mirror is out of date, or this machine's clock is wrong"
    else:
        hint = "check the network and apt's own settings (sources, proxy), or set FLYTE_IMAGES_DEBIAN_MIRROR"
    return ResolveError(f"the Debian archive at `{where}` gives no package lists of {suite}: {reason}", hint=hint)


def read_release(path: Path) -> Release:
    data = path.read_bytes()
    fields = dict(re.findall(r"^(Codename|Date): (.+)$", data.decode(), re.MULTILINE))
    lists = sorted(path.parent.glob(re.sub("(In)?Release$", "", path.name) + "*_Packages"))
    date = parsedate_to_datetime(fields["Date"].replace("UTC", "+0000")).astimezone(UTC)
    return Release(
        suite=fields["Codename"],
        date=date.strftime("%Y-%m-%dT%H:%M:%SZ"),
        sha256=hashlib.sha256(data).hexdigest(),
        lists=tuple(hashlib.sha256(it.read_bytes()).hexdigest() for it in lists),
    )
