"""A registry on the loopback interface that can also misbehave: the pushes and pulls of these tests are real ones."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import secrets
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

_PATH = re.compile(r"/v2/(?P<name>.+)/(?P<kind>manifests|blobs)/(?P<rest>.*)")


@dataclass
class Registry:
    """What it holds, who may use it (`auth`: "", "basic" or "bearer"), and `fault`: a status instead of an answer."""

    auth: str = ""
    login: tuple[str, str] = ("robot", "s3cret")
    fault: Callable[[str, str], int | None] = lambda method, path: None
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    tokens: set[str] = field(default_factory=set)
    requests: list[str] = field(default_factory=list)
    address: str = ""
    hanging: threading.Event = field(default_factory=threading.Event)

    def allows(self, header: str) -> bool:
        if self.auth == "basic":
            return header == "Basic " + base64.b64encode(":".join(self.login).encode()).decode()
        return not self.auth or header.removeprefix("Bearer ") in self.tokens


@contextlib.contextmanager
def serve(registry: Registry) -> Iterator[Registry]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(registry))
    server.daemon_threads = False
    registry.address = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield registry
    finally:
        registry.hanging.set()
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(registry: Registry) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 0.3
        uploads: dict[str, bytearray] = {}

        def log_message(self, format: str, *args: object) -> None:
            registry.requests.append(format % args)

        def parse_request(self) -> bool:
            if self.raw_requestline.startswith(
                b"\x16"
            ):  # TLS: answer as servers do, so that the engine goes on in HTTP
                self.wfile.write(b"HTTP/1.0 400 Bad Request\r\n\r\n")
                self.close_connection = True
                return False
            return super().parse_request()

        def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            if "Content_Length" not in headers:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            data = b""
            while size := int(self.rfile.readline(), 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return data

        def serve_one(self) -> None:
            url = urlsplit(self.path)
            body = self.body()
            if url.path == "/token":
                return self.token(url.query, body)
            status = registry.fault(self.command, url.path)
            if status == 0:
                registry.hanging.wait(120)
                self.close_connection = True
                return None
            if status is not None:
                return self.answer(status, b'{"errors":[{"code":"DENIED","message":"injected"}]}')
            if not registry.allows(self.headers.get("Authorization", "")):
                bearer = f'Bearer realm="http://{registry.address}/token",service="test",scope="repository:x:pull,push"'
                challenge = bearer if registry.auth == "bearer" else 'Basic realm="test"'
                return self.answer(401, b'{"errors":[{"code":"UNAUTHORIZED"}]}', WWW_Authenticate=challenge)
            if url.path == "/v2/":
                return self.answer(200)
            match = _PATH.fullmatch(url.path)
            if match is None:
                return self.answer(404)
            if match["kind"] == "manifests":
                return self.manifest(match["name"], match["rest"], body)
            if match["rest"].startswith("uploads/"):
                return self.upload(match["name"], match["rest"], parse_qs(url.query), body)
            return self.blob(match["rest"])

        def token(self, query: str, body: bytes) -> None:
            fields = parse_qs(body.decode()) if self.command == "POST" else parse_qs(query)
            basic = "Basic " + base64.b64encode(":".join(registry.login).encode()).decode()
            given = (fields.get("username", [""])[0], fields.get("password", [""])[0])
            refresh = fields.get("refresh_token", [""])[0]
            if self.headers.get("Authorization") != basic and given != registry.login and refresh != registry.login[1]:
                return self.answer(401)
            registry.tokens.add(token := secrets.token_hex(8))
            return self.answer(200, json.dumps({"token": token, "access_token": token, "expires_in": 300}).encode())

        def manifest(self, name: str, ref: str, body: bytes) -> None:
            if self.command == "PUT":
                digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
                kind = self.headers["Content-Type"]
                registry.manifests[f"{name}:{ref}"] = registry.manifests[f"{name}:{digest}"] = kind, body
                return self.answer(201, Docker_Content_Digest=digest)
            if f"{name}:{ref}" not in registry.manifests:
                return self.answer(404, b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}')
            kind, data = registry.manifests[f"{name}:{ref}"]
            digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
            return self.answer(
                200, data, Content_Type=kind, Docker_Content_Digest=digest, Content_Length=str(len(data))
            )

        def upload(self, name: str, rest: str, query: dict[str, list[str]], body: bytes) -> None:
            key = rest.removeprefix("uploads/") or secrets.token_hex(8)
            held = self.uploads.setdefault(key, bytearray())
            held += body
            if digest := query.get("digest", [""])[0]:
                if f"sha256:{hashlib.sha256(held).hexdigest()}" != digest:
                    return self.answer(400, b'{"errors":[{"code":"DIGEST_INVALID"}]}')
                registry.blobs[digest] = bytes(self.uploads.pop(key))
                return self.answer(201, Docker_Content_Digest=digest)
            return self.answer(202, Location=f"/v2/{name}/blobs/uploads/{key}", Range=f"0-{max(0, len(held) - 1)}")

        def blob(self, digest: str) -> None:
            if digest not in registry.blobs:
                return self.answer(404, b'{"errors":[{"code":"BLOB_UNKNOWN"}]}')
            data = registry.blobs[digest]
            return self.answer(200, data, Docker_Content_Digest=digest, Content_Length=str(len(data)))

        do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = serve_one  # noqa: N815 - the names that http.server calls

    return Handler
