"""A package index on the loopback interface, with made-up packages; it can ask for a login, lie, and be away."""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import io
import json
import tarfile
import threading
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

_SIMPLE = "application/vnd.pypi.simple.v1+json"


def wheel_bytes(name: str, version: str, files: Mapping[str, str | bytes], requires: Sequence[str] = ()) -> bytes:
    """A pure wheel of these files, the same bytes every time."""
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    lines = [f"Requires-Dist: {it}" for it in requires]
    metadata = {
        f"{info}/METADATA": "\n".join(("Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *lines, "")),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: made-up\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": "",
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in {**files, **metadata}.items():
            archive.writestr(zipfile.ZipInfo(member, (2001, 2, 3, 4, 5, 6)), content, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def archive(files: Mapping[str, str], form: str) -> bytes:
    """A .tar.gz or .zip of these files, the same bytes every time."""
    out = io.BytesIO()
    if form == "zip":
        with zipfile.ZipFile(out, "w") as packed:
            for name, text in files.items():
                packed.writestr(zipfile.ZipInfo(name, (2001, 2, 3, 4, 5, 6)), text)
        return out.getvalue()
    with gzip.GzipFile(fileobj=out, mode="wb", mtime=0) as zipped, tarfile.open(fileobj=zipped, mode="w") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    return out.getvalue()


@dataclass
class Index:
    """`login` is what it asks for (for files too, if it `guards_files`); for a file name in `lies` it serves bytes that
    its hash does not say; a name in `faults` gets that status, one in `moved` another address; without `parts` it sends
    whole files only. `requests` are the paths that were asked for, `looks` those of which a part was, `logins` what was
    sent with both."""

    login: tuple[str, str] | None = None
    guards_files: bool = True
    lies: set[str] = field(default_factory=set)
    faults: dict[str, int] = field(default_factory=dict)
    moved: dict[str, str] = field(default_factory=dict)
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    metadata: dict[str, bytes] = field(default_factory=dict)
    parts: bool = True
    requests: list[str] = field(default_factory=list)
    looks: list[str] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    address: str = ""

    @property
    def url(self) -> str:
        return f"http://{self.address}/simple"

    @property
    def url_with_login(self) -> str:
        user, word = self.login or ("", "")
        return f"http://{user}:{word}@{self.address}/simple"

    def add(
        self,
        name: str,
        version: str = "1.0",
        files: Mapping[str, str | bytes] | None = None,
        *,
        requires: Sequence[str] = (),
        tag: str = "py3-none-any",
    ) -> str:
        """Offer one more wheel; return its file name."""
        module = name.replace("-", "_")
        content = wheel_bytes(name, version, files or {f"{module}/__init__.py": f"VERSION = {version!r}\n"}, requires)
        filename = f"{module}-{version}-{tag}.whl"
        self.files.setdefault(name, {})[filename] = content
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            self.metadata[filename] = archive.read(f"{module}-{version}.dist-info/METADATA")
        return filename

    def add_source(self, name: str, version: str, files: Mapping[str, str], *, form: str = "tar.gz") -> str:
        """Offer a source distribution with these files; return its file name."""
        folder = f"{name.replace('-', '_')}-{version}"
        content = archive({f"{folder}/{path}": text for path, text in files.items()}, form)
        self.files.setdefault(name, {})[f"{folder}.{form}"] = content
        return f"{folder}.{form}"

    def page(self, name: str) -> bytes:
        entries = [
            {
                "filename": filename,
                "url": f"/files/{filename}",
                "hashes": {"sha256": hashlib.sha256(content).hexdigest()},
                "size": len(content),
                "core-metadata": self._said_of(filename),
                "upload-time": "2024-01-01T00:00:00Z",
            }
            for filename, content in self.files[name].items()
        ]
        return json.dumps({"meta": {"api-version": "1.1"}, "name": name, "files": entries}).encode()

    def _said_of(self, filename: str) -> dict[str, str] | bool:
        text = self.metadata.get(filename)
        return False if text is None else {"sha256": hashlib.sha256(text).hexdigest()}

    @property
    def fetched(self) -> list[str]:
        """The wheels that were fetched, in that order."""
        return [path.removeprefix("/files/") for path in self.requests if path.endswith(".whl")]

    def answer(self, path: str) -> tuple[int, str, bytes]:
        kind, _, name = path.strip("/").partition("/")
        if name in self.faults:
            return self.faults[name], "text/plain", b"injected"
        if name in self.moved:
            return 302, self.moved[name], b""
        if kind == "simple" and name in self.files:
            return 200, _SIMPLE, self.page(name)
        known = {file: content for files in self.files.values() for file, content in files.items()}
        if kind == "files" and name.removesuffix(".metadata") in self.metadata and name.endswith(".metadata"):
            return 200, "text/plain", self.metadata[name.removesuffix(".metadata")]
        if kind == "files" and name in known:
            return 200, "application/zip", known[name] + (b"lie" if name in self.lies else b"")
        return 404, "text/plain", b"no such thing"

    def allows(self, path: str, header: str) -> bool:
        if self.login is None or (path.startswith("/files/") and not self.guards_files):
            return True
        return header == "Basic " + base64.b64encode(":".join(self.login).encode()).decode()


@contextlib.contextmanager
def serve(index: Index) -> Iterator[Index]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(index))
    index.address = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield index
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(index: Index) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 0.5

        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            part = self.headers.get("Range", "")
            (index.looks if part else index.requests).append(path)
            index.logins.append(self.headers.get("Authorization", ""))
            if index.allows(path, self.headers.get("Authorization", "")):
                status, kind, body = index.answer(path)
            else:
                status, kind, body = 401, "text/plain", b"who are you"
            whole, begin = len(body), 0
            if part and status == 200 and index.parts:
                first, _, last = part.removeprefix("bytes=").partition("-")
                begin = int(first) if first else max(whole - int(last), 0)
                status, body = 206, body[begin : int(last) + 1] if first and last else body[begin:]
            self.send_response(status)
            if status == 206:
                self.send_header("Content-Range", f"bytes {begin}-{begin + len(body) - 1}/{whole}")
            if status == 401:
                self.send_header("WWW-Authenticate", 'Basic realm="index"')
            self.send_header("Location" if status == 302 else "Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815 - the name that http.server calls

    return Handler
