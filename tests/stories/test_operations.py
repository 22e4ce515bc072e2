"""The story of a proxy that is run for real, as one process tree: two workers, a target registered while they run, a
worker killed, the file edited well and badly, a certificate rolled, and an orderly end. Nobody's stream breaks for it,
but of those that the killed worker had.
"""

import os
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from signal import SIGHUP, SIGKILL, SIGTERM
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import trio
import trustme

from tests.peers import Answer, Upstream, answer, ask, connect, request, upstream
from tests.test_proxy import DELTA, END, STREAM, streams
from tests.test_serve import Held, Running, serving

if TYPE_CHECKING:
    import anthropic
else:
    anthropic = pytest.importorskip("anthropic", reason="the anthropic package is not installed")

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="workers share sockets, which Windows cannot")

ADMIN, KEY = "admin-token-of-the-story", "upstream-key-of-the-story"
STREAMS = 8  # on each worker, at the least
CA = trustme.CA()


class Story:
    """The running proxy, and what is done to it."""

    def __init__(self, directory: Path, running: Running, held: Held, up: Upstream) -> None:
        self.directory, self.running, self.held, self.up = directory, running, held, up
        self.file = directory / "stages.toml"

    async def begin(self) -> None:
        found = await self.running.says(r"http://127\.0\.0\.1:(\d+) and https://127\.0\.0\.1:(\d+)")
        self.port, self.tls_port = int(found[1]), int(found[2])

    async def admin(self, method: str, path: str, body: object = None) -> Answer:
        data = msgspec.json.encode(body) if body is not None else b""
        headers = (f"Authorization: Bearer {ADMIN}", "Content-Type: application/json")
        async with await trio.open_unix_socket(str(self.directory / "admin.sock")) as stream:
            await stream.send_all(request(data, method=method, path=path, headers=headers))
            return await answer(stream)

    async def metric(self, name: str) -> dict[str, float]:
        """What `/metrics` says under a name, by labels."""
        page = (await self.admin("GET", "/metrics")).body.decode()
        lines = [line.rpartition(" ") for line in page.splitlines() if line.startswith(f"{name}{{")]
        return {labels.removeprefix(name): float(number) for labels, _, number in lines}

    async def open_by_worker(self) -> dict[str, float]:
        return await self.metric("trioproxy_requests_open")

    def workers(self) -> dict[str, int]:
        """The pid of each worker, by its label in the metrics."""
        tasks = Path(f"/proc/{self.running.process.pid}/task").iterdir()  # one of its threads may have started them
        children = [child for task in tasks for child in (task / "children").read_text().split()]
        said = {child: Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0") for child in children}
        return {f'{{worker="{words[-2].decode()}"}}': int(child) for child, words in said.items()}

    async def edit(self, old: str, new: str, says: str) -> None:
        """Change the file, ask for a reload, and wait for what the log says of it."""
        self.file.write_text(self.file.read_text().replace(old, new))
        self.running.signal(SIGHUP)
        await self.running.says(says)

    async def shown(self) -> bytes:
        """The certificate that the TLS listener shows."""
        context = ssl.create_default_context()
        CA.configure_trust(context)
        stream = trio.SSLStream(await connect(self.tls_port), context, server_hostname="localhost")
        await stream.do_handshake()
        shown: bytes = stream.getpeercert(binary_form=True)
        await trio.aclose_forcefully(stream)
        return shown


class Client:
    """A client that reads a stream, until its end or the connection's."""

    def __init__(self) -> None:
        self.seen, self.ended, self.began = b"", trio.Event(), trio.Event()

    async def read(self, port: int) -> None:
        async with await connect(port) as stream:
            await stream.send_all(request(STREAM))
            try:
                while not self.complete and (piece := await stream.receive_some()):
                    self.seen += piece
                    if DELTA in self.seen:
                        self.began.set()
            except trio.BrokenResourceError:
                pass
        self.ended.set()

    @property
    def complete(self) -> bool:
        return self.seen.endswith(b"0\r\n\r\n")


def write_certificate(directory: Path) -> None:
    issued = CA.issue_cert("localhost")
    (directory / "key.pem").write_bytes(issued.private_key_pem.bytes())
    (directory / "cert.pem").write_bytes(b"".join(each.bytes() for each in issued.cert_chain_pems))


@asynccontextmanager
async def story(directory: Path) -> AsyncIterator[Story]:
    write_certificate(directory)
    held = Held()
    listen = '["127.0.0.1:0", { address = "127.0.0.1:0", certificate = "cert.pem", key = "key.pem" }]'
    admin = f'[admin]\nlisten = "unix:{directory}/admin.sock"\ntoken = "{ADMIN}"\n'
    async with upstream(held) as up, serving(up.toml(f"workers = 2\n{admin}"), directory, listen) as running:
        told = Story(directory, running, held, up)
        await told.begin()
        yield told


async def begin_streams(told: Story, nursery: trio.Nursery) -> dict[str, list[Client]]:
    """Streams that stay open, until each worker has some; by worker."""
    by_worker: dict[str, list[Client]] = {}
    before = await told.open_by_worker()
    while min(map(len, by_worker.values()), default=0) < STREAMS or len(by_worker) < 2:
        client = Client()
        nursery.start_soon(client.read, told.port)
        await client.began.wait()
        worker = await taken_by(told, before)
        by_worker.setdefault(worker, []).append(client)
        before[worker] = before.get(worker, 0) + 1
    return by_worker


async def taken_by(told: Story, before: dict[str, float]) -> str:
    """The worker that has more open than `before`. On a busy machine one may not tell in time what it has open."""
    with trio.fail_after(10):
        while True:
            for worker, now in (await told.open_by_worker()).items():
                if now > before.get(worker, 0):
                    return worker
            await trio.sleep(0.05)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the workers in /proc")
async def test_operations(tmp_path: Path) -> None:
    async with upstream(streams) as quick, story(tmp_path) as told, trio.open_nursery() as nursery:
        running, port = told.running, told.port
        assert len(told.workers()) == 2
        assert (await told.admin("GET", "/readyz")).status == 200

        # A target is registered at run time, and every worker knows it at once.
        spec = {"model": "the-model", "base_url": f"http://127.0.0.1:{quick.port}", "api_key": KEY}
        done = await told.admin("POST", "/targets", spec | {"api_mode": "anthropic_messages"})
        assert done.status == 201
        target: dict[str, Any] = msgspec.json.decode(done.body)
        assert target["base_url"].startswith(f"http://127.0.0.1:{port}/targets/")
        for _ in range(8):
            async with anthropic.AsyncAnthropic(
                base_url=target["base_url"],
                auth_token=target["token"],
                max_retries=0,
                http_client=anthropic.DefaultAsyncHttpxClient(trust_env=False),
            ) as sdk:
                question: Any = {"model": "mine", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
                async with sdk.messages.stream(**question) as stream:
                    text = "".join([piece async for piece in stream.text_stream])
                assert text == "hi"
        assert {asked.header("x-api-key") for asked in quick.requests} == {KEY}
        assert {msgspec.json.decode(asked.body)["model"] for asked in quick.requests} == {"the-model"}

        # A worker is killed: its streams break, and look broken; the others' do not, and new ones are served at once.
        by_worker = await begin_streams(told, nursery)
        counted = sum((await told.metric("trioproxy_requests_total")).values())
        (victim, lost), (_, kept) = by_worker.items()
        os.kill(told.workers()[victim], SIGKILL)
        for client in lost:
            await client.ended.wait()
        assert not any(client.complete or END.splitlines()[-2] in client.seen for client in lost)
        assert not any(client.ended.is_set() for client in kept)
        assert sum((await told.metric("trioproxy_requests_total")).values()) >= counted  # counts never go back
        await running.says("signal SIGKILL")
        nursery.start_soon((later := Client()).read, port)
        await later.began.wait()
        await running.says("serves in its place")
        assert len(await told.open_by_worker()) == 2
        token, path = f"x-api-key: {target['token']}", target["base_url"].partition(str(port))[2]
        for _ in range(8):  # which knows the target, too
            assert (await ask(port, STREAM, path=f"{path}/v1/messages", headers=(token,))).status == 200
        assert sum((await told.metric("trioproxy_requests_total")).values()) >= counted

        # A good edit: what comes from now on follows it, on both workers; the streams go on.
        more = f'[upstreams.quick]\nurl = "http://127.0.0.1:{quick.port}"\n[routes]\n"/" = "up"\n"/quick" = "quick"\n'
        await told.edit("[upstreams.up]", f"{more}[upstreams.up]", "route /quick: new, quick")
        assert all([(await ask(port, STREAM, path="/quick/v1/messages")).status == 200 for _ in range(8)])
        # A bad one: refused with its place, and all is as before.
        await told.edit('"/quick" = "quick"', '"/quick" = "quack"', r"stages\.toml:\d+:\d+: .*quack")
        await running.says("was not reloaded")
        assert all([(await ask(port, STREAM, path="/quick/v1/messages")).status == 200 for _ in range(8)])
        assert (await told.admin("POST", "/reload")).status == 400
        await told.edit('"/quick" = "quack"', '"/quick" = "quick"', "nothing changed")
        # The certificate is rolled: whoever connects from now on is shown the new one.
        old = await told.shown()
        write_certificate(tmp_path)
        assert (await told.admin("POST", "/reload")).status == 200
        shown = {await told.shown() for _ in range(8)}
        assert len(shown) == 1
        assert old not in shown
        assert not any(client.ended.is_set() for client in [*kept, later])

        # The end: nothing more is accepted, and what is under way finishes.
        running.signal(SIGTERM)
        await running.says(f"finishing {len(kept) + 1} answers, at most 30 s")
        assert (await told.admin("GET", "/readyz")).status == 503
        told.held.go_on.set()
        for client in [*kept, later]:
            await client.ended.wait()
            assert client.complete
            assert END.splitlines()[-2] in client.seen
        assert await running.process.wait() == 0
    assert "Traceback" not in running.said
    assert not [secret for secret in (ADMIN, KEY, target["token"]) if secret in running.said]
    lines = [msgspec.json.decode(line) for line in running.said.splitlines() if line.startswith("{")]
    assert {line.get("worker") for line in lines if line["logger"] == "trioproxy.access"} == {1, 2}
