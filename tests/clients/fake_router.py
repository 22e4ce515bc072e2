"""A scripted Anthropic upstream on loopback: plays a list of answers and keeps what it was sent.

By hand: `python -m tests.clients.fake_router M0` prints its address and plays M0's stream to everyone who asks.
"""

from __future__ import annotations

import http.server
import json
import socket
import struct
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from . import answers
from .loopback import LoopbackServer
from .wire import GATE_SECONDS, SSE_TYPE, Answer, Gate, Pause, Reply, Request, one_write


def everything(_: Request) -> bool:
    return True


class FakeRouter(LoopbackServer):
    """`script` answers the requests that `scripted` picks, in order; `aside` answers all others (probes, warm-ups)."""

    def __init__(
        self,
        script: Sequence[Reply] = (),
        *,
        scripted: Callable[[Request], bool] = everything,
        aside: Reply = answers.aside,
    ) -> None:
        super().__init__(_Handler)
        self._script = deque(script)
        self._scripted = scripted
        self._aside = aside
        self._turn = threading.Lock()
        self.requests: list[Request] = []
        self.asides: list[Request] = []

    def answer(self, request: Request) -> Answer:
        with self._turn:
            if not self._scripted(request):
                self.asides.append(request)
                return self._aside(request)
            self.requests.append(request)
            if not self._script:
                self.problems.append(f"request {len(self.requests)} ({request.method} {request.target}) has no answer")
                return answers.error(400, "invalid_request_error", "the script has ended")(request)
            return self._script.popleft()(request)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # One write is one packet, as far as loopback can promise.
    disable_nagle_algorithm = True
    server: FakeRouter
    connection: socket.socket

    def log_message(self, format: str, *args: Any) -> None:
        """The tests look at `requests`; lines on stderr would only be noise."""

    def _exchange(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        request = Request(self.command, self.path, tuple(self.headers.items()), body)
        self._play(self.server.answer(request))

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = _exchange

    def _play(self, answer: Answer) -> None:
        streamed = answer.content_type == SSE_TYPE
        self.send_response(answer.status)
        self.send_header("content-type", answer.content_type)
        for name, value in (("request-id", answers.REQUEST_ID), *answer.headers):
            self.send_header(name, value)
        if streamed:
            self.send_header("transfer-encoding", "chunked")
        else:
            self.send_header("content-length", str(len(answer.body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        for step in answer.steps:
            if isinstance(step, bytes):
                self.wfile.write(b"%x\r\n%b\r\n" % (len(step), step) if streamed else step)
            else:
                self._hold(step)
        if answer.ending != "finished":
            self._cut(reset=answer.ending == "reset")
        elif streamed:
            self.wfile.write(b"0\r\n\r\n")

    def _hold(self, step: Pause | Gate) -> None:
        if isinstance(step, Pause):
            self.server.closing.wait(step.seconds)
        elif not step.opened.wait(GATE_SECONDS):
            self.server.problems.append("a gate stayed shut: what was sent before it did not reach the client in time")

    def _cut(self, *, reset: bool) -> None:
        self.close_connection = True
        if reset:
            # Linger 0 turns closing into a TCP reset. Closing here, as the server would send an orderly end first.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.server.forget(self.connection)
            self.connection.close()


def main(arguments: list[str]) -> None:
    scenarios: dict[str, Reply] = {
        "M0": answers.metadata_first(one_write([*answers.metadata_events(block_stop=False), *answers.text_events()])),
        "metadata-only": answers.metadata_first(one_write(answers.metadata_events(block_stop=False))),
        "text": answers.text(),
    }
    name = arguments[0] if arguments else "M0"
    if name not in scenarios:
        sys.exit(f"unknown scenario {name!r}; there are: {', '.join(scenarios)}")
    with FakeRouter(scripted=lambda _: False, aside=scenarios[name]) as router:
        print(router.url, flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print(json.dumps([f"{request.method} {request.target}" for request in router.asides]))


if __name__ == "__main__":
    main(sys.argv[1:])
