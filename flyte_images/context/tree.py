"""A file or folder on this machine -> what of it goes into an image, entry by entry, and the digest of that.

Part of it are paths, contents, the owner's x bit and what links say. Times, owners, other mode bits, hard links and
the order in a directory are not.
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

_FORMAT = b"flyte-images context 1\n"  # another one, when the same tree is packed into other bytes
_CHUNK = 1 << 20
_TRIES = 3
_TAG = b"/" + TAG.encode()
_NO_WAIT = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # a link or pipe put there meanwhile is refused


@dataclass(slots=True)
class Entry:
    """One path of a tree, as bytes from its root; the tree of a single file has one, which is empty."""

    path: bytes
    kind: str  # "d", "f" or "l"
    status: os.stat_result
    target: bytes = b""  # of a link
    digest: bytes = b""  # of a file's content, when it is known

    @property
    def is_executable(self) -> bool:
        return bool(self.status.st_mode & stat.S_IXUSR)


@dataclass(frozen=True, slots=True)
class Tree:
    """What was found at `root`: entries in the order of their paths' bytes, contents not read yet."""

    root: bytes
    entries: Sequence[Entry]

    def place(self, entry: Entry) -> bytes:
        """Where the entry lies on this machine."""
        return self.root + b"/" + entry.path if entry.path else self.root


def scan(path: str | os.PathLike[str], patterns: Sequence[str] = ()) -> Tree:
    """Look at a file, or at a folder and what its ignore rules leave of it. Follows a link only if it is `path`."""
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
    """The digest of a tree whose files' digests are known."""
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
    """Fill in the digests that the index knows; whether that was all of them."""
    for entry in tree.entries:
        if entry.kind == "f" and not entry.digest:
            entry.digest = index.find(entry.path, entry.status) or b""
    return all(entry.digest for entry in tree.entries if entry.kind == "f")


def read_all(tree: Tree, index: Index) -> None:
    """Read the files whose digests are not known."""
    for entry in tree.entries:
        if entry.kind == "f" and not entry.digest:
            read(tree, entry, index, begin=lambda status: None, data=lambda chunk: None)


def read(
    tree: Tree, entry: Entry, index: Index, *, begin: Callable[[os.stat_result], None], data: Callable[[bytes], None]
) -> None:
    """Read a file and note its status and digest. `begin` is told the status, then `data` gets exactly its bytes.

    When the file changes meanwhile it is read again from `begin` on, so that what was read last is one state of it and
    never a mixture of two.
    """
    place = tree.place(entry)
    try:
        for _ in range(_TRIES):
            read_at = time.time_ns()
            descriptor = os.open(place, _NO_WAIT)
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
        raise _refused(place, error) from None
    raise SpecError(
        f"`{_shown(place)}` changes while it is read", hint="stop what writes to it, or ignore it in .dockerignore"
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
        if not chunk:  # it has become shorter
            return None
        state.update(chunk)
        data(chunk)
        left -= len(chunk)
    return state.digest()


def _same(one: os.stat_result, two: os.stat_result) -> bool:
    return (one.st_size, one.st_mtime_ns, one.st_ctime_ns) == (two.st_size, two.st_mtime_ns, two.st_ctime_ns)


def _walk(root: bytes, ignore: Ignore, caches: set[bytes]) -> Iterator[Entry]:
    """The entries of a folder, in no order. An ignored folder is there if something in it is.

    The folders that are caches of this package are added to `caches`; of what is in them there is nothing.
    """
    todo: list[tuple[bytes, Matched, tuple[Entry, ...]]] = [(b"", (), ())]
    told: set[bytes] = set()
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
                    if parent.path not in told:
                        told.add(parent.path)
                        yield parent
                above = ()
                yield _usable(root, entry)
            if entry.kind == "d" and (not is_ignored or ignore.may_take_back_below(os.fsdecode(entry.path))):
                todo.append((entry.path, matched, above))


def _list(root: bytes, folder: bytes) -> Iterator[Entry]:
    place = root + b"/" + folder if folder else root
    try:
        with os.scandir(place) as found:
            for item in found:
                path = folder + b"/" + item.name if folder else item.name
                status = item.stat(follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode):
                    yield Entry(path, "d", status)
                elif stat.S_ISLNK(status.st_mode):
                    yield Entry(path, "l", status, target=os.readlink(item.path))  # noqa: PTH115 - bytes
                else:
                    yield Entry(path, "f", status)
    except OSError as error:
        raise _refused(error.filename or place, error) from None


def _is_cache(place: bytes, listed: Sequence[Entry]) -> bool:
    return any(entry.path.endswith(_TAG) for entry in listed) and is_cache(place)


def _usable(root: bytes, entry: Entry) -> Entry:
    mode = entry.status.st_mode
    if entry.kind == "f" and not stat.S_ISREG(mode):
        what = "a socket" if stat.S_ISSOCK(mode) else "a pipe" if stat.S_ISFIFO(mode) else "a device"
        raise SpecError(
            f"`{_shown(root + b'/' + entry.path)}` is {what}: an image holds files, folders and links",
            hint="remove it, or ignore it in .dockerignore",
        )
    return entry


def _own_rules(root: bytes) -> list[str]:
    place = root + b"/.dockerignore"
    try:
        return parse_ignore(os.fsdecode(Path(os.fsdecode(place)).read_bytes()))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _refused(place, error) from None


def _refused(place: bytes | str, error: OSError) -> SpecError:
    hint = {
        FileNotFoundError: "it was there if this run began with it: is something removing files? else check the path",
        PermissionError: "make it readable, or ignore it in .dockerignore",
    }.get(type(error))
    return SpecError(f"`{_shown(place)}` cannot be read: {error.strerror}", hint=hint)


def _shown(place: bytes | str) -> str:
    """A path for people, whatever its bytes."""
    return os.fsdecode(place).encode(errors="backslashreplace").decode()
