"""The load generator: a process of its own, one thread, epoll, which prints what it measured as one JSON object.

    python -m benchmarks.load flood --port 4567 [--each] [--seconds 3] [--watch PID] [--mock PID]
    python -m benchmarks.load json  --port 4567
    python -m benchmarks.load paced --port 4567 [--connections 64] [--rate 50]
    python -m benchmarks.load hold  --port 4567 --connections 400 --rate 10

--watch is the proxy, whose CPU time and memory are read at the edges of the measured window, --mock the mock upstream.
--client is the dialect that the load speaks, --upstream the one that the mock answers in: if it is another, or with
--loosely, an answer must say what was sent, else it must be it, byte for byte. A wrong answer ends the run with
status 1 and says what was wrong.
"""

from __future__ import annotations

import argparse
import gc
import json
import select
import socket
import sys
import time

from benchmarks import paced
from benchmarks.answers import TOO_SLOW, TooSlowError, WrongAnswerError, body_of
from benchmarks.checks import Check, Checks
from benchmarks.figures import Figures
from benchmarks.understood import WIRES
from benchmarks.watch import Watch
from benchmarks.wire import FLOOD_EVENTS

STALL_SECONDS = 10.0  # nothing at all for so long: the proxy hangs
ANSWER_MAX = 1 << 17  # no expected answer is larger, however a proxy may chunk it
FLOOD_TAIL = b"\r\n0\r\n\r\n"  # cannot be in a stream whose payload has no CR


class Client:
    """One keep-alive connection with one request under way."""

    __slots__ = ("filled", "room", "sock", "view")

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setblocking(False)
        self.room = bytearray(ANSWER_MAX)
        self.view = memoryview(self.room)
        self.filled = 0

    def send(self, request: bytes) -> None:
        if self.sock.send(request) != len(request):
            raise WrongAnswerError("a small request does not fit into an empty socket")


class ClosedLoop:
    """Each client asks, reads the whole answer, has it compared, asks again: until the window is over."""

    def __init__(self, request: bytes, check: Check, options: argparse.Namespace, *, streamed: bool) -> None:
        self.request = request
        self.check = check
        self.streamed = streamed
        self.warmup, self.seconds = options.warmup, options.seconds
        self.watch = Watch(options.watch, options.mock)
        self.epoll = select.epoll()
        self.clients: dict[int, Client] = {}
        self.known = b""
        self.received = 0  # bytes in the window
        self.size = 0  # bytes of the last answer
        for _ in range(options.connections):
            client = Client(options.port)
            self.clients[client.sock.fileno()] = client
            self.epoll.register(client.sock.fileno(), select.EPOLLIN)

    def run(self) -> Figures:
        watch, clients, request = self.watch, self.clients, self.request
        for client in clients.values():
            client.send(request)
        under_way = len(clients)
        answers = counted = got = 0
        edge = time.monotonic() + self.warmup
        while under_way:
            if not watch.closed and time.monotonic() >= edge:
                if watch.open:
                    watch.stop()
                    counted, got = answers, self.received
                else:
                    watch.start()
                    answers = self.received = 0
                    edge = time.monotonic() + self.seconds
            ready = self.epoll.poll(STALL_SECONDS)
            if not ready:
                raise WrongAnswerError(f"{under_way} requests without an answer for {STALL_SECONDS:.0f} s")
            for fd, _ in ready:
                client = clients[fd]
                if not self.answered(client):
                    continue
                answers += 1
                if watch.closed:
                    under_way -= 1
                else:
                    client.send(request)
        figures = watch.figures()
        figures["answers"] = counted
        if self.streamed:  # a slow proxy has all its answers under way when the window closes
            figures["events"] = FLOOD_EVENTS * got / self.size
        return figures

    def answered(self, client: Client) -> bool:
        """Read what has come; true if that completed an answer, and then it was the right one."""
        before = client.filled
        got = client.sock.recv_into(client.view[before:])
        if not got:
            raise WrongAnswerError(f"connection closed after {bytes(client.room[:before])[-300:]!r}")
        filled = client.filled = before + got
        self.received += got
        if filled == ANSWER_MAX:
            raise WrongAnswerError(f"an answer of more than {ANSWER_MAX} bytes")
        if before and self.streamed and not client.room.endswith(FLOOD_TAIL, filled - len(FLOOD_TAIL), filled):
            return False  # the first piece is looked at anyhow, it may be an error
        raw = bytes(client.room[:filled])
        if raw != self.known:
            body = body_of(raw)
            if body is None:
                return False
            self.check(body)
            self.known = raw  # the same bytes again need not be taken apart again
        client.filled = 0
        self.size = filled
        return True


def measure(options: argparse.Namespace) -> Figures:
    checks = Checks.of(options)
    if options.scenario == "json":
        return ClosedLoop(checks.request("json", stream=False), checks.json(), options, streamed=False).run()
    if options.scenario == "flood":
        behaviour = options.behaviour or ("flood-each" if options.each else "flood")
        return ClosedLoop(checks.request(behaviour, stream=True), checks.flood(), options, streamed=True).run()
    if options.scenario == "hold":
        return paced.hold(options, checks)
    return paced.paced(options, checks)


def main() -> int:
    parser = argparse.ArgumentParser(description="load generator; prints one JSON object")
    parser.add_argument("scenario", choices=["flood", "json", "paced", "hold"])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--warmup", type=float, default=0.3, help="seconds before the window of flood and json")
    parser.add_argument("--seconds", type=float, default=3.0, help="the measured window")
    parser.add_argument("--rate", type=int, default=50, help="events a second of each paced stream")
    parser.add_argument("--each", action="store_true", help="flood: each event in a chunk of its own")
    parser.add_argument("--behaviour", default="", help="ask the mock for this instead")
    parser.add_argument("--client", choices=sorted(WIRES), default="anthropic", help="the dialect that the load speaks")
    parser.add_argument("--upstream", choices=sorted(WIRES), help="the one that the mock answers in")
    parser.add_argument("--prefix", default="", help="what the proxy wants in front of a model's name")
    parser.add_argument("--loosely", action="store_true", help="compare what is said, not the bytes")
    parser.add_argument("--watch", type=int, default=0, help="process id of the proxy")
    parser.add_argument("--mock", type=int, default=0, help="process id of the mock upstream")
    options = parser.parse_args()
    gc.disable()  # nothing here makes cycles, and a collection would show up as a delay
    try:
        figures = measure(options)
    except TooSlowError as problem:
        print(f"{options.scenario}: {problem}", file=sys.stderr)
        return TOO_SLOW
    except (WrongAnswerError, OSError) as problem:
        print(f"{options.scenario}: {problem}", file=sys.stderr)
        return 1
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
