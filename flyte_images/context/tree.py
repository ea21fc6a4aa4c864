"""Scan a local file or folder: the entries that go into an image, and their digest.

The digest covers paths, contents, the owner's x bit and the targets of links. It does not cover times, owners, other
mode bits, hard links and the order in a directory.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import SpecError
from ..store.cache_dir import TAG, is_cache
from .file_index import Index
from .ignore import DEFAULT_IGNORE, Ignore, Matched, parse_ignore

_FORMAT = b"flyte-images context 1\n"  # changes when the same tree is packed into other bytes
_CHUNK = 1 << 20
_TRIES = 3
_TAG = b"/" + TAG.encode()
_NO_WAIT = (
    os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
)  # refuses a link or pipe that has replaced the file


@dataclass(slots=True)
class Entry:
    """One entry of a tree. path: bytes, relative to the root; empty for the entry of a single file."""

    path: bytes
    kind: str  # "d", "f" or "l"
    status: os.stat_result
    target: bytes = b""  # of a link
    digest: bytes = b""  # of a file's content; empty until it is known

    @property
    def is_executable(self) -> bool:
        return bool(self.status.st_mode & stat.S_IXUSR)


@dataclass(frozen=True, slots=True)
class Tree:
    """The entries below `root`, sorted by the bytes of their paths."""

    root: bytes
    entries: Sequence[Entry]

    def path_of(self, entry: Entry) -> bytes:
        """Return the path of the entry on this machine."""
        return self.root + b"/" + entry.path if entry.path else self.root


def scan(path: str | os.PathLike[str], patterns: Sequence[str] = ()) -> Tree:
    """Scan a file, or a folder without its ignored entries. Follow a link only if it is `path` itself.

    Raise SpecError if something cannot be read or is neither file, folder nor link.
    """
    root = os.fsencode(path)
    try:
        status = Path(path).stat()
    except OSError as error:
        raise _refused(root, error) from None
    if stat.S_ISREG(status.st_mode):
        return Tree(os.path.realpath(root), [Entry(b"", "f", status)])
    if not stat.S_ISDIR(status.st_mode):
        raise SpecError(f"`{_shown(root)}` is neither a file nor a folder")
    caches: set[bytes] = set()
    entries = list(_walk(root, Ignore([*DEFAULT_IGNORE, *_own_rules(root), *patterns]), caches))
    if caches:
        entries = [entry for entry in entries if entry.path not in caches]
    entries.sort(key=lambda entry: entry.path)
    return Tree(root, entries)


def tree_digest(tree: Tree) -> str:
    """Return the digest of a tree whose file digests are known."""
    state = hashlib.sha256(_FORMAT)
    for entry in tree.entries:
        match entry.kind:
            case "f":
                content = (b"x" if entry.is_executable else b"-") + entry.digest
            case "l":
                content = entry.target
            case _:
                content = b""
        for part in (entry.kind.encode(), entry.path, content):
            state.update(len(part).to_bytes(8) + part)
    return f"sha256:{state.hexdigest()}"


def is_known(tree: Tree, index: Index) -> bool:
    """Set the digests that the index knows. Return whether all are known."""
    for entry in tree.entries:
        if entry.kind == "f" and not entry.digest:
            entry.digest = index.find(entry.path, entry.status) or b""
    return all(entry.digest for entry in tree.entries if entry.kind == "f")


def read_all(tree: Tree, index: Index) -> None:
    """Read the files whose digests are not known, and set their digests."""
    for entry in tree.entries:
        if entry.kind == "f" and not entry.digest:
            read(tree, entry, index, begin=lambda status: None, data=lambda chunk: None)


def read(
    tree: Tree, entry: Entry, index: Index, *, begin: Callable[[os.stat_result], None], data: Callable[[bytes], None]
) -> None:
    """Read a file and set its status and digest. Call `begin` with the status, then `data` with the bytes.

    If the file changes meanwhile, start again with `begin`, so the last bytes are one state of the file and never a
    mixture of two.
    """
    path = tree.path_of(entry)
    try:
        for _ in range(_TRIES):
            read_at = time.time_ns()
            descriptor = os.open(path, _NO_WAIT)
            try:
                settled = index.settle(descriptor)
                before = os.fstat(descriptor)
                digest = _read(descriptor, before, begin, data)
                if digest is not None and _same(before, os.fstat(descriptor)):
                    entry.status, entry.digest = before, digest
                    index.add(entry.path, before, digest, read_at=read_at, settled=settled)
                    return
            finally:
                os.close(descriptor)
    except OSError as error:
        raise _refused(path, error) from None
    raise SpecError(
        f"`{_shown(path)}` changes while it is read",
        hint="stop the program that writes it, or ignore it in .dockerignore",
    )


def _read(
    descriptor: int, status: os.stat_result, begin: Callable[[os.stat_result], None], data: Callable[[bytes], None]
) -> bytes | None:
    if not stat.S_ISREG(status.st_mode):
        return None
    begin(status)
    state = hashlib.sha256()
    left = status.st_size
    while left:
        chunk = os.read(descriptor, min(left, _CHUNK))
        if not chunk:  # the file was truncated
            return None
        state.update(chunk)
        data(chunk)
        left -= len(chunk)
    return state.digest()


def _same(before: os.stat_result, after: os.stat_result) -> bool:
    return (before.st_size, before.st_mtime_ns, before.st_ctime_ns) == (
        after.st_size,
        after.st_mtime_ns,
        after.st_ctime_ns,
    )


def _walk(root: bytes, ignore: Ignore, caches: set[bytes]) -> Iterator[Entry]:
    """Yield the entries of a folder, unsorted. An ignored folder is yielded if an entry below it is.

    Cache directories of this package are added to `caches`, and nothing below them is yielded.
    """
    todo: list[tuple[bytes, Matched, tuple[Entry, ...]]] = [(b"", (), ())]
    yielded: set[bytes] = set()
    while todo:
        folder, inherited, ignored_above = todo.pop()
        listed = list(_list(root, folder))
        if folder and _is_cache(root + b"/" + folder, listed):
            caches.add(folder)
            continue
        for entry in listed:
            is_ignored, matched = ignore.match(os.fsdecode(entry.path), inherited)
            above = ignored_above
            if is_ignored:
                above = (*above, entry)
            else:
                for parent in above:
                    if parent.path not in yielded:
                        yielded.add(parent.path)
                        yield parent
                above = ()
                yield _usable(root, entry)
            if entry.kind == "d" and (not is_ignored or ignore.may_include_below(os.fsdecode(entry.path))):
                todo.append((entry.path, matched, above))


def _list(root: bytes, folder: bytes) -> Iterator[Entry]:
    path = root + b"/" + folder if folder else root
    try:
        with os.scandir(path) as items:
            for item in items:
                name = folder + b"/" + item.name if folder else item.name
                status = item.stat(follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode):
                    yield Entry(name, "d", status)
                elif stat.S_ISLNK(status.st_mode):
                    yield Entry(name, "l", status, target=os.readlink(item.path))  # noqa: PTH115 - bytes
                else:
                    yield Entry(name, "f", status)
    except OSError as error:
        raise _refused(error.filename or path, error) from None


def _is_cache(path: bytes, listed: Sequence[Entry]) -> bool:
    return any(entry.path.endswith(_TAG) for entry in listed) and is_cache(path)


def _usable(root: bytes, entry: Entry) -> Entry:
    mode = entry.status.st_mode
    if entry.kind == "f" and not stat.S_ISREG(mode):
        what = "a socket" if stat.S_ISSOCK(mode) else "a pipe" if stat.S_ISFIFO(mode) else "a device"
        raise SpecError(
            f"`{_shown(root + b'/' + entry.path)}` is {what}; images hold only files, folders and links",
            hint="remove it, or ignore it in .dockerignore",
        )
    return entry


def _own_rules(root: bytes) -> list[str]:
    path = root + b"/.dockerignore"
    try:
        return parse_ignore(os.fsdecode(Path(os.fsdecode(path)).read_bytes()))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _refused(path, error) from None


def _refused(path: bytes | str, error: OSError) -> SpecError:
    hint = {
        FileNotFoundError: "check the path; if it existed at the start, a program removes files meanwhile",
        PermissionError: "make it readable, or ignore it in .dockerignore",
    }.get(type(error))
    return SpecError(f"`{_shown(path)}` cannot be read: {error.strerror}", hint=hint)


def _shown(path: bytes | str) -> str:
    """Return a path as text, whatever its bytes."""
    return os.fsdecode(path).encode(errors="backslashreplace").decode()
