"""The mock upstream: a process of its own that must never be the bottleneck.

One thread, epoll, non-blocking sockets, answers made beforehand. It speaks the dialect of the path it is asked at. What
to do stands in the model's name of the request:

    mock-flood              200 events in one chunk, as fast as the socket takes them
    mock-flood-each         the same, each event in a chunk of its own
    mock-paced-RATE-LENGTH  LENGTH events, RATE a second, each delta with the time it was sent
    mock-json               one small JSON message
    mock-swapped, mock-cut, mock-doubled, mock-ended, mock-paced-swapped-RATE-LENGTH   broken ones, to test the load
    mock-retold, mock-misnumbered   broken where what ends a text repeats it, or events have numbers

A request seen before, byte for byte, is answered from a table without being read again.
"""

from __future__ import annotations

import argparse
import gc
import heapq
import re
import select
import socket
import time
from collections.abc import Callable

from benchmarks.understood import WIRES
from benchmarks.wire import FLOOD_EVENTS, LAST_CHUNK, Wire, chunk
from benchmarks.wire_anthropic import ANTHROPIC
from benchmarks.wire_chat import CHAT
from benchmarks.wire_responses import RESPONSES

MAX_REQUEST = 1 << 20  # no request of ours comes near; a proxy gone wild is stopped here
MAX_SEEN = 256  # a proxy that puts an id into every request would fill the table
SEND_BUFFER = 1 << 18  # a whole flood fits, so it costs one system call
_MODEL = re.compile(rb'"model"\s*:\s*"mock-([a-z-]*[a-z])(?:-(\d+)-(\d+))?"')
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[^\r]*chunked", re.IGNORECASE)

ELSEWHERE = {b"/chat/completions": CHAT, b"/responses": RESPONSES}  # other paths are Anthropic's

Answer = Callable[["Connection"], None]


class Connection:
    """One accepted socket and, while a paced stream runs on it, where that stream is."""

    __slots__ = ("broken", "fd", "inbox", "interval", "length", "outbox", "position", "said", "sock", "wire")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.inbox = bytearray()
        self.outbox = bytearray()
        self.position = self.length = 0
        self.interval = 0.0
        self.broken = False
        self.said = bytearray()
        self.wire = ANTHROPIC


class Mock:
    def __init__(self, listener: socket.socket) -> None:
        self.listener = listener
        self.epoll = select.epoll()
        self.epoll.register(listener.fileno(), select.EPOLLIN)
        self.connections: dict[int, Connection] = {}
        self.timers: list[tuple[float, int, Connection]] = []
        self.timer_number = 0  # breaks ties, connections do not compare
        self.seen: dict[bytes, Answer] = {}

    def run(self) -> None:
        epoll_fd = self.epoll.fileno()
        while True:
            if self.timers:
                # epoll counts in whole milliseconds and would send three streams' events at once; select does not
                select.select([epoll_fd], [], [], max(0.0, self.timers[0][0] - time.monotonic()))
                self.fire(time.monotonic())
                ready = self.epoll.poll(0)
            else:
                ready = self.epoll.poll()
            for fd, mask in ready:
                connection = self.connections.get(fd)
                if connection is None:
                    self.accept()
                elif mask & select.EPOLLOUT:
                    self.send(connection, b"")
                else:
                    self.read(connection)

    def accept(self) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
            except BlockingIOError:
                return
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(sock)
            self.connections[connection.fd] = connection
            self.epoll.register(connection.fd, select.EPOLLIN)

    def close(self, connection: Connection) -> None:
        if self.connections.pop(connection.fd, None) is not None:
            self.epoll.unregister(connection.fd)
            connection.sock.close()
            connection.length = 0  # its timer finds a stream that is over

    # --- requests -----------------------------------------------------------------------------------------------------

    def read(self, connection: Connection) -> None:
        try:
            data = connection.sock.recv(65536)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if not data:
            self.close(connection)
            return
        if not connection.inbox:
            answer = self.seen.get(data)
            if answer is not None:
                answer(connection)
                return
        connection.inbox += data
        while (end := request_end(connection.inbox)) > 0:
            request = bytes(connection.inbox[:end])
            del connection.inbox[:end]
            answer = self.choose(request)
            if len(self.seen) < MAX_SEEN:
                self.seen[request] = answer
            answer(connection)
        if len(connection.inbox) > MAX_REQUEST:
            self.close(connection)

    def choose(self, request: bytes) -> Answer:
        found = _MODEL.search(request)
        if found is None:
            return self.answer_with(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
        behaviour, rate, length = found.groups()
        asked = request.partition(b"\r\n")[0]
        wire = next((wire for path, wire in ELSEWHERE.items() if path in asked), ANTHROPIC)
        if behaviour in {b"paced", b"paced-swapped"}:
            return self.stream_at(wire, int(rate), int(length), broken=behaviour != b"paced")
        return self.answer_with(ANSWERS[wire.name][behaviour.decode()])

    def answer_with(self, answer: bytes) -> Answer:
        def send(connection: Connection) -> None:
            self.send(connection, answer)

        return send

    def stream_at(self, wire: Wire, rate: int, length: int, *, broken: bool) -> Answer:
        head = wire.stream_head

        def start(connection: Connection) -> None:
            # What opens a message and its first words come together, as a provider sends them once the model speaks.
            connection.wire, connection.position, connection.length = wire, len(wire.opening) + 1, length
            connection.interval, connection.broken = 1 / rate, broken
            said = connection.said = bytearray()
            now = time.monotonic_ns()
            opening = b"".join(wire.paced_chunk(at, length, now, said) for at in range(connection.position))
            self.send(connection, head + opening)
            self.arm(connection, time.monotonic() + connection.interval)

        return start

    # --- answers ------------------------------------------------------------------------------------------------------

    def arm(self, connection: Connection, due: float) -> None:
        self.timer_number += 1
        heapq.heappush(self.timers, (due, self.timer_number, connection))

    def fire(self, now: float) -> None:
        while self.timers and self.timers[0][0] <= now:
            due, _, connection = heapq.heappop(self.timers)
            position, length = connection.position, connection.length
            if position >= length:
                continue  # closed meanwhile
            connection.position = position + 1
            if connection.broken and 5 < position < length - 5:
                position ^= 1  # 6, 7, 8, 9 … become 7, 6, 9, 8 …
            event = connection.wire.paced_chunk(position, length, time.monotonic_ns(), connection.said)
            if connection.position == length:
                self.send(connection, event + LAST_CHUNK)
            else:
                self.send(connection, event)
                self.arm(connection, due + connection.interval)

    def send(self, connection: Connection, data: bytes) -> None:
        waiting = bool(connection.outbox)
        if waiting:
            connection.outbox += data
            data = bytes(connection.outbox)
        try:
            sent = connection.sock.send(data)
        except BlockingIOError:
            sent = 0
        except ConnectionError:
            self.close(connection)
            return
        if sent == len(data):
            if waiting:
                connection.outbox.clear()
                self.epoll.modify(connection.fd, select.EPOLLIN)
            return
        connection.outbox[:] = data[sent:]
        if not waiting:
            self.epoll.modify(connection.fd, select.EPOLLIN | select.EPOLLOUT)


def request_end(inbox: bytearray) -> int:
    """Where the first request in `inbox` ends; 0 if it is not all there yet."""
    head_end = inbox.find(b"\r\n\r\n")
    if head_end < 0:
        return 0
    body_at = head_end + 4
    if length := _LENGTH.search(inbox, 0, head_end):
        end = body_at + int(length[1])
        return end if len(inbox) >= end else 0
    if not _CHUNKED.search(inbox, 0, head_end):
        return body_at
    while True:
        size_end = inbox.find(b"\r\n", body_at)
        if size_end < 0:
            return 0
        size = int(bytes(inbox[body_at:size_end]).split(b";")[0], 16)
        body_at = size_end + 2 + size + 2
        if len(inbox) < body_at:
            return 0
        if size == 0:
            return body_at


def _answers(wire: Wire) -> dict[str, bytes]:
    flood = wire.flood
    spoken = flood[: -len(wire.closing)]

    def stream(*payloads: bytes) -> bytes:
        return wire.stream_head + b"".join(map(chunk, payloads)) + LAST_CHUNK

    return {
        "flood": stream(b"".join(flood)),
        "flood-each": stream(*flood),
        "json": wire.json_answer,
        "swapped": stream(b"".join((*flood[:100], flood[101], flood[100], *flood[102:]))),
        "cut": stream(b"".join(flood[:-1])),
        "doubled": stream(b"".join((*flood[:50], *flood[49:]))),
        "ended": stream(b"".join((*flood, flood[-1]))),
        "retold": stream(b"".join((*spoken, *wire.ending(FLOOD_EVENTS, b"Something else.")))),
        "misnumbered": stream(b"".join((*spoken, *wire.ending(FLOOD_EVENTS + 1, wire.flood_said)))),
    }


ANSWERS = {wire.name: _answers(wire) for wire in WIRES.values()}


def main() -> None:
    parser = argparse.ArgumentParser(description="the mock upstream; prints its port")
    parser.add_argument("--port", type=int, default=0)
    arguments = parser.parse_args()
    listener = socket.create_server(("127.0.0.1", arguments.port), backlog=1024)
    listener.setblocking(False)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)  # accepted sockets inherit it
    print(listener.getsockname()[1], flush=True)
    gc.disable()  # nothing here makes cycles, and a collection would show up as a delay
    Mock(listener).run()


if __name__ == "__main__":
    main()
