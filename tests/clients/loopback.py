"""A threaded TCP server on a free loopback port that closes with everything it opened."""

from __future__ import annotations

import socket
import socketserver
import sys
import threading
from types import TracebackType
from typing import Any, Self

# How soon the accepting thread notices that it shall end; nothing else waits for it.
POLL_SECONDS = 0.02


class LoopbackServer(socketserver.ThreadingTCPServer):
    daemon_threads = False
    request_queue_size = 64

    def __init__(self, handler: type[socketserver.BaseRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self.serve_forever, args=(POLL_SECONDS,), name=type(self).__name__)
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self.closing = threading.Event()
        # Faults of the test's own machinery; a test that ends well finds this empty.
        self.problems: list[str] = []

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def keep(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.add(connection)

    def forget(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.discard(connection)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.keep(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.forget(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        failure = sys.exc_info()[1]
        # Clients leave when they have what they want.
        if not isinstance(failure, ConnectionError):
            self.problems.append(f"{type(self).__name__} failed: {failure!r}")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closing.set()
        self.shutdown()
        self._thread.join()
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            # Wakes the handlers that wait on an idle keep-alive connection.
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        self.server_close()
