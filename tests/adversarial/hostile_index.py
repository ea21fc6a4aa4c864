"""A package index that attacks: its answers follow from a number alone.

A case is a name under which a file is offered, an address, a content, and a way to send it. The grammar is below: each
rule is a list of choices, and `random.Random(n)` draws those of case `n`.
"""

from __future__ import annotations

import bz2
import contextlib
import functools
import gzip
import hashlib
import io
import json
import random
import socket
import struct
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.fakes.package_index import wheel_bytes

WHEEL, SDIST = "alpha-1.0-py3-none-any.whl", "alpha-1.0.tar.gz"
_JSON = "application/vnd.pypi.simple.v1+json"
_INFO = "alpha-1.0.dist-info"

# The end of an address; `{outside}` is the quoted path of a file that the client must not write.
NAMES = [
    *(
        "%2f{outside}",
        "..%2f..%2f..%2f..%2f..%2f..%2f{outside}",
        "%2e%2e%2f%2e%2e%2fpwned",
        "..%5c..%5cpwned",
        "%00",
        "",
    ),
    *("x%0d%0aSet-Cookie:%20a=b", "%E2%80%AEpwned.whl", "%EF%BC%8F{outside}", ".", "..", "%2e%2e", "-rf", "~root"),
    *("a" * 300, "a" * 5000, "beta-1.0-py3-none-any.whl", "alpha-9.9.tar.gz", "alpha-1.0-py3-none-..%2f..%2fx.whl"),
    *("alpha-1.0%00-py3-none-any.whl", "alpha-1.0-py3-none-any.whl%2f..%2f..%2f..%2fpwned", "$(touch%20pwned)", "a;b"),
    *("%1b]0;pwned%07.whl", "authorized_keys", ".bashrc", "con", "alpha-1.0.tar.gz%2f", "%c3%28.whl"),
]


@functools.cache
def contents() -> dict[str, bytes]:
    """Return the contents of files, by the attack."""
    plain = {
        f"{_INFO}/METADATA": "Metadata-Version: 2.1\nName: alpha\nVersion: 1.0\n",
        f"{_INFO}/WHEEL": "",
        "a.py": "",
    }
    points = f"{_INFO}/entry_points.txt"
    zeros = b"\0" * (8 << 20)
    wheel = wheel_bytes("alpha", "1.0", {"alpha.py": "x = 1\n"})
    good = _tar({"alpha-1.0/pyproject.toml": b'[build-system]\nrequires = ["setuptools"]\n'})
    return {
        "wheel": wheel,
        "points bomb": _zip({**plain, points: zeros * 16}),
        "points bomb in bzip2": _zip({**plain, points: zeros}, zipfile.ZIP_BZIP2),
        "points bomb in lzma": _zip({**plain, points: zeros}, zipfile.ZIP_LZMA),
        "points of another form": _zip({**plain, points: b"\xff\xfe[[[\n= =\n"}),
        "many members": _zip({**plain, **{f"m/{number:06d}": "" for number in range(40_000)}}, zipfile.ZIP_STORED),
        "paths": _zip({**plain, "../../pwned": "x", "/etc/pwned": "x", f"{'d/' * 500}x": ""}),
        "twice": _twice(plain),
        "no info": _zip({"a.py": ""}),
        "table of a lie": wheel[:-10] + struct.pack("<II", 0x7FFFFFFF, 12) + wheel[-2:],
        "table before the start": wheel[:-10] + struct.pack("<II", 12, 0x7FFFFFFF) + wheel[-2:],
        "short": wheel[:40],
        "not an archive": b"<html>who are you</html>",
        "nothing": b"",
        "sdist": good,
        "project bomb": _bomb("alpha-1.0/pyproject.toml", tarfile.REGTYPE),
        "project of a lie": _tar({"alpha-1.0/pyproject.toml": b"[build-system]\nrequires = 7\n"}),
        "project of options": _tar(
            {"alpha-1.0/pyproject.toml": b'[build-system]\nrequires = ["a\\n-r /etc/passwd"]\n'}
        ),
        "project of escapes": _tar({"alpha-1.0/pyproject.toml": b"\x1b]0;pwned\x07 = ["}),
        "paths in a tar": _tar({"/etc/pwned": b"x", "../../pwned": b"x"}),
        "header bomb": _bomb("x", tarfile.XHDTYPE),
        "tar in bzip2": bz2.compress(gzip.decompress(good)),
        "half a tar": good[: len(good) // 2],
    }


def _zip(members: dict[str, Any], form: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, form)
    return out.getvalue()


def _twice(plain: dict[str, str]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in [*plain.items(), ("a.py", "other")]:
            info = zipfile.ZipInfo("x" * len(name) if name == "a.py" else name)
            info.filename = name
            with contextlib.suppress(UserWarning):
                archive.writestr(info, content)
            archive.NameToInfo.clear()
    return out.getvalue()


def _tar(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def _bomb(name: str, kind: bytes) -> bytes:
    """Return a tar.gz whose first member has 400 MiB, made of a small piece that repeats."""
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, 400 << 20
    return gzip.compress(info.tobuf(tarfile.USTAR_FORMAT)) + gzip.compress(b"\0" * (1 << 20), 1) * 400


@dataclass(frozen=True, slots=True)
class Case:
    """One attack."""

    number: int
    end: str
    named: bool  # whether the index gives a name, so that the address does not matter
    wheel: bool
    content: str
    way: str
    hashes: str
    size: str

    @classmethod
    def of(cls, number: int) -> Case:
        draw = random.Random(number)
        wheel = draw.random() < 0.5
        kinds = [name for name in contents() if (name in _SOURCES) != wheel]
        honest = WHEEL if wheel else SDIST
        return cls(
            number=number,
            end=honest if draw.random() < 0.5 else draw.choice(NAMES),
            named=draw.random() < 0.7,
            wheel=wheel,
            content=kinds[0] if draw.random() < 0.3 else draw.choice(kinds),
            way="whole" if draw.random() < 0.5 else draw.choice(list(WAYS)),
            hashes=draw.choices(("right", "wrong", "none", "short"), (80, 10, 5, 5))[0],
            size=draw.choices(("right", "none", "huge"), (70, 20, 10))[0],
        )

    def package(self, address: str, outside: str) -> dict[str, Any]:
        """Return the package as uv reports it (a table of pylock.toml)."""
        content = contents()[self.content]
        end = self.end.format(outside=outside.lstrip("/").replace("/", "%2f"))
        sums = {"right": hashlib.sha256(content).hexdigest(), "wrong": "0" * 64, "short": "abc"}
        file: dict[str, Any] = {"url": f"http://{address}/{self.number}/{end}"}
        file |= {"name": WHEEL if self.wheel else SDIST} if self.named else {}
        file |= {"hashes": {"sha256": sums[self.hashes]}} if self.hashes in sums else {}
        file |= {"size": {"right": len(content), "huge": 1 << 62}[self.size]} if self.size != "none" else {}
        return {"name": "alpha", "version": "1.0", **({"wheels": [file]} if self.wheel else {"sdist": file})}


_SOURCES = {
    *("sdist", "project bomb", "project of a lie", "project of options", "project of escapes", "paths in a tar"),
    *("header bomb", "tar in bzip2", "half a tar"),
}

Send = Callable[[bytes], None]
Sender = Callable[[Send, bytes, str, str], None]


def _head(status: str, **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    return ("\r\n".join([*lines, "Connection: close", "", ""])).encode("latin-1", "replace")


def _whole(send: Send, content: bytes, part: str, own: str) -> None:
    size = len(content)
    if not part:
        return send(_head("200 OK", Content_Length=str(size)) + content)
    first, _, last = part.removeprefix("bytes=").partition("-")
    begin = int(first) if first else max(size - int(last), 0)
    part_of_file = content[begin : int(last) + 1] if first and last else content[begin:]
    where = f"bytes {begin}-{begin + len(part_of_file) - 1}/{size}"
    return send(_head("206 Partial Content", Content_Range=where, Content_Length=str(len(part_of_file))) + part_of_file)


def _refusal(status: str, **headers: str) -> Sender:
    body = b"<html><script>\x1b]0;pwned\x07</script>"
    return lambda send, content, part, own: send(_head(status, Content_Length=str(len(body)), **headers) + body)


def _on_to(where: str) -> Sender:
    def sender(send: Send, content: bytes, part: str, own: str) -> None:
        send(_head("302 Found", Location=where.format(own=own), Content_Length="0"))

    return sender


def _forever(head: bytes, piece: bytes, pause: float = 0.0) -> Sender:
    def sender(send: Send, content: bytes, part: str, own: str) -> None:
        send(head)
        while True:
            send(piece)
            time.sleep(pause)

    return sender


def _silent(send: Send, content: bytes, part: str, own: str) -> None:
    for _ in range(100):  # until the client has gone: then a byte cannot be sent
        time.sleep(0.05)
        send(b"")
    send(b"H")


_OK, _CHUNKED = _head("200 OK"), _head("200 OK", Transfer_Encoding="chunked")
_BIG = b"\0" * 65536

WAYS: dict[str, Sender] = {
    "whole": _whole,
    "more than announced": lambda send, content, part, own: send(_head("200 OK") + content + b"x" * 100_000),
    "less than announced": lambda send, content, part, own: send(_head("200 OK", Content_Length="9999999") + content),
    "a part too big": lambda send, content, part, own: _forever(
        _head("206 Partial Content", Content_Range="bytes 0-2097151999/2097152000", Content_Length="2097152000"), _BIG
    )(send, content, part, own),
    "a part without an end": _forever(_head("206 Partial Content", Content_Range="bytes 0-9/10"), _BIG),
    "a part of nothing": _refusal("206 Partial Content", Content_Range="bytes x-y/" + "9" * 5000),
    "a part of elsewhere": _refusal("206 Partial Content", Content_Range="bytes 7-999999999/999999999999999999"),
    "endless": _forever(_OK, _BIG),
    "endless chunks": _forever(_CHUNKED, b"10000\r\n" + _BIG + b"\r\n"),
    "endless small chunks": _forever(_CHUNKED, b"1\r\nx\r\n" * 4000),
    "endless names of chunks": _forever(_CHUNKED + b"1;", b"x" * 65536),
    "a negative chunk": lambda send, content, part, own: send(_CHUNKED + b"-5\r\nxxxxx"),
    "endless headers": _forever(b"HTTP/1.1 200 OK\r\n", b"X: " + b"x" * 1000 + b"\r\n"),
    "one endless header": _forever(b"HTTP/1.1 200 OK\r\nX: ", _BIG),
    "endless continues": _forever(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
    "slow": _forever(_OK, b"x", 0.05),
    "slow headers": _forever(b"HTTP/1.1 200 OK\r\nX: ", b"x", 0.05),
    "silent": _silent,
    "not HTTP": lambda send, content, part, own: send(b"\x1b[2J\0\xff SSH-2.0-x\r\n" * 20),
    "closed": lambda send, content, part, own: None,
    "401": _refusal("401 Unauthorized", WWW_Authenticate="Basic realm=pwned"),
    "404": _refusal("404 \x1b]0;pwned\x07"),
    "500": _refusal("500 Oh"),
    "a page": _refusal("200 OK", Content_Type="text/html"),
    "gzip": lambda send, content, part, own: send(_head("200 OK", Content_Encoding="gzip") + gzip.compress(content)),
    "sent in a circle": _on_to("http://{own}/circle"),
    "sent to a file": _on_to("file:///etc/passwd"),
    "sent to FTP": _on_to("ftp://127.0.0.1:1/x"),
    "sent to data": _on_to("data:,x"),
    "sent to nothing": _on_to(""),
    "sent to nonsense": _on_to("http://[::1/\x7f"),
    "sent to another port": _on_to("http://127.0.0.1:1/x"),
    "sent with a login": _on_to("http://me:pw@{own}/circle"),
    "sent to a long way": _on_to("http://{own}/" + "a" * 60_000),
}


@contextlib.contextmanager
def serve(way: Callable[[str], tuple[Sender, bytes]], logins: list[str]) -> Iterator[str]:
    """Answer each request by `way` of its path, and record the logins. Yield the address of the server."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    own = f"127.0.0.1:{listener.getsockname()[1]}"

    def answer(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError, ValueError):
            connection.settimeout(10)
            head = b""
            while b"\r\n\r\n" not in head and len(head) < 1 << 20:
                head += connection.recv(65536)
            lines = head.decode("latin-1").split("\r\n")
            fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
            if "authorization" in fields:
                logins.append(fields["authorization"])
            sender, content = way(lines[0].split(" ")[1])
            sender(connection.sendall, content, fields.get("range", ""), own)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield own
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def of_path(path: str) -> tuple[Sender, bytes]:
    """Return how, and with which content, a request for the path of a case is answered."""
    number = path.split("/")[1]
    if not number.isdigit():
        return _on_to("http://{own}/circle"), b""
    case = Case.of(int(number))
    return WAYS[case.way], contents()[case.content]


def page(package: dict[str, Any], address: str) -> bytes:
    """Return the page of an index (PEP 691) that offers the file of a case."""
    files = [*package.get("wheels", ()), *([package["sdist"]] if "sdist" in package else [])]
    honest = WHEEL if "wheels" in package else SDIST
    entries = [{"filename": honest, "url": it["url"], "hashes": it.get("hashes", {})} for it in files]
    return json.dumps({"meta": {"api-version": "1.1"}, "name": "alpha", "files": entries}).encode()
