"""What remembering thinking costs a request: a trioproxy for each kind of `[store]`, under the same loads, in one run.

    python -m benchmarks.store                       # three rounds, about two minutes
    python -m benchmarks.store --quick               # one short round, to see that it works
    python -m benchmarks.store --only off,sqlite --json figures.json

README.md says what is measured, and how.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from itertools import cycle, islice, pairwise
from pathlib import Path
from statistics import median
from textwrap import fill
from typing import TYPE_CHECKING, Any

from benchmarks import mock_upstream, proc
from benchmarks.answers import WrongAnswerError, body_of
from benchmarks.figures import QUIET, Figures, Results, others, row
from benchmarks.paced import quantiles
from benchmarks.processes import Bench, RunError, Server, TimeUpError, free_port, in_child
from benchmarks.proxies import ROOT, STAGES_TOML, Command, Proxy
from benchmarks.watch import Watch
from benchmarks.wire import LAST_CHUNK, chunk
from benchmarks.wire_anthropic import ANTHROPIC
from benchmarks.wire_chat import CHAT

if TYPE_CHECKING:
    from tests.valkey import ValkeyServer

TURNS = 20  # of a conversation, before the request that is measured; each has two calls
CLIENTS = 20  # at once, each with a conversation of its own
WARM = 10  # requests before a window
WARM_SECONDS = 0.3
STALL_SECONDS = 10.0  # no answer for so long: the proxy hangs
PATIENCE, RUN_SECONDS = 20.0, 165.0  # to wait for a quiet machine in all, and for everything
PACE = 0.05  # seconds between two requests while the server hangs: the breaker opens more than once then
WAITED_US = 200_000  # what took longer has waited for the server: `timeout` is 250 ms
MARKS = (0, 1_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)  # records kept when the memory is looked at
RECORD = 2048  # bytes of one
WIDTH = 100  # of what is printed


@dataclass(frozen=True)
class Counts:
    """How much of everything."""

    rounds: int
    asked: int  # requests one after the other, in a window of each kind
    seconds: float  # of a window with many clients
    conversations: int  # that a fresh proxy is asked to go on with
    hanging: int  # requests while the server hangs
    kept: int  # records in the memory of one process


FULL = Counts(rounds=3, asked=100, seconds=1.2, conversations=100, hanging=200, kept=MARKS[-1])
SHORT = Counts(rounds=1, asked=20, seconds=0.5, conversations=20, hanging=40, kept=MARKS[-3])


@dataclass(frozen=True)
class Store:
    """A row: one kind of store."""

    name: str
    what: str
    url: str  # `{place}` is a directory that stays for the run
    key: str = ""
    remembers: bool = True
    lasts: bool = True  # beyond the process
    missing: str = ""  # why it cannot run here

    def proxy(self, python: str, place: Path) -> Proxy:
        def prepare(directory: Path, port: int, upstream: int) -> Command:
            config = directory / "stages.toml"
            text = STAGES_TOML.format(port=port, upstream=upstream, dialect=ANTHROPIC.name)
            text += f'\n[store]\nurl = "{self.url.format(place=place)}"\n'
            config.write_text(text + (f'key = "{self.key}"\n' if self.key else ""))
            path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
            command = [python, "-m", "trioproxy", "--config", str(config), "--log-level", "warning"]
            return Command(command, {"PYTHONPATH": path})

        return Proxy(self.name, self.what, prepare)


def stores(valkey: ValkeyServer | None, why_not: str) -> list[Store]:
    keyless = "" if find_spec("cryptography") else "the package cryptography is not installed"
    return [
        Store("off", "nothing is kept", "off", remembers=False, lasts=False),
        Store("memory", "this process's memory", "memory:", lasts=False),
        Store("sqlite", "a file", "sqlite:{place}/plain.db"),
        Store("encrypted", "a file, and `key`", "sqlite:{place}/sealed.db", key="k" * 44, missing=keyless),
        Store("valkey", "a server", valkey.url if valkey else "", missing=why_not),
    ]


# --- the upstream: a process of its own -------------------------------------------------------------------------------

_NUMBER = b"############"  # where an answer's own number comes: in its signature, and in the ids of its two calls
_RETURNED = re.compile(rb'"(?:signature":"|id":"toolu_)(\d{12})')
_STREAMS = re.compile(rb'"stream"\s*:\s*true')
_THOUGHT = "So the file has to be read before anything is said about it now. "[:64]
_THOUGHTS = RECORD // len(_THOUGHT)
_SIGNATURE = _NUMBER.decode() + "EqQBCkYIARgCIkDm" * 30


class Thinker(mock_upstream.Mock):
    """Answers each request at once: signed thinking and two calls, with ids that no other answer has.

    As the tokens of the request it counts the signatures that came back where they belong: right before their calls.
    """

    number = 0

    def choose(self, request: bytes) -> mock_upstream.Answer:
        found = pairwise(_RETURNED.finditer(request))
        returned = sum(before[0].startswith(b'"sig') and before[1] == behind[1] for before, behind in found)
        template = (_stream if _STREAMS.search(request) else _whole)(returned)

        def answer(connection: mock_upstream.Connection) -> None:
            self.number += 1
            self.send(connection, template.replace(_NUMBER, b"%012d" % self.number))

        return answer


def _message(returned: int) -> dict[str, Any]:
    number = _NUMBER.decode()
    call = {"type": "tool_use", "name": "read_file", "input": {"path": "src/main.py", "lines": [1, 80]}}
    return {
        "id": f"msg_{number}",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-5",
        "content": [
            {"type": "thinking", "thinking": _THOUGHT * _THOUGHTS, "signature": _SIGNATURE},
            call | {"id": f"toolu_{number}a"},
            call | {"id": f"toolu_{number}b"},
        ],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": {"input_tokens": returned, "output_tokens": 600},
    }


@cache
def _whole(returned: int) -> bytes:
    return replace(ANTHROPIC, json_body=json.dumps(_message(returned)).encode()).json_answer


@cache
def _stream(returned: int) -> bytes:
    message = _message(returned)
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": message | {"content": [], "stop_reason": None}}
    ]
    for index, block in enumerate(message["content"]):
        if block["type"] == "thinking":
            start = block | {"thinking": "", "signature": ""}
            deltas = [{"type": "thinking_delta", "thinking": _THOUGHT}] * _THOUGHTS
            deltas.append({"type": "signature_delta", "signature": _SIGNATURE})
        else:
            start, text = block | {"input": {}}, json.dumps(block["input"])
            pieces = [text[at : at + 16] for at in range(0, len(text), 16)]
            deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
        events.append({"type": "content_block_start", "index": index, "content_block": start})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    end = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    events += [{"type": "message_delta", "delta": end, "usage": message["usage"]}, {"type": "message_stop"}]
    body = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)
    return ANTHROPIC.stream_head + chunk(body.encode()) + LAST_CHUNK


def upstream(port: int) -> None:
    listener = socket.create_server(("127.0.0.1", port), backlog=1024)
    listener.setblocking(False)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, mock_upstream.SEND_BUFFER)
    gc.disable()
    Thinker(listener).run()


# --- the client -------------------------------------------------------------------------------------------------------

_CALL = re.compile(rb'"id":\s*"(toolu_\w+)"')
_COUNTED = re.compile(rb'"prompt_tokens":\s*(\d+)')


class Conversation:
    """What a chat client knows of it: no signature."""

    def __init__(self, number: int) -> None:
        text = f"What is wrong with this program? Please look into it thoroughly. ({number})"
        self._messages: list[dict[str, Any]] = [{"role": "user", "content": text}]

    def request(self, *, stream: bool) -> bytes:
        # A model that thinks unless told not to, and goes on without the thinking that `off` cannot give back.
        return replace(CHAT, body=self._body).request("thoughts", stream=stream, prefix="claude-sonnet-5-")

    def go_on(self, answer: bytes) -> None:
        """Make the calls of an answer, and add what came of them."""
        calls = [found.decode() for found in dict.fromkeys(_CALL.findall(answer))]
        function = {"name": "read_file", "arguments": '{"path": "src/main.py", "lines": [1, 80]}'}
        made = [{"id": call, "type": "function", "function": function} for call in calls]
        text = "    for line in lines:\n        yield parse(line)\n" * 5
        self._messages.append({"role": "assistant", "content": None, "tool_calls": made})
        self._messages += [{"role": "tool", "tool_call_id": call, "content": text} for call in calls]

    def _body(self, model: str, stream: bool) -> dict[str, Any]:
        parameters = {"type": "object", "properties": {"path": {"type": "string"}, "lines": {"type": "array"}}}
        tools = [{"type": "function", "function": {"name": "read_file", "parameters": parameters}}]
        return CHAT.body(model, stream) | {"messages": self._messages, "tools": tools, "reasoning_effort": "medium"}


class Client:
    """One keep-alive connection with one request under way."""

    def __init__(self, port: int) -> None:
        self._sock = socket.create_connection(("127.0.0.1", port), timeout=STALL_SECONDS)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._came = bytearray()
        self._asked = self.took = 0  # nanoseconds
        self.fileno, self.close = self._sock.fileno, self._sock.close

    def send(self, request: bytes) -> None:
        self._asked = time.monotonic_ns()
        self._sock.sendall(request)

    def read(self) -> bytes | None:
        """Read once; the body of the answer if that completed it, and then `took` is how long it took."""
        data = self._sock.recv(1 << 17)
        now = time.monotonic_ns()
        if not data:
            raise WrongAnswerError(f"connection closed after {bytes(self._came[-300:])!r}")
        self._came += data
        body = body_of(bytes(self._came))
        if body is not None:
            self._came.clear()
            self.took = now - self._asked
        return body

    def ask(self, request: bytes) -> bytes:
        self.send(request)
        while (body := self.read()) is None:
            pass
        return body


@contextmanager
def clients(port: int, count: int) -> Iterator[list[Client]]:
    found = [Client(port) for _ in range(count)]
    try:
        yield found
    finally:
        for client in found:
            client.close()


def put_back(answer: bytes) -> int:
    """How many thoughts the upstream has got back, as it says in an answer, which has to be a turn like any other."""
    counted = _COUNTED.search(answer)
    if counted is None or len(set(_CALL.findall(answer))) != 2:
        raise WrongAnswerError(f"no count, or not two calls: {answer[-600:]!r}")
    return int(counted[1])


# --- the loads: each gives the figures of one window ------------------------------------------------------------------


class Window:
    """What is measured between two edges: how long answers took, and whether all thinking had come back for them."""

    def __init__(self, server: Server, mock: Server, expected: int) -> None:
        self.watch = Watch(server.pid, mock.pid)
        self._took = array("q")
        self._short = 0
        self._expected = expected

    def count(self, client: Client, answer: bytes) -> None:
        """Raises `WrongAnswerError` if thinking came back that nobody can have kept."""
        returned = put_back(answer)
        if returned > self._expected:
            raise WrongAnswerError(f"{returned} thoughts came back where {self._expected} were expected")
        if self.watch.open and not self.watch.closed:
            self._took.append(client.took)
            self._short += returned < self._expected

    def figures(self) -> Figures:
        figures = self.watch.figures()
        figures["others"].pop("harness", None)  # Valkey is there, which is none of the others
        waited = sum(took > 1000 * WAITED_US for took in self._took)
        own = {"answers": len(self._took), "took_us": quantiles(self._took), "short": self._short, "waited": waited}
        return figures | own


def one_by_one(window: Window, port: int, first: Sequence[bytes], then: Sequence[bytes], pace: float = 0.0) -> Figures:
    """One client asks one thing after the other, or each at its time; `first` is not counted."""
    with clients(port, 1) as [client]:
        for request in first:
            window.count(client, client.ask(request))
        window.watch.start()
        due = time.monotonic()
        for request in then:
            window.count(client, client.ask(request))
            due += pace
            if pace:
                time.sleep(max(0.0, due - time.monotonic()))
        window.watch.stop()
    return window.figures()


def at_once(window: Window, port: int, requests: Sequence[bytes], seconds: float) -> Figures:
    """A client for each request, which asks it again and again."""
    with clients(port, len(requests)) as asking, select.epoll() as epoll:
        under_way = {client.fileno(): (client, request) for client, request in zip(asking, requests, strict=True)}
        for number, (client, request) in under_way.items():
            epoll.register(number, select.EPOLLIN)
            client.send(request)
        edge = time.monotonic() + WARM_SECONDS
        while under_way:
            if not window.watch.closed and time.monotonic() >= edge:
                if window.watch.open:
                    window.watch.stop()
                else:
                    window.watch.start()
                    edge = time.monotonic() + seconds
            ready = epoll.poll(STALL_SECONDS)
            if not ready:
                raise WrongAnswerError(f"{len(under_way)} requests without an answer for {STALL_SECONDS:.0f} s")
            for number, _ in ready:
                client, request = under_way[number]
                if (answer := client.read()) is not None:
                    window.count(client, answer)
                    if window.watch.closed:
                        del under_way[number]
                    else:
                        client.send(request)
    return window.figures()


def keep(count: int) -> None:
    """Keep so many records with the default bounds, in this process; print how much memory it had meanwhile."""
    import trio  # noqa: PLC0415  # only the process that is measured needs these

    from trioproxy.store import Settings  # noqa: PLC0415
    from trioproxy.store.vault import Vault  # noqa: PLC0415

    async def run() -> None:
        drawer = Vault(Settings()).drawer("benchmark")
        assert drawer is not None
        marks, at, rest = list[Figures](), 0, b"t" * (RECORD - 8)
        for mark in (mark for mark in MARKS if mark <= count):
            before = time.perf_counter()
            for number in range(at, mark):
                await drawer.keep("thinking", {f"toolu_{number:012d}a": number.to_bytes(8, "big") + rest})
            us = 1e6 * (time.perf_counter() - before) / max(1, mark - at)
            marks.append({"kept": mark, "rss_kib": proc.rss_kib([os.getpid()]), "us": us})
            at = mark
        print(json.dumps(marks))

    trio.run(run)


# --- the run ----------------------------------------------------------------------------------------------------------


class StoreBench(Bench):
    """With an upstream that thinks, and the process whose memory is measured."""

    def start_mock(self) -> Server:
        port = free_port()
        command = Command([sys.executable, "-m", "benchmarks.store", "--upstream", str(port)])
        return self._start("mock", command, self.cores.mock, ROOT, port=port)[0]

    def keep(self, python: str, count: int) -> list[Figures]:
        try:
            done = subprocess.run(
                [python, "-m", "benchmarks.store", "--keep", str(count)],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                cwd=ROOT,
                env=self.environment,
                timeout=max(1.0, self.deadline - time.monotonic()),
                preexec_fn=in_child(self.cores.proxy),
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise TimeUpError(f"time was up before {count:,} records were kept") from None
        if done.returncode:
            raise RunError(done.stderr.decode(errors="replace"))
        figures: list[Figures] = json.loads(done.stdout)
        return figures


class Run:
    """What is measured, and what came out: `results[store][load]` is a list with an item a round."""

    def __init__(self, bench: StoreBench, counts: Counts, python: str) -> None:
        self.bench, self.counts, self.python = bench, counts, python
        self.results: Results = {}
        self.memory: list[Figures] = []
        self.failures: list[str] = []
        self._mock = bench.start_mock()
        self._servers: dict[str, Server] = {}
        self._streamed: dict[str, list[bytes]] = {}  # a request for each conversation …
        self._whole: dict[str, list[bytes]] = {}  # … and one whose answer is not streamed

    def all(self, chosen: Sequence[Store], valkey: ValkeyServer | None) -> None:
        lasting = [store for store in chosen if store.lasts or not store.remembers]
        self._each(chosen, "played", self._play)
        for _ in range(self.counts.rounds):
            self._each(chosen, "streamed", lambda store: self._sequential(store, self._streamed))
            self._each(chosen, "whole", lambda store: self._sequential(store, self._whole))
            self._each(chosen, "at once", self._at_once)
            self._each(lasting, "cold", self._cold)
        if valkey is not None and "valkey" in self._servers:
            valkey.pause()
            self._each([store for store in chosen if store.name in ("off", "valkey")], "hanging", self._hanging)
            valkey.resume()
        self.bench.wait_until_quiet()
        self.memory = self.bench.keep(self.python, self.counts.kept)

    def _each(self, chosen: Sequence[Store], load: str, measure: Callable[[Store], Figures]) -> None:
        self.bench.wait_until_quiet()
        for store in chosen:
            self._in_time(f"before {store.name} {load}")
            if load != "played" and store.name not in self._servers:
                continue  # it failed before
            try:
                figures = measure(store)
                if figures["short"] and load != "cold":  # what this process's memory has cannot come too late
                    raise WrongAnswerError(f"not all thinking came back in {figures['short']} requests")
            except TimeUpError:
                raise
            except (RunError, WrongAnswerError, OSError) as problem:
                server = self._servers.pop(store.name, None)
                printed = f"\nthe proxy's output ends:\n{server.tail()}" if server and server.tail() else ""
                self.failures.append(f"{store.name} {load}: {problem}{printed}")
                say(f"\n*** {self.failures[-1]}\n")
            else:
                self.results.setdefault(store.name, {}).setdefault(load, []).append(figures)
                took = " / ".join(_ms(figures["took_us"][q]) for q in ("p50", "p99"))
                say(f"{store.name:>10} {load:9} {_rate(figures):6.0f}/s {took} ms, CPU {_cpu_ms(figures):.2f} ms each")

    def _in_time(self, where: str) -> None:
        if time.monotonic() > self.bench.deadline:
            raise TimeUpError(f"time was up {where}")

    # Each of these takes a store and gives the figures of one window.

    def _play(self, store: Store) -> Figures:
        """Let a proxy see every turn of every conversation, half of them streamed."""
        self._start(store)
        streamed = self._streamed[store.name] = list[bytes]()
        whole = self._whole[store.name] = list[bytes]()
        window = self._window(store, WARM + TURNS)
        window.watch.start()
        with clients(self._port(store), 1) as [client]:
            for number in range(WARM + (self.counts.conversations if store.lasts else CLIENTS)):
                self._in_time(f"while {store.name} was played to")
                conversation = Conversation(number)
                for turn in range(TURNS):
                    answer = client.ask(conversation.request(stream=turn % 2 == 0))
                    window.count(client, answer)
                    if put_back(answer) != (turn if store.remembers else 0):
                        raise WrongAnswerError(f"{put_back(answer)} of {turn} thoughts came back in their places")
                    conversation.go_on(answer)
                streamed.append(conversation.request(stream=True))
                whole.append(conversation.request(stream=False))
        window.watch.stop()
        return window.figures() | {"short": 0}

    def _sequential(self, store: Store, requests: dict[str, list[bytes]]) -> Figures:
        own = requests[store.name]
        return one_by_one(self._window(store), self._port(store), own[:WARM], _so_many(own, self.counts.asked))

    def _at_once(self, store: Store) -> Figures:
        requests = self._streamed[store.name][:CLIENTS]
        return at_once(self._window(store), self._port(store), requests, self.counts.seconds)

    def _cold(self, store: Store) -> Figures:
        """A proxy that knows nothing goes on with conversations of the one before."""
        self._servers.pop(store.name).stop()
        self._start(store)
        own = self._streamed[store.name]
        then = _so_many(own[WARM:], self.counts.conversations)
        return one_by_one(self._window(store), self._port(store), own[:WARM], then)

    def _hanging(self, store: Store) -> Figures:
        """As the server is stopped and not killed, its connections stay, and nobody answers."""
        then = _so_many(self._streamed[store.name], self.counts.hanging)
        return one_by_one(self._window(store), self._port(store), (), then, PACE)

    def _start(self, store: Store) -> None:
        self._servers[store.name], _ = self.bench.start(store.proxy(self.python, self.bench.directory), self._mock.port)

    def _port(self, store: Store) -> int:
        return self._servers[store.name].port

    def _window(self, store: Store, expected: int = TURNS) -> Window:
        return Window(self._servers[store.name], self._mock, expected if store.remembers else 0)


def _so_many(requests: Sequence[bytes], count: int) -> list[bytes]:
    return list(islice(cycle(requests), count))


# --- the tables -------------------------------------------------------------------------------------------------------

Cell = Callable[[list[Figures], list[Figures]], str]  # of the rounds of a store, and those of `off`


def _rate(figures: Figures) -> float:
    return float(figures["answers"] / figures["seconds"])


def _cpu_ms(figures: Figures) -> float:
    return float(1000 * figures["proxy_cpu"] / figures["answers"])


def _ms(us: float) -> str:
    return f"{us / 1000:.2f}"


def _of(value: Callable[[Figures], float], form: str) -> Cell:
    return lambda rounds, _: form.format(median(map(value, rounds)))


def _took(rounds: list[Figures], _: list[Figures]) -> str:
    return " / ".join(_ms(median(figures["took_us"][q] for figures in rounds)) for q in ("p50", "p99"))


def _more(rounds: list[Figures], off: list[Figures]) -> str:
    """What it took beyond `off`, round by round."""
    pairs = list(zip(rounds, off, strict=False))
    if not pairs or rounds is off:
        return "–"
    more = [median(figures["took_us"][q] - beside["took_us"][q] for figures, beside in pairs) for q in ("p50", "p99")]
    return " / ".join(f"{us / 1000:+.2f}" for us in more)


# The title of a column, the load it is about, and what it says.
TABLES: list[list[tuple[str, str, Cell]]] = [
    [
        ("one client: streamed", "streamed", _took),
        ("more than off", "streamed", _more),
        ("CPU ms", "streamed", _of(_cpu_ms, "{:.2f}")),
        ("whole", "whole", _took),
        ("more than off", "whole", _more),
        ("CPU ms", "whole", _of(_cpu_ms, "{:.2f}")),
    ],
    [
        (f"{CLIENTS} clients: requests/s", "at once", _of(_rate, "{:,.0f}")),
        ("p50 / p99", "at once", _took),
        ("CPU ms", "at once", _of(_cpu_ms, "{:.2f}")),
    ],
    [
        ("after a restart: first request of a conversation", "cold", _took),
        ("more than off", "cold", _more),
        ("CPU ms", "cold", _of(_cpu_ms, "{:.2f}")),
    ],
    [
        ("Valkey hangs: requests", "hanging", _of(lambda figures: figures["answers"], "{:.0f}")),
        ("p50 / p99", "hanging", _took),
        ("longest", "hanging", _of(lambda figures: figures["took_us"]["max"] / 1000, "{:.0f}")),
        (f"longer than {WAITED_US // 1000} ms", "hanging", _of(lambda figures: figures["waited"], "{:.0f}")),
    ],
]


def text(results: Results, memory: list[Figures]) -> str:
    lines = ["", "p50 / p99 in ms, medians of the rounds.", *_remarks(results)]
    for columns in TABLES:
        found = [name for name, loads in results.items() if any(load in loads for _, load, _ in columns)]
        if found:
            lines += ["", row(["store", *(title for title, _, _ in columns)]), row(["---"] * (len(columns) + 1))]
        for name in found:
            cells = [
                cell(results[name][load], results.get("off", {}).get(load, [])) if load in results[name] else "–"
                for _, load, cell in columns
            ]
            lines.append(row([name, *cells]))
    if memory:
        lines += ["", row(["records kept in memory", "resident MiB", "µs each"]), row(["---"] * 3)]
    for mark in memory:
        each = f"{mark['us']:.1f}" if mark["kept"] else "–"
        lines.append(row([f"{mark['kept']:,}", f"{mark['rss_kib'] / 1024:.1f}", each]))
    return "\n".join(lines)


def _remarks(results: Results) -> Iterator[str]:
    windows = [(f"{name} {load}", rounds) for name, loads in results.items() for load, rounds in loads.items()]
    if shares := [f"{what} {others(rounds):.0%}" for what, rounds in windows if others(rounds) > QUIET]:
        yield fill(f"DISTURBED by other programs on the proxy's core: {', '.join(shares)}.", WIDTH)
    for what, rounds in windows:
        if short := sum(figures["short"] for figures in rounds):
            asked = sum(figures["answers"] for figures in rounds)
            yield f"MISSING, {what}: not all thinking came back in {short} of {asked} requests."


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


# --- the command ------------------------------------------------------------------------------------------------------


def options_from(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.store", description="see benchmarks/README.md")
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--only", default="", help="stores, by name, comma-separated")
    parser.add_argument("--python", default=sys.executable, help="the interpreter that runs trioproxy")
    parser.add_argument("--patience", type=float, metavar="S", help="wait so long in all for a quiet machine")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure of every round there")
    parser.add_argument("--upstream", type=int, metavar="PORT", help=argparse.SUPPRESS)  # our own children get these
    parser.add_argument("--keep", type=int, metavar="COUNT", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.patience is None:
        options.patience = 0.0 if options.quick else PATIENCE
    return options


def start_valkey(stack: ExitStack) -> tuple[ValkeyServer | None, str]:
    """The server that the tests use, until `stack` ends; or why there is none."""
    try:
        import pytest  # noqa: PLC0415  # the other stores do without what the tests need

        from tests.valkey import valkey_server  # noqa: PLC0415
    except ImportError as problem:
        return None, str(problem)
    try:
        return stack.enter_context(valkey_server()), ""
    except pytest.skip.Exception as problem:
        return None, str(problem)


def choose(found: list[Store], only: str) -> list[Store]:
    names = only.split(",") if only else [store.name for store in found]
    if unknown := set(names) - {store.name for store in found}:
        sys.exit(f"no store {', '.join(sorted(unknown))}; there are {', '.join(store.name for store in found)}")
    chosen = [store for store in found if store.name in names]
    for store in chosen:
        if store.missing:
            say(f"{store.name:>10} skipped: {store.missing}")
    return [store for store in chosen if not store.missing]


def main(arguments: list[str] | None = None) -> int:
    options = options_from(arguments)
    if options.upstream is not None:
        upstream(options.upstream)
    if options.keep is not None:
        keep(options.keep)
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # so that the children are stopped then too
    gc.disable()  # a collection would show up as a delay
    bench = StoreBench(RUN_SECONDS, options.patience)
    os.sched_setaffinity(0, bench.cores.load)  # for Valkey too, which this process starts
    with bench, ExitStack() as stack:
        valkey, why_not = start_valkey(stack)
        chosen = choose(stores(valkey, why_not), options.only)
        try:
            run = Run(bench, SHORT if options.quick else FULL, options.python)
            try:
                run.all(chosen, valkey)
            except TimeUpError as problem:
                run.failures.append(str(problem))
        except RunError as problem:
            sys.exit(f"FAILED: {problem}")
    print(text(run.results, run.memory))
    if options.json:
        figures = {"cores": os.cpu_count(), "results": run.results, "memory": run.memory}
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    for failure in run.failures:
        say(f"FAILED: {failure.splitlines()[0]}")
    return 1 if run.failures else 0


if __name__ == "__main__":
    sys.exit(main())
