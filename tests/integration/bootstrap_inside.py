"""Runs in a base, as root with a network; writes what it sees to /out/seen.json."""

import bz2
import ctypes
import curses
import datetime
import json
import locale
import lzma
import multiprocessing
import pathlib
import sqlite3
import ssl
import subprocess
import sys
import uuid
import zoneinfo

NEEDED = (bz2, curses, lzma, multiprocessing, sqlite3, uuid)
MANY = "import asyncio, ctypes, email, logging.config, sqlite3, ssl, unittest, urllib.request, venv, xml.etree"


def run(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, encoding="utf-8")
    if done.returncode:
        raise SystemExit(f"{argv}: {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


verbose = subprocess.run((sys.executable, "-v", "-c", MANY), capture_output=True, encoding="utf-8").stderr
assert "matches" in verbose
run(sys.executable, "-m", "venv", "--without-pip", "/tmp/venv")
run("apt-get", "update", "--error-on=any")
run("apt-get", "install", "--yes", "hello")
tables = sqlite3.connect(":memory:").execute("select sqlite_version()").fetchall()
assert ctypes.CDLL(None).getpid() > 0 and tables

seen = {
    "python": sys.version_info[:2],
    "executable": sys.executable,
    "encodings": [sys.getfilesystemencoding(), sys.stdout.encoding, locale.getpreferredencoding().lower()],
    "authorities": len(ssl.create_default_context().get_ca_certs()),
    "zone": datetime.datetime(2026, 1, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")).tzname(),
    "venv": run("/tmp/venv/bin/python", "-c", "import sys; print(sys.prefix)").strip(),
    "compiled_again": [it for it in verbose.splitlines() if it.startswith("# code object from") and ".py'" in it],
    "audit": run("dpkg", "--audit"),
    "hello": run("hello").strip(),
    "hello_documents": sorted(
        line
        for line in run("dpkg", "--listfiles", "hello").splitlines()
        if line.startswith(("/usr/share/doc/", "/usr/share/man/", "/usr/share/locale/", "/usr/share/info/"))
        and pathlib.Path(line).is_file()
    ),
    "kept_packages": sorted(map(str, pathlib.Path("/var/cache/apt").rglob("*.[db][ei][bn]"))),
}
pathlib.Path("/out/seen.json").write_text(json.dumps(seen))
