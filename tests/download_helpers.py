"""An HTTP server on 127.0.0.1 with the weaknesses of real ones."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from xpnet.datasets.download import Remote


class Server(ThreadingHTTPServer):
    """Serves ``content`` by name. ``requests`` are (name, Range header); the rest says how it misbehaves."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content: dict[str, bytes] = {}
        self.requests: list[tuple[str, str | None]] = []
        self.ranges = True
        self.kind = "application/octet-stream"
        self.break_after: int | None = None  # bytes of the body, then the connection ends
        self.go_on = threading.Event()  # what comes after the first half of each body waits for this
        self.go_on.set()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"

    def remote(self, title: str = "Toys", folder: str = "toys", **checksums: str) -> Remote:
        """What it serves, with right checksums unless others are given."""
        right = {name: hashlib.md5(data).hexdigest() for name, data in self.content.items()}
        return Remote(title, folder, self.address, right | {k: checksums["md5"] for k in right if checksums})

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that is killed or gives up is part of the tests."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        name, wanted = self.path[1:], self.headers.get("Range")
        self.server.requests.append((name, wanted))
        if name not in self.server.content:
            self.send_error(404)
            return
        data, start = self.server.content[name], 0
        if wanted and self.server.ranges:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(data):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        else:
            self.send_response(200)
        body = data[start:]
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", self.server.kind)
        self.end_headers()
        half = len(body) // 2
        self.wfile.write(body[: self.server.break_after if self.server.break_after is not None else half])
        if self.server.break_after is None and self.server.go_on.wait(20):
            self.wfile.write(body[half:])
        self.close_connection = True

    def log_message(self, *arguments: object) -> None:
        """Silent."""


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.go_on.set()
            server.shutdown()
            thread.join()
