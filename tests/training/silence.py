"""Tracking servers that do not behave, on real loopback sockets."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@contextmanager
def dead_port() -> Iterator[str]:
    """Nobody listens: a connection is refused at once."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    yield f"http://127.0.0.1:{port}"


@contextmanager
def black_hole() -> Iterator[str]:
    """A full backlog: the kernel drops what asks for a connection, and never says so."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        waiting = []
        for _ in range(4):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(server.getsockname())
            waiting.append(one)
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            for one in waiting:
                one.close()


@contextmanager
def mute() -> Iterator[str]:
    """Connections are taken; nothing is ever said."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


class Dying(BaseHTTPRequestHandler):
    """As much of MLflow's REST interface as a run's first requests need, then silence."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._answer()

    def _answer(self) -> None:
        server: Any = self.server
        path = self.path.partition("?")[0]
        if path.endswith("log-batch"):
            server.batches += 1
        if server.batches > server.lives:
            server.silent.set()
            server.over.wait(30.0)
            return
        info = {"run_id": "r1", "run_uuid": "r1", "status": "RUNNING", "artifact_uri": "x"}
        experiment = {"experiment_id": "1", "name": "journey", "artifact_location": "x"}
        answers = {
            "get-by-name": {"experiment": experiment},
            "search": {"runs": []},
            "create": {"run": {"info": info, "data": {}}},
        }
        body = json.dumps(answers.get(path.rpartition("/")[2], {})).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nobody reads it."""


@contextmanager
def dying(lives: int) -> Iterator[tuple[str, threading.Event]]:
    """Answers until the batch after `lives`, then holds every connection; the event says when."""
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Dying)
    server.daemon_threads = True
    server.batches, server.lives = 0, lives
    server.silent, server.over = threading.Event(), threading.Event()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", server.silent
    finally:
        server.over.set()
        server.shutdown()
        thread.join()
        server.server_close()
