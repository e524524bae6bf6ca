"""A stand-in for Google Cloud Storage on loopback, in a process of its own: pyarrow holds the GIL while it waits."""

import base64
import http.client
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from json import dumps
from typing import Any, ClassVar
from urllib.parse import parse_qs, quote, unquote, urlsplit

import pytest

BUCKET = "bkt"
TIME = "2026-11-20T12:00:00.000Z"


class FakeGcs:
    """What a test sees of it: one bucket."""

    uri = f"gs://{BUCKET}"

    def __init__(self, port: int) -> None:
        self._port = port

    def put(self, **objects: bytes) -> None:
        """Put objects, by name."""
        for name, data in objects.items():
            self._ask("PUT", f"/{quote(name, safe='')}", data)

    def fail(self, status: int) -> None:
        """Answer everything with this status from now on."""
        self._ask("DELETE", f"/{status}", b"")

    def _ask(self, method: str, path: str, body: bytes) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port)
        connection.request(method, path, body)
        connection.getresponse().read()
        connection.close()


class _Handler(BaseHTTPRequestHandler):
    """The JSON API as far as listing and reading go; PUT and DELETE are for the test."""

    protocol_version = "HTTP/1.1"
    objects: ClassVar[dict[str, bytes]] = {}
    status = 0

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query, keep_blank_values=True).items()}
        top = f"/storage/v1/b/{BUCKET}"
        name = unquote(url.path.removeprefix(f"{top}/o/"))
        if self.status:
            self.answer(self.status, b"{}")
        elif url.path == f"{top}/o":
            self.answer(200, _json(self.listed(query.get("prefix", ""), query.get("delimiter", ""))))
        elif url.path == top:
            self.answer(200, _json({"kind": "storage#bucket", "id": BUCKET, "name": BUCKET}))
        elif name not in self.objects:
            self.answer(404, b'{"error": {"code": 404, "message": "Not Found"}}')
        elif query.get("alt") == "media":
            self.media(self.objects[name])
        else:
            self.answer(200, _json(self.resource(name)))

    def do_PUT(self) -> None:
        self.objects[unquote(self.path[1:])] = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(200, b"")

    def do_DELETE(self) -> None:
        type(self).status = int(self.path[1:])
        self.answer(200, b"")

    def resource(self, name: str) -> dict[str, Any]:
        return {
            **{"kind": "storage#object", "id": f"{BUCKET}/{name}/1", "name": name, "bucket": BUCKET},
            **{"generation": "1", "metageneration": "1", "storageClass": "STANDARD", "etag": "1"},
            **{"size": str(len(self.objects[name])), "timeCreated": TIME, "updated": TIME},
            **{"contentType": "application/octet-stream", "crc32c": _crc32c(self.objects[name])},
        }

    def listed(self, prefix: str, delimiter: str) -> dict[str, Any]:
        items, prefixes = [], set()
        for name in sorted(self.objects):
            rest = name.removeprefix(prefix)
            if not name.startswith(prefix):
                continue
            if delimiter and delimiter in rest:
                prefixes.add(prefix + rest.partition(delimiter)[0] + delimiter)
            else:
                items.append(self.resource(name))
        return {"kind": "storage#objects", "items": items, "prefixes": sorted(prefixes)}

    def media(self, data: bytes) -> None:
        headers = {"x-goog-generation": "1", "x-goog-stored-content-length": str(len(data))}
        begin, end = 0, len(data) - 1
        if wanted := self.headers.get("Range"):
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            begin = int(first) if first else max(0, len(data) - int(last))
            end = min(end, int(last)) if first and last else end
            headers["Content-Range"] = f"bytes {begin}-{end}/{len(data)}"
        self.answer(206 if wanted else 200, data[begin : end + 1], headers)

    def answer(self, code: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(code)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def _json(value: dict[str, Any]) -> bytes:
    return dumps(value).encode()


def _crc32c(data: bytes) -> str:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return base64.b64encode((crc ^ 0xFFFFFFFF).to_bytes(4, "big")).decode()


@pytest.fixture
def gcs(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGcs]:
    """An empty bucket, to which pyarrow's client for gs:// is led."""
    from clipfake.storage import uri as uris

    server = subprocess.Popen([sys.executable, __file__], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    port = int(server.stdout.readline())
    monkeypatch.setenv(uris.EMULATOR, f"http://127.0.0.1:{port}")
    monkeypatch.setattr(uris, "RETRY_TIME_LIMIT_S", 0.5)
    uris._connect.cache_clear()
    yield FakeGcs(port)
    uris._connect.cache_clear()
    server.kill()
    server.wait()


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    print(server.server_port, flush=True)
    server.serve_forever()
