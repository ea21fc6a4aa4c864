"""A package index on the loopback interface, with wheels made on the spot, and faults where they are wanted."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Index:
    """Serve it with `serve`; `url` is what UV_DEFAULT_INDEX takes."""

    files: dict[str, bytes] = field(default_factory=dict)
    lies: set[str] = field(default_factory=set)  # files of which another hash is told
    url: str = ""

    def add(
        self,
        name: str,
        version: str = "1.0",
        *,
        requires: Sequence[str] = (),
        tag: str = "py3-none-any",
        lie: bool = False,
    ) -> None:
        """Put a wheel into the index: a package with one module of that name, which says its version."""
        filename = f"{name}-{version}-{tag}.whl"
        self.files[filename] = _wheel(name, version, requires, tag)
        if lie:
            self.lies.add(filename)

    def page(self, name: str) -> str | None:
        """The index's page of one project."""
        links = []
        for filename, data in self.files.items():
            if filename.split("-")[0].replace("_", "-") == name:
                digest = hashlib.sha256(data + b"x" if filename in self.lies else data).hexdigest()
                links.append(f'<a href="/files/{filename}#sha256={digest}">{filename}</a>')
        return f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>" if links else None


def _wheel(name: str, version: str, requires: Sequence[str], tag: str) -> bytes:
    info = f"{name}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {it}\n" for it in requires)
    members = {
        f"{name}.py": f'VERSION = "{version}"\n',
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    record = "".join(f"{path},sha256={_short(text)},{len(text)}\n" for path, text in members.items())
    members[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path, text in members.items():
            archive.writestr(zipfile.ZipInfo(path), text)
    return packed.getvalue()


def _short(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


@contextlib.contextmanager
def serve() -> Iterator[Index]:
    """An empty index that answers as long as the block lasts."""
    index = Index()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            kind, _, rest = self.path.strip("/").partition("/")
            page = index.page(rest) if kind == "simple" else None
            body = page.encode() if page else index.files.get(rest) if kind == "files" else None
            self.send_response(200 if body is not None else 404)
            self.send_header("Content-Type", "text/html" if page else "application/octet-stream")
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        index.url = f"http://127.0.0.1:{server.server_address[1]}/simple"
        yield index
        server.shutdown()
