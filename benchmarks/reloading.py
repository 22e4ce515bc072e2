"""Reloads under load: paced streams through trioproxy while its file is edited and reloaded again and again.

    python -m benchmarks.reloading                      # 200 streams, 20 reloads, in one process and with two workers
    python -m benchmarks.reloading --workers 2 --streams 400 --reloads 50

Each reload changes an option of a stage, so every one makes new pipelines; every second one also opens or closes a
listener. The exit status is 1 if a stream broke, or a reload was not done.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import trio

ROOT = Path(__file__).parent.parent
GAP = 0.1  # seconds between two events of a stream
EVERY = 0.3  # seconds between two reloads

START = (
    b'event: message_start\ndata: {"type":"message_start","message":{"id":"m","type":"message","role":"assistant",'
    b'"model":"x","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":1,"output_tokens":1}}}\n\n'
    b'event: content_block_start\ndata: {"type":"content_block_start","index":0,'
    b'"content_block":{"type":"text","text":""}}\n\n'
)
DELTA = (
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
    b'"delta":{"type":"text_delta","text":"word "}}\n\n'
)
END = (
    b'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n'
    b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},'
    b'"usage":{"output_tokens":2}}\n\n'
    b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
)
BODY = b'{"model":"x","stream":true,"max_tokens":99,"messages":[{"role":"user","content":"Hi"}]}'
ASK = b"POST /v1/messages HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


@dataclass
class Figures:
    streams: int = 0
    broken: int = 0
    gaps: list[float] = field(default_factory=list)
    """The longest silence of each stream."""
    reloads: int = 0
    took: list[float] = field(default_factory=list)
    """From the signal to the line that says it is done."""


async def answer(over: trio.Event, stream: trio.SocketStream) -> None:
    """The upstream: one stream for each request, until it is `over`."""
    async with stream:
        while await _request(stream):
            await stream.send_all(HEAD + _chunk(START))
            while not over.is_set():
                await stream.send_all(_chunk(DELTA))
                with trio.move_on_after(GAP):
                    await over.wait()
            await stream.send_all(_chunk(END) + b"0\r\n\r\n")


async def _request(stream: trio.SocketStream) -> bool:
    seen = b""
    while not seen.endswith(BODY):
        piece = await stream.receive_some()
        if not piece:
            return False
        seen += piece
    return True


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


async def read(port: int, figures: Figures, begun: trio.Semaphore) -> None:
    """One client: a stream from its beginning to its end."""
    figures.streams += 1
    tail, last, longest, first = b"", time.monotonic(), 0.0, True
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(ASK)
        while not tail.endswith(b"0\r\n\r\n"):
            try:
                piece = bytes(await stream.receive_some())
            except trio.BrokenResourceError:
                piece = b""
            if not piece:
                break
            now = time.monotonic()
            if b"word" in piece:
                if first:
                    first = False
                    begun.release()
                else:
                    longest = max(longest, now - last)
                last = now
            tail = (tail + piece)[-len(END) - 100 :]
    figures.broken += not (b"message_stop" in tail and tail.endswith(b"0\r\n\r\n"))
    figures.gaps.append(longest)


async def measure(workers: int, streams: int, reloads: int, *, reloading: bool) -> Figures:
    figures, over, begun = Figures(), trio.Event(), trio.Semaphore(0)
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "stages.toml"
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(partial(trio.serve_tcp, partial(answer, over), 0, host="127.0.0.1"))
            upstream = listeners[0].socket.getsockname()[1]
            extra = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
            spare = extra.socket.getsockname()[1]
            await extra.aclose()

            def write(number: int) -> None:
                listen = ["127.0.0.1:0", f"127.0.0.1:{spare}"][: 1 + number % 2]
                file.write_text(
                    f"listen = {listen}\nworkers = {workers}\n[upstreams.up]\nurl = 'http://127.0.0.1:{upstream}'\n"
                    f"[stages.signature-filter]\nwithin = {512 + number}\n"
                )

            write(0)
            process = await trio.lowlevel.open_process(
                [sys.executable, "-m", "trioproxy", "--config", str(file)],
                cwd=directory,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stderr=subprocess.PIPE,
            )
            said = _Said(process)
            nursery.start_soon(said.listen)
            port = int((await said.after("http://127.0.0.1:", 1)).split()[0])
            async with trio.open_nursery() as clients:
                for _ in range(streams):
                    clients.start_soon(read, port, figures, begun)
                for _ in range(streams):
                    await begun.acquire()
                for number in range(1, reloads + 1):
                    await trio.sleep(EVERY)
                    if not reloading:
                        continue
                    write(number)
                    began = time.monotonic()
                    process.send_signal(signal.SIGHUP)
                    with trio.fail_after(10):
                        await said.after("was reloaded: 2 changes", number)
                    figures.took.append(time.monotonic() - began)
                    figures.reloads += 1
                await trio.sleep(EVERY)
                over.set()
            process.terminate()
            await process.wait()
            nursery.cancel_scope.cancel()
    return figures


class _Said:
    """What the proxy says on stderr."""

    def __init__(self, process: trio.Process) -> None:
        self._process, self._said, self._more = process, "", trio.Condition()

    async def listen(self) -> None:
        assert self._process.stderr
        async for piece in self._process.stderr:
            async with self._more:
                self._said += piece.decode()
                self._more.notify_all()

    async def after(self, words: str, times: int) -> str:
        """What comes behind the words, once they were said so many times."""
        async with self._more:
            while self._said.count(words) < times:
                await self._more.wait()
        return self._said.split(words, times)[-1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, action="append")
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--reloads", type=int, default=20)
    given = parser.parse_args()
    failed = False
    print("workers            streams  broken  reloads   ms/reload: median  worst   longest silence, ms: median  worst")
    for workers, reloading in itertools.product(given.workers or [1, 2], (False, True)):
        figures = trio.run(partial(measure, workers, given.streams, given.reloads, reloading=reloading))
        took, gaps = sorted(figures.took), sorted(figures.gaps)
        times = [took[len(took) // 2], took[-1]] if took else [math.nan, math.nan]
        silent = [gaps[len(gaps) // 2], gaps[-1]]
        columns = [
            f"{workers:7}  {'reloading' if reloading else 'in peace':9}",
            f"{figures.streams:7}  {figures.broken:6}  {figures.reloads:7}",
            f"{times[0] * 1000:18.0f} {times[1] * 1000:6.0f}",
            f"{silent[0] * 1000:28.0f} {silent[1] * 1000:6.0f}",
        ]
        print("  ".join(columns))
        failed |= figures.broken > 0 or (reloading and figures.reloads < given.reloads)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
