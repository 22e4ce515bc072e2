"""A long run of many paced streams on upstreams that fail in every known way: what leaks, and whether anything lies.

    python -m benchmarks.soak                              # ten minutes, 300 streams, 5 % failures
    python -m benchmarks.soak --minutes 1 --json soak.json

Three hundred clients ask one after the other, streaming and not, in two dialects; some read slowly, some leave. One of
twenty requests meets a failure; there are two upstreams, so most are answered all the same. An answer must either be
exactly what the upstream said, to its end, or show that it failed: anything else is a lie, and ends the run. Each ten
seconds the proxy's memory, descriptors and tasks are read, and at the end, when nobody asks any more, they must be what
they were at the beginning. Needs what trioproxy needs, and Linux (/proc).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import h11
import trio

from benchmarks.processes import free_port

ROOT = Path(__file__).parent.parent
FAILING = 0.05  # of the requests at an upstream
LEAVING, SLOW = 0.03, 0.05  # of the clients' requests
RATE = 10.0  # events a second
LENGTHS = (20, 60)  # deltas of an answer, at least and at most
WHOLE = 0.2  # of the requests do not stream
SAMPLES = 10.0  # seconds between two
KEPT = 31.0  # seconds until the proxy forgets a connection to an upstream that nobody uses
SPREAD = 5.0  # seconds over which the clients begin
PATIENCE = 30.0  # seconds for any answer to come to its end

CONFIG = """
listen = "127.0.0.1:0"
[admin]
listen = "127.0.0.1:{admin}"
[upstreams.a]
url = "http://127.0.0.1:{a}"
token = "x"
concurrency = 250
connect-timeout = "2s"
first-byte-timeout = "2s"
idle-timeout = "2s"
retries = 1
retry-within = "500ms"
[upstreams.b]
url = "http://127.0.0.1:{b}"
token = "x"
connect-timeout = "2s"
first-byte-timeout = "2s"
idle-timeout = "2s"
[routes]
"/" = ["a", "b"]
"""


# ── the upstreams ───────────────────────────────────────────────────────────────────────────────────────────────────


def event(name: str, more: str = "") -> bytes:
    return f'event: {name}\ndata: {{"type":"{name}"{more}}}\n\n'.encode()


def begin(tag: str) -> bytes:
    usage = '"usage":{"input_tokens":1,"output_tokens":1}'
    message = (
        f'"id":"msg_{tag}","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,{usage}'
    )
    opening = ',"index":0,"content_block":{"type":"text","text":""}'
    return event("message_start", f',"message":{{{message}}}') + event("content_block_start", opening)


def delta(tag: str, number: int) -> bytes:
    return event("content_block_delta", f',"index":0,"delta":{{"type":"text_delta","text":"{tag}.{number} "}}')


END = (
    event("content_block_stop", ',"index":0')
    + event("message_delta", ',"delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":2}')
    + event("message_stop")
)
ERROR = b'{"type":"error","error":{"type":"overloaded_error","message":"too much"}}'


def text_of(tag: str, length: int) -> str:
    return "".join(f"{tag}.{number} " for number in range(length))


@dataclass
class Upstream:
    """One connection's end of an answer."""

    stream: trio.SocketStream
    tag: str
    length: int
    streams: bool

    async def head(self) -> None:
        await self.stream.send_all(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        )

    async def chunk(self, data: bytes) -> None:
        await self.stream.send_all(b"%x\r\n%s\r\n" % (len(data), data))

    async def status(self, code: int, *fields: str, body: bytes = ERROR) -> None:
        head = [f"HTTP/1.1 {code} Whatever", "content-type: application/json", f"content-length: {len(body)}", *fields]
        await self.stream.send_all("\r\n".join([*head, "", ""]).encode() + body)

    async def answer(self, length: int | None = None) -> None:
        if not self.streams:
            await trio.sleep(self.length / RATE / 4)
            text = json.dumps(text_of(self.tag, self.length))
            whole = (
                f'{{"id":"msg_{self.tag}","type":"message","role":"assistant","model":"m","content":[{{"type":"text"'
            )
            usage = '"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":1,"output_tokens":2}}'
            await self.status(200, body=f'{whole},"text":{text}}}],{usage}'.encode())
            return
        await self.head()
        await self.chunk(begin(self.tag))
        for number in range(self.length if length is None else length):
            await trio.sleep(1 / RATE)
            await self.chunk(delta(self.tag, number))
        if length is None:
            await self.chunk(END)
            await self.stream.send_all(b"0\r\n\r\n")

    def reset(self) -> None:
        self.stream.setsockopt(1, 13, b"\x01\0\0\0\0\0\0\0")  # SOL_SOCKET, SO_LINGER: 0 seconds
        self.stream.socket.close()


Fault = Callable[[Upstream], Awaitable[None]]


async def resets(up: Upstream) -> None:
    up.reset()


async def closes(up: Upstream) -> None:
    await up.stream.aclose()


async def hangs(up: Upstream) -> None:
    await trio.sleep_forever()


async def half(up: Upstream) -> None:
    await up.answer(up.length // 2)


async def begun_and_closes(up: Upstream) -> None:
    await half(up)
    await up.stream.aclose()


async def begun_and_resets(up: Upstream) -> None:
    await half(up)
    up.reset()


async def begun_and_hangs(up: Upstream) -> None:
    await half(up)
    await trio.sleep_forever()


async def begun_and_ends(up: Upstream) -> None:
    """As if all were said: the last chunk, but no message_stop."""
    await half(up)
    await up.stream.send_all(b"0\r\n\r\n")


async def begun_and_fails(up: Upstream) -> None:
    await half(up)
    await up.chunk(b"event: error\ndata: " + ERROR + b"\n\n")
    await up.stream.send_all(b"0\r\n\r\n")


async def begun_and_babbles(up: Upstream) -> None:
    await half(up)
    await up.chunk(b'event: content_block_delta\ndata: {"type":"content_block_\n\n')
    await up.stream.send_all(b"0\r\n\r\n")


async def begun_and_breaks_a_chunk(up: Upstream) -> None:
    await half(up)
    await up.stream.send_all(b"zz\r\nwhat?\r\n")


async def fails_at_once(up: Upstream) -> None:
    await up.head()
    await up.chunk(b"event: error\ndata: " + ERROR + b"\n\n")
    await up.stream.send_all(b"0\r\n\r\n")


async def says_nothing_of_it(up: Upstream) -> None:
    await up.head()
    await up.stream.send_all(b"0\r\n\r\n")


async def speaks_no_http(up: Upstream) -> None:
    await up.stream.send_all(b"220 mail.example.com ESMTP\r\n")
    await up.stream.aclose()


async def breaks_its_json(up: Upstream) -> None:
    await up.status(200, body=b'{"id":"msg_1","type":"mess')


def status(code: int, *fields: str) -> Fault:
    async def fault(up: Upstream) -> None:
        await up.status(code, *fields)

    return fault


ALWAYS: dict[str, Fault] = {
    "resets": resets,
    "closes": closes,
    "hangs": hangs,
    "no http": speaks_no_http,
    "429": status(429, "retry-after-ms: 100"),
    "429 late": status(429, "retry-after: 2"),
    "500": status(500),
    "503": status(503, "retry-after: 0"),
    "529": status(529),
    "broken json": breaks_its_json,
}
STREAMING: dict[str, Fault] = {
    "begun and closes": begun_and_closes,
    "begun and resets": begun_and_resets,
    "begun and hangs": begun_and_hangs,
    "begun and ends": begun_and_ends,
    "begun and fails": begun_and_fails,
    "begun and babbles": begun_and_babbles,
    "begun and breaks a chunk": begun_and_breaks_a_chunk,
    "fails at once": fails_at_once,
    "empty": says_nothing_of_it,
}


@dataclass
class Run:
    """What has happened so far."""

    chance: random.Random
    faults: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    connections: int = 0
    asked: int = 0


async def upstream(run: Run, stream: trio.SocketStream) -> None:
    run.connections += 1
    try:
        async with stream:
            while (asked := await read_request(stream)) is not None:
                await answer(run, stream, asked)
    except* (trio.BrokenResourceError, trio.ClosedResourceError):
        pass  # the proxy has left
    finally:
        run.connections -= 1


async def answer(run: Run, stream: trio.SocketStream, asked: dict[str, object]) -> None:
    """Answer one request, or fail; whichever ends when the proxy leaves."""
    tag, length = str(asked["model"]).split("-")[1:]
    up = Upstream(stream, tag, int(length), bool(asked.get("stream")))
    act: Fault = Upstream.answer
    if run.chance.random() < FAILING:
        faults = ALWAYS | STREAMING if up.streams else ALWAYS
        name = run.chance.choice(sorted(faults))
        run.faults[name] += 1
        act = faults[name]
    async with trio.open_nursery() as nursery:

        async def watch() -> None:
            with suppress(trio.ClosedResourceError, OSError):
                if not await stream.socket.recv(1, 2):  # MSG_PEEK: the next request stays
                    nursery.cancel_scope.cancel()

        nursery.start_soon(watch)
        await act(up)
        nursery.cancel_scope.cancel()


async def read_request(stream: trio.SocketStream) -> dict[str, object] | None:
    connection, body = h11.Connection(h11.SERVER), bytearray()
    while True:
        got = connection.next_event()
        if got is h11.NEED_DATA:
            data = await stream.receive_some(65536)
            if not data and connection.their_state is h11.IDLE:
                return None
            connection.receive_data(data)
        elif isinstance(got, h11.Data):
            body += got.data
        elif isinstance(got, h11.EndOfMessage):
            return dict(json.loads(body))
        elif isinstance(got, h11.ConnectionClosed):
            return None


# ── the clients ─────────────────────────────────────────────────────────────────────────────────────────────────────


class LieError(Exception):
    """An answer that passes for whole and is not what was said."""


async def client(run: Run, port: int, number: int, until: float) -> None:
    await trio.sleep(run.chance.uniform(0, SPREAD))
    while trio.current_time() < until:
        run.asked += 1
        tag, length = f"{number}n{run.asked}", run.chance.randint(*LENGTHS)
        chat, streams = run.chance.random() < 0.3, run.chance.random() >= WHOLE
        manner = run.chance.random()
        with trio.move_on_after(PATIENCE) as scope:
            outcome = await ask(
                port,
                f"m-{tag}-{length}",
                chat=chat,
                streams=streams,
                expected=text_of(tag, length),
                leaves=run.chance.uniform(0, 4) if manner < LEAVING else None,
                slow=manner > 1 - SLOW,
            )
        run.outcomes["no end" if scope.cancelled_caught else outcome] += 1


async def ask(
    port: int, model: str, *, chat: bool, streams: bool, expected: str, leaves: float | None, slow: bool
) -> str:
    """Ask once; what came of it, in a word. Raises `LieError`."""
    said = {"model": model, "max_tokens": 99, "stream": streams, "messages": [{"role": "user", "content": "hi"}]}
    body, path = json.dumps(said).encode(), "/v1/chat/completions" if chat else "/v1/messages"
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    try:
        head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        await stream.send_all(head.encode() + body)
        with trio.move_on_after(leaves if leaves is not None else float("inf")):
            return judged(*await read_answer(stream, slow=slow), chat=chat, streams=streams, expected=expected)
        return "client left"
    except (trio.BrokenResourceError, OSError):
        return "broken off"
    finally:
        await trio.aclose_forcefully(stream)


async def read_answer(stream: trio.SocketStream, *, slow: bool) -> tuple[int, bytes, bool]:
    """Status, body, and whether it came to its end."""
    connection, status, body = h11.Connection(h11.CLIENT), 0, bytearray()
    connection.send(h11.Request(method="GET", target="/", headers=[("host", "x")]))  # only so that it reads an answer
    connection.send(h11.EndOfMessage())
    while True:
        try:
            got = connection.next_event()
            if got is h11.NEED_DATA:
                if slow:
                    await trio.sleep(0.2)
                connection.receive_data(await stream.receive_some(256 if slow else 65536))
                continue
        except h11.RemoteProtocolError:
            return status, bytes(body), False
        if isinstance(got, h11.Response):
            status = got.status_code
        elif isinstance(got, h11.Data):
            body += got.data
        else:
            return status, bytes(body), isinstance(got, h11.EndOfMessage)


_TEXT = re.compile(rb'"text(?:_delta","text)?":"((?:[^"\\]|\\.)*)"')
_CONTENT = re.compile(rb'"content":"((?:[^"\\]|\\.)*)"')


def judged(status: int, body: bytes, ended: bool, *, chat: bool, streams: bool, expected: str) -> str:
    if status != 200:
        return f"status {status}" if ended and b"error" in body else "broken off"
    if b'"error"' in body:
        return "an error in the stream"
    if not ended:
        return "broken off"
    end = (b"[DONE]" if chat else b"message_stop") if streams else b"{"
    text = b"".join((_CONTENT if chat else _TEXT).findall(body)).decode()
    if end not in body or text != expected:
        raise LieError(f"{len(expected)} characters were said, and {len(text)} came in an answer that ended well")
    return "answered"


# ── the proxy ───────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Sample:
    """The proxy at one moment."""

    seconds: float
    rss: int  # KiB
    descriptors: int
    tasks: int
    open: int  # requests


async def sample(pid: int, admin: int, since: float) -> Sample:
    stream = await trio.open_tcp_stream("127.0.0.1", admin)
    async with stream:
        await stream.send_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        page = b""
        while data := await stream.receive_some(65536):
            page += data
    status = (Path("/proc") / str(pid) / "status").read_text()
    rss = re.search(r"VmRSS:\s+(\d+)", status)
    return Sample(
        seconds=round(trio.current_time() - since, 1),
        rss=int(rss[1]) if rss else 0,
        descriptors=len(os.listdir(f"/proc/{pid}/fd")),
        tasks=gauge(page, b"trioproxy_tasks"),
        open=gauge(page, b"trioproxy_requests_open"),
    )


def gauge(page: bytes, name: bytes) -> int:
    found = re.findall(rb"^%s(?:\{[^}]*\})? (\S+)" % name, page, re.MULTILINE)
    return int(sum(map(float, found)))


async def soak(options: argparse.Namespace, directory: Path) -> dict[str, object]:
    run = Run(random.Random(options.seed))
    async with trio.open_nursery() as nursery:
        ports = []
        for _ in range(2):
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=1024)
            ports.append(listeners[0].socket.getsockname()[1])

            async def handle(stream: trio.SocketStream) -> None:
                await upstream(run, stream)

            nursery.start_soon(trio.serve_listeners, handle, listeners)
        file, log, admin = directory / "stages.toml", directory / "log", free_port()
        file.write_text(CONFIG.format(a=ports[0], b=ports[1], admin=admin))
        with log.open("wb") as said:
            process = await trio.lowlevel.open_process(
                [sys.executable, "-m", "trioproxy", "--config", str(file), "--log-level", "error"],
                cwd=directory,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
                stderr=said,
            )
        try:
            result = await measure(run, options, process, await port_of(log), admin)
        finally:
            process.terminate()
            with trio.move_on_after(5):
                result_code = await process.wait()
                result |= {"exit": result_code, "log": log.read_text().splitlines()[-5:]}
            process.kill()
            nursery.cancel_scope.cancel()
    return result


async def port_of(log: Path) -> int:
    """The proxy's port, as soon as it says which."""
    with trio.fail_after(10):
        while not (found := re.search(r"127\.0\.0\.1:(\d+)", await trio.Path(log).read_text())):  # noqa: ASYNC110  # a file tells no event
            await trio.sleep(0.05)
    return int(found[1])


async def measure(
    run: Run, options: argparse.Namespace, process: subprocess.Popen[bytes] | trio.Process, port: int, admin: int
) -> dict[str, object]:
    began = trio.current_time()
    until = began + options.minutes * 60
    before = await sample(process.pid, admin, began)
    samples: list[Sample] = []

    async def look() -> None:
        while True:
            await trio.sleep(SAMPLES)
            samples.append(now := await sample(process.pid, admin, began))
            print(f"{now.seconds:7.1f} s  {now}  {run.asked} asked", flush=True)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        async with trio.open_nursery() as clients:
            for number in range(options.streams):
                clients.start_soon(client, run, port, number, until)
        nursery.cancel_scope.cancel()
    await trio.sleep(KEPT)
    # One more, after which the proxy has looked through the connections that it kept.
    await ask(port, "m-last-1", chat=False, streams=True, expected=text_of("last", 1), leaves=None, slow=False)
    after = await sample(process.pid, admin, began)
    return {
        "minutes": options.minutes,
        "streams": options.streams,
        "seed": options.seed,
        "asked": run.asked,
        "outcomes": dict(run.outcomes.most_common()),
        "faults": dict(sorted(run.faults.items())),
        "before": vars(before),
        "after": vars(after),
        "upstream connections left": run.connections,
        "rss": [each.rss for each in samples],
        "tasks": [each.tasks for each in samples],
        "descriptors": [each.descriptors for each in samples],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--streams", type=int, default=300)
    parser.add_argument("--seed", type=int, default=6)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        result = trio.run(soak, options, Path(directory))
    print(json.dumps(result, indent=1))
    if options.json:
        options.json.write_text(json.dumps(result))
    before, after = result["before"], result["after"]
    assert isinstance(before, dict)
    assert isinstance(after, dict)
    leaks = [name for name in ("descriptors", "tasks", "open") if after[name] > before[name] + 2]  # one kept connection
    print(f"leaked: {', '.join(leaks)}" if leaks else "nothing leaked, nothing lied")
    return 1 if leaks else 0


if __name__ == "__main__":
    sys.exit(main())
