"""Unpack wheels into a virtual environment below an output directory, and compile them.

    install_wheels.py OUTPUT VENV EPOCH WHEEL|FOLDER...

writes OUTPUT/VENV/lib/pythonX.Y/site-packages/... for the Python that runs it. The same wheels give the same bytes:
files are written in the order of their names with the time EPOCH, byte code is checked by nothing but its place
(unchecked hash, PEP 552) and is compiled by processes that start from the same state whatever the number of CPUs.

The layout is that of the binary distribution format (packaging.python.org, "Binary distribution format"): purelib and
platlib go to site-packages, `.data` is spread, scripts get the environment's interpreter, RECORD is written anew.
"""

from __future__ import annotations

import base64
import configparser
import csv
import hashlib
import importlib.util
import io
import marshal
import os
import posixpath
import resource
import stat
import sys
import warnings
import zipfile
import zlib
from typing import Iterable, Iterator

TAG = "python%d.%d" % sys.version_info[:2]
LONGEST = 255  # bytes of a file's name
PIECE = 1 << 20  # bytes of a file in memory at a time
RATIO, ALLOWED = 100, 64 << 20  # a wheel may unpack to that many times its size, and to that many bytes in any case
TEXT = 1 << 20  # bytes of a text that is read as a whole
COMPILED = 16 << 20  # bytes of a module from which on it is not compiled: the compiler needs 100 times as much memory
MEMORY = 4 << 30  # bytes of address space of this program and of each that compiles
CHUNKS = 4  # parts that byte-compiling is cut into: fixed, so that the bytes do not depend on the number of CPUs


class RefusedError(Exception):
    """A wheel that cannot be installed."""


# What a damaged or hostile file makes the libraries raise (RuntimeError: an encrypted member).
REFUSED = (
    RefusedError,
    OSError,
    EOFError,
    RuntimeError,
    UnicodeDecodeError,
    zipfile.BadZipFile,
    zlib.error,
    configparser.Error,
)


class Environment:
    """Where things go, and what was written: relative path -> (digest, size)."""

    def __init__(self, output: str, venv: str) -> None:
        self.venv = venv
        self.root = output + venv
        self.site = "lib/%s/site-packages" % TAG
        self.written: dict[str, tuple[str, int]] = {}  # by the wheel that is being installed
        self.folders: set[str] = set()

    def write(self, relative: str, pieces: Iterable[bytes], executable: bool = False) -> None:
        normal = posixpath.normpath(relative)
        if normal.startswith(("/", "..")) or normal != relative.rstrip("/"):
            raise RefusedError("it holds a path outside of the environment: %s" % relative)
        folder = posixpath.dirname(normal)
        if folder not in self.folders:
            os.makedirs(self.root + "/" + folder, mode=0o755, exist_ok=True)
            self.folders.add(folder)
        path = self.root + "/" + normal
        mode = 0o755 if executable else 0o644
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        except FileExistsError:  # of another wheel, which may have had another mode
            os.unlink(path)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        hashed, size = hashlib.sha256(), 0
        with os.fdopen(descriptor, "wb") as file:
            for piece in pieces:
                file.write(piece)
                hashed.update(piece)
                size += len(piece)
        checksum = base64.urlsafe_b64encode(hashed.digest()).rstrip(b"=").decode()
        self.written[normal] = ("sha256=" + checksum, size)


def pieces_of(archive: zipfile.ZipFile, name: str) -> Iterator[bytes]:
    """The content of a member: at most as much as the archive's directory announces."""
    with archive.open(name) as member:
        while piece := member.read(PIECE):
            yield piece


def text_of(archive: zipfile.ZipFile, name: str) -> str:
    if archive.getinfo(name).file_size > TEXT:
        raise RefusedError("its %s has more than %d bytes" % (name, TEXT))
    return archive.read(name).decode()


def check_size(path: str, archive: zipfile.ZipFile) -> None:
    """Refuse a wheel that announces far more than what wheels unpack to."""
    total, most = sum(member.file_size for member in archive.infolist()), max(RATIO * os.path.getsize(path), ALLOWED)
    if total > most:
        raise RefusedError("it unpacks to %d bytes, more than %d times its own size" % (total, RATIO))


def install(path: str, environment: Environment) -> list[str]:
    """Unpack one wheel, over what is there; return the paths of its Python files, relative to the environment."""
    environment.written = {}
    with zipfile.ZipFile(path) as archive:
        check_size(path, archive)
        names = sorted(entry for entry in archive.namelist() if not entry.endswith("/"))
        info = [entry for entry in names if entry.endswith(".dist-info/WHEEL") and entry.count("/") == 1]
        if len(info) != 1:
            raise RefusedError("it has %s .dist-info folder of its own" % ("more than one" if info else "no"))
        dist_info = posixpath.dirname(info[0])
        data = dist_info[: -len(".dist-info")] + ".data"
        project = dist_info.split("-")[0]
        for name in names:
            if name == dist_info + "/RECORD" or name.startswith((dist_info + "/RECORD.",)):
                continue
            content = pieces_of(archive, name)
            if name.startswith(data + "/"):
                spread(environment, name[len(data) + 1 :], content, project)
            else:
                mode = archive.getinfo(name).external_attr >> 16
                environment.write(environment.site + "/" + name, content, bool(mode & stat.S_IXUSR))
        try:
            entry_points(environment, text_of(archive, dist_info + "/entry_points.txt"))
        except KeyError:
            pass
    environment.write(environment.site + "/" + dist_info + "/INSTALLER", [b"flyte-images\n"])
    new = sorted(environment.written)
    write_record(environment, dist_info, new)
    return [name for name in new if name.endswith(".py") and name.startswith(environment.site + "/")]


def spread(environment: Environment, relative: str, content: Iterator[bytes], project: str) -> None:
    """Put one file of the wheel's .data folder where its scheme key says."""
    key, _, rest = relative.partition("/")
    if key in ("purelib", "platlib"):
        environment.write(environment.site + "/" + rest, content)
    elif key == "scripts":
        environment.write("bin/" + rest, shebang(environment, content), executable=True)
    elif key == "headers":
        environment.write("include/site/%s/%s/%s" % (TAG, project, rest), content)
    elif key == "data":
        environment.write(rest, content)
    else:
        raise RefusedError("it has an unknown scheme key: %s" % key)


def shebang(environment: Environment, content: Iterator[bytes]) -> Iterator[bytes]:
    """The script, with the environment's interpreter where it asks for one."""
    first = next(content, b"")
    for start in (b"#!pythonw", b"#!python"):
        if first.startswith(start):
            first = b"#!" + environment.venv.encode() + b"/bin/python" + first[len(start) :]
            break
    yield first
    yield from content


def entry_points(environment: Environment, text: str) -> None:
    """Write a script for each console and gui entry point."""
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # the documented way to keep case
    parser.read_string(text)
    for section in ("console_scripts", "gui_scripts"):
        if not parser.has_section(section):
            continue
        for name, target in sorted(parser.items(section)):
            module, _, attribute = target.partition("[")[0].strip().partition(":")
            attribute = attribute.strip()
            script = (
                '#!%s/bin/python\nimport sys\nfrom %s import %s\nif __name__ == "__main__":\n    sys.exit(%s())\n'
            ) % (environment.venv, module.strip(), attribute.split(".")[0], attribute)
            environment.write("bin/" + name, [script.encode()], executable=True)


def write_record(environment: Environment, dist_info: str, names: list[str]) -> None:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    record = environment.site + "/" + dist_info + "/RECORD"
    for name in names:
        checksum, size = environment.written[name]
        writer.writerow([posixpath.relpath(name, environment.site), checksum, size])
    writer.writerow([posixpath.relpath(record, environment.site), "", ""])
    environment.write(record, [out.getvalue().encode()])


def wanted(name: str, site: str) -> bool:
    """Whether a file is worth compiling: test suites inside packages are never imported by a program."""
    folders = name[len(site) + 1 :].split("/")[:-1]
    return not ({"tests", "test"} & set(folders[1:]))


def compile_all(environment: Environment, names: list[str]) -> None:
    """Compile in CHUNKS processes forked from this one, as many at a time as there are CPUs.

    Marshalled code depends on what the interpreter has interned before, so each chunk has to start from the same state:
    a fork of this process, which has compiled nothing.
    """
    chunks = [names[index::CHUNKS] for index in range(CHUNKS)]
    try:
        cpus = len(os.sched_getaffinity(0))
    except AttributeError:
        cpus = os.cpu_count() or 1
    running, failed = 0, 0
    for chunk in chunks:
        if running >= cpus:
            failed |= os.wait()[1]
            running -= 1
        if chunk and os.fork() == 0:
            status = 1
            try:
                for name in chunk:
                    compile_one(environment, name)
                status = 0
            except OSError as error:
                sys.stderr.write("%s\n" % error)
            finally:
                sys.stderr.flush()
                os._exit(status)
        elif chunk:
            running += 1
    for _ in range(running):
        failed |= os.wait()[1]
    if failed:
        sys.exit("byte-compiling ended early")


def compile_one(environment: Environment, name: str) -> None:
    path = environment.root + "/" + name
    if os.path.getsize(path) > COMPILED:
        return
    with open(path, "rb") as file:
        source = file.read()
    try:
        code = compile(source, environment.venv + "/" + name, "exec", dont_inherit=True, optimize=0)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return  # templates and files for other versions: Python says what is wrong when somebody imports them
    folder, file_name = os.path.split(path)
    cache = folder + "/__pycache__"
    os.makedirs(cache, mode=0o755, exist_ok=True)
    header = importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + importlib.util.source_hash(source)
    target = "%s/%s.%s.pyc" % (cache, file_name[:-3], sys.implementation.cache_tag)
    if len(os.fsencode(os.path.basename(target))) > LONGEST:
        return  # as with pip: Python compiles it at each import
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    with os.fdopen(descriptor, "wb") as file:
        file.write(header + marshal.dumps(code))


def settle(output: str, epoch: int) -> None:
    """Give every file and folder the time `epoch`, folders last."""
    for folder, _, files in os.walk(output, topdown=False):
        for name in files:
            os.utime(os.path.join(folder, name), (epoch, epoch), follow_symlinks=False)
        if folder != output:
            os.chmod(folder, 0o755)
        os.utime(folder, (epoch, epoch))


def wheels_in(folder: str) -> list[str]:
    """The wheels that a build has left in a folder."""
    return [os.path.join(folder, name) for name in sorted(os.listdir(folder)) if name.endswith(".whl")]


def main(arguments: list[str]) -> None:
    output, venv, epoch, wheels = arguments[0], arguments[1], int(arguments[2]), arguments[3:]
    os.umask(0o022)
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    most = MEMORY if hard == resource.RLIM_INFINITY else min(MEMORY, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    environment = Environment(output, venv)
    modules: list[str] = []
    for wheel in (found for given in wheels for found in (wheels_in(given) if os.path.isdir(given) else [given])):
        try:
            modules += install(wheel, environment)
        except REFUSED as error:
            sys.exit("%s cannot be installed: %s" % (os.path.basename(wheel), " ".join(str(error).split())))
    warnings.simplefilter("ignore")  # about the style of what others wrote
    compile_all(environment, [name for name in sorted(set(modules)) if wanted(name, environment.site)])
    settle(output, epoch)


if __name__ == "__main__":
    main(sys.argv[1:])
