"""A proxy that stands between an S3 client and the server and breaks what it is told to break."""

import http.client
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest

Fault = str | None  # "503", "403", "reset" (before an answer), "cut" (after half of the body), "hang" (2 s), None


class Proxy:
    """Forwards each request unless `decide(number, method, path)` names a fault for it."""

    def __init__(self, upstream: str) -> None:
        self.requests: list[tuple[str, str]] = []
        self.decide: Callable[[int, str, str], Fault] = lambda number, method, path: None
        target = urlsplit(upstream)
        proxy = self
        lock = threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def forward(self) -> None:
                with lock:
                    proxy.requests.append((self.command, self.path))
                    fault = proxy.decide(len(proxy.requests), self.command, self.path)
                body = self.body()
                if fault == "503":
                    answer = b"<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"
                    self.answer(503, {"Content-Type": "application/xml"}, answer)
                elif fault == "403":
                    self.answer(403, {}, b"")
                elif fault in ("reset", "hang"):
                    time.sleep(2 if fault == "hang" else 0)
                    self.reset()
                else:
                    self.pass_on(body, cut=fault == "cut")

            def pass_on(self, body: bytes, cut: bool) -> None:
                upward = http.client.HTTPConnection(target.hostname or "", target.port, timeout=30)
                hidden = ("transfer-encoding", "content-length", "expect", "connection")
                upward.request(
                    self.command, self.path, body, {k: v for k, v in self.headers.items() if k.lower() not in hidden}
                )
                found = upward.getresponse()
                data = found.read()
                headers = {k: v for k, v in found.getheaders() if k.lower() not in ("transfer-encoding", "connection")}
                self.answer(found.status, headers, data, cut)
                upward.close()

            def body(self) -> bytes:
                if self.headers.get("Transfer-Encoding") != "chunked":
                    return self.rfile.read(int(self.headers.get("Content-Length") or 0))
                data = b""
                while size := int(self.rfile.readline().split(b";")[0], 16):
                    data += self.rfile.read(size)
                    self.rfile.readline()
                while self.rfile.readline().strip():  # trailing headers
                    pass
                return data

            def answer(self, status: int, headers: dict[str, str], data: bytes, cut: bool = False) -> None:
                self.send_response(status)
                for key, value in headers.items():
                    if key.lower() != "content-length":
                        self.send_header(key, value)
                length = headers.get("Content-Length", str(len(data))) if self.command == "HEAD" else str(len(data))
                self.send_header("Content-Length", length)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data[: len(data) // 2] if cut else data)
                if cut:
                    self.wfile.flush()
                    self.reset()

            def reset(self) -> None:
                linger = struct.pack("ii", 1, 0)  # close with a reset, not with an orderly end
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = forward  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def proxy(s3: str, s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """The environment leads S3 clients through it; use it together with `s3`."""
    made = Proxy(s3_endpoint)
    monkeypatch.setenv("AWS_ENDPOINT_URL", made.url)
    yield made
    made.server.shutdown()
    made.server.server_close()
