"""Sits between a client and whom it calls, relays every byte, and can say which requests the client sent."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from collections.abc import Callable
from urllib.parse import urlsplit

import h11

from .loopback import LoopbackServer
from .wire import Request

READ_BYTES = 65_536


class Tap(LoopbackServer):
    def __init__(self, url: str) -> None:
        super().__init__(_Relay)
        parts = urlsplit(url)
        self.target = (parts.hostname or "", parts.port or 80)
        self.sent: list[bytearray] = []

    @property
    def requests(self) -> list[Request]:
        """The complete requests, connection by connection."""
        return [request for sent in self.sent for request in parse_requests(bytes(sent))]


def parse_requests(data: bytes) -> list[Request]:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    found: list[Request] = []
    head: h11.Request | None = None
    body = bytearray()
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Request):
            head, body = event, bytearray()
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers)
            found.append(Request(head.method.decode(), head.target.decode(), headers, bytes(body)))
            # h11 reads the next request only after this one has been answered.
            connection.send(h11.Response(status_code=204, headers=[]))
            connection.send(h11.EndOfMessage())
            if connection.our_state is not h11.DONE:
                return found
            connection.start_next_cycle()
        else:
            return found


class _Relay(socketserver.BaseRequestHandler):
    server: Tap
    request: socket.socket

    def handle(self) -> None:
        sent = bytearray()
        self.server.sent.append(sent)
        with socket.create_connection(self.server.target) as onward:
            self.server.keep(onward)
            back = threading.Thread(target=_pump, args=(onward, self.request, lambda _: None))
            back.start()
            _pump(self.request, onward, sent.extend)
            back.join()
            self.server.forget(onward)


def _pump(source: socket.socket, target: socket.socket, seen: Callable[[bytes], None]) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(READ_BYTES):
            seen(data)
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
