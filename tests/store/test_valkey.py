"""Values on a server: a real one that is there, dies, hangs and refuses, and a false one that answers as none does."""

from __future__ import annotations

import gc
import socket
import ssl
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

import pytest
import trio
import trio.testing
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.peers import free_port
from tests.valkey import ValkeyServer, valkey_server
from trioproxy.store import Store, StoreError
from trioproxy.store import valkey as module
from trioproxy.store.valkey import open_valkey

PATIENT = 5.0
HASTY = 0.5


def key(name: str) -> bytes:
    return sha256(name.encode()).digest()


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    """For tests that do it no harm. Each has keys of its own."""
    with valkey_server() as server:
        yield server


@pytest.fixture(scope="module", autouse=True)
def _no_socket_is_forgotten() -> Iterator[None]:
    yield
    gc.collect()  # one that is would warn here


# ── a real server ───────────────────────────────────────────────────────────────────────────────────────────────────


@settings(max_examples=40, deadline=None)
@given(entries=st.dictionaries(st.binary(min_size=32, max_size=32), st.binary(max_size=2000), max_size=8))
async def test_bytes_come_back_as_they_were(server: ValkeyServer, entries: dict[bytes, bytes]) -> None:
    async with open_valkey(server.url, timeout=PATIENT) as store:
        await store.put(list(entries.items()), 60)
        assert await store.get(list(entries)) == list(entries.values())


@pytest.mark.parametrize("value", [b"", b"\r\n", b"$-1\r\n", b"\0" * 5_000_000], ids=["empty", "line", "nil", "large"])
async def test_a_value_looks_like_the_protocol(server: ValkeyServer, value: bytes) -> None:
    async with open_valkey(server.url, timeout=PATIENT) as store:
        await store.put([(key("odd"), value), (key("next"), b"next")], 60)
        assert await store.get([key("odd"), key("none"), key("next")]) == [value, None, b"next"]


async def test_a_thousand_keys_in_one_call(server: ValkeyServer) -> None:
    entries = [(key(f"many {number}"), b"%d" % number * 100) for number in range(1000)]
    async with open_valkey(server.url, timeout=PATIENT) as store:
        await store.put(entries, 60)
        assert await store.get([name for name, _ in entries]) == [value for _, value in entries]


async def test_nothing_is_asked_for_no_key() -> None:
    async with open_valkey(f"valkey://127.0.0.1:{free_port()}", timeout=PATIENT) as store:
        await store.put([], 60)
        assert await store.get([]) == []


async def test_the_server_knows_when_a_value_expires(server: ValkeyServer) -> None:
    name = f"trioproxy:{key('expiring').hex()}"
    async with open_valkey(server.url, timeout=PATIENT) as store:
        await store.put([(key("expiring"), b"x")], 3600)
        assert 3_590_000 < int(server.ask(f"PTTL {name}").removeprefix(":")) <= 3_600_000
        await store.put([(key("expiring"), b"x")], 0.02)
        with trio.fail_after(PATIENT):
            while await store.get([key("expiring")]) != [None]:
                pass
        await store.put([(key("at once"), b"x")], 0)  # an error, if the server were told 0
    assert server.ask(f"EXISTS {name}") == ":0"


@pytest.mark.parametrize("scheme", ["valkey", "redis"])
async def test_a_server_that_comes_after_the_proxy(scheme: str) -> None:
    with valkey_server() as server:
        server.kill()
        async with open_valkey(server.url.replace("valkey", scheme), timeout=PATIENT) as store:
            with pytest.raises(StoreError) as caught:
                await store.get([key("a")])
            assert str(caught.value) == f"{scheme}://127.0.0.1:{server.port} cannot be reached: Connection refused"
            server.start()
            await store.put([(key("a"), b"1")], 60)
            assert await store.get([key("a")]) == [b"1"]


async def test_a_server_that_is_killed_while_nobody_asks() -> None:
    with valkey_server() as server:
        async with open_valkey(server.url, timeout=PATIENT) as store:
            await together(store, 5)
            server.kill()
            server.start()
            await store.put([(key("a"), b"1")], 60)  # all five connections are dead, and not one is tried
            server.kill()
            with pytest.raises(StoreError, match="refused"):
                await store.get([key("a")])
            server.start()
            assert await store.get([key("a")]) == [None]


async def test_a_server_that_is_killed_while_it_is_asked() -> None:
    with valkey_server() as server:
        async with open_valkey(server.url, timeout=PATIENT) as store:
            for _ in range(2):
                await store.get([key("a")])
                server.pause()
                failures: list[str] = []
                # More than there are places: a place that is lost with its connection would be missed below.
                async with trio.open_nursery() as nursery:
                    for _ in range(module._CONNECTIONS + 5):
                        nursery.start_soon(fail, failures, store.put, [(key("a"), b"1")], 60)
                    await trio.testing.wait_all_tasks_blocked()
                    server.kill()
                assert len(failures) == module._CONNECTIONS + 5
                assert all("closed the connection" in failure or "refused" in failure for failure in failures)
                server.start()
            await together(store, module._CONNECTIONS)


async def test_a_server_that_hangs() -> None:
    with valkey_server() as server:
        async with open_valkey(server.url, timeout=HASTY) as store:
            await store.put([(key("a"), b"1")], 60)
            server.pause()
            began, failures = trio.current_time(), list[str]()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fail, failures, store.get, [key("a")])  # on the connection that is there
                nursery.start_soon(fail, failures, store.get, [key("a")])  # on a new one: the system accepts it
                much = [(key("b"), b"\0" * 20_000_000)]  # more than the system takes for it
                nursery.start_soon(fail, failures, store.put, much, 60)
            assert failures == [f"{server.url} did not answer within {HASTY:g} seconds"] * 3
            assert HASTY <= trio.current_time() - began < HASTY + 1
            server.resume()
            await together(store, module._CONNECTIONS)
            assert await store.get([key("a")]) == [b"1"]


@pytest.mark.parametrize("database", ["", "/1"], ids=["asking", "greeting"])
async def test_calls_that_are_cancelled_while_the_server_hangs(database: str) -> None:
    with valkey_server() as server:
        async with open_valkey(server.url + database, timeout=PATIENT) as store:
            await store.put([(key("a"), b"1"), (key("b"), b"2")], 60)
            server.pause()
            async with trio.open_nursery() as nursery:
                for _ in range(module._CONNECTIONS + 5):
                    nursery.start_soon(store.get, [key("a")])
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
            server.resume()
            for _ in range(module._CONNECTIONS + 5):
                assert await store.get([key("b")]) == [b"2"]


async def test_a_call_that_was_cancelled_before_it_began_asks_nothing(server: ValkeyServer) -> None:
    async with open_valkey(server.url, timeout=PATIENT) as store:
        await store.get([key("cancelled")])
        with trio.CancelScope() as scope:
            scope.cancel()
            await store.put([(key("cancelled"), b"x")], 60)
        assert scope.cancelled_caught
        assert await store.get([key("cancelled")]) == [None]


async def test_two_stores_share_a_server(server: ValkeyServer) -> None:
    async with open_valkey(server.url, timeout=PATIENT) as one, open_valkey(server.url, timeout=PATIENT) as other:

        async def put(store: Store, name: str) -> None:
            await store.put([(key(f"{name} {number}"), name.encode()) for number in range(50)], 60)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(put, one, "one")
            nursery.start_soon(put, other, "other")
        assert await one.get([key(f"other {number}") for number in range(50)]) == [b"other"] * 50
        assert await other.get([key(f"one {number}") for number in range(50)]) == [b"one"] * 50


async def test_databases_are_apart(server: ValkeyServer) -> None:
    async with open_valkey(f"{server.url}/3", timeout=PATIENT) as three, open_valkey(server.url, timeout=5) as zero:
        await three.put([(key("three"), b"3")], 60)
        assert await three.get([key("three")]) == [b"3"]
        assert await zero.get([key("three")]) == [None]


async def test_a_database_that_is_not_there_leaves_no_value_in_another(server: ValkeyServer) -> None:
    async with open_valkey(f"{server.url}/99", timeout=PATIENT) as store:
        with pytest.raises(StoreError, match="refuses: ERR DB index is out of range"):
            await store.put([(key("misplaced"), b"x")], 60)
    assert server.ask(f"EXISTS trioproxy:{key('misplaced').hex()}") == ":0"


async def test_a_unix_socket() -> None:
    with valkey_server(unix=True, password="open: sesame") as server:
        assert server.url.startswith("unix://:open%3A%20sesame@/")
        async with open_valkey(f"{server.url}?db=2", timeout=PATIENT) as store:
            await store.put([(key("a"), b"1")], 60)
            assert await store.get([key("a")]) == [b"1"]
            server.kill()
            with pytest.raises(StoreError, match=r"^unix:/\S+ cannot be reached: (Connection refused|No such file)"):
                await store.get([key("a")])


PASSWORD = "p@ss/w#rd?'%"


async def test_a_password() -> None:
    with valkey_server(password=PASSWORD) as server:
        host = f"127.0.0.1:{server.port}"
        async with open_valkey(server.url, timeout=PATIENT) as store:
            await store.put([(key("a"), b"1")], 60)
            assert await store.get([key("a")]) == [b"1"]
        for login, refusal in [
            ("", "refuses: NOAUTH Authentication required."),
            (":wrong-password@", "refuses: WRONGPASS invalid username-password pair or user is disabled."),
            ("nobody:wrong-password@", "refuses: WRONGPASS invalid username-password pair or user is disabled."),
        ]:
            async with open_valkey(f"valkey://{login}{host}", timeout=PATIENT) as store:
                with pytest.raises(StoreError) as caught:
                    await store.get([key("a")])
                assert str(caught.value) == f"valkey://{host} {refusal}"


async def test_a_user_needs_no_more_rights_than_we_say(server: ValkeyServer) -> None:
    rights = "+mget +set +select ~trioproxy:*"
    assert server.ask(f"ACL SETUSER bob on >secret {rights}") == "+OK"
    assert server.ask("ACL SETUSER guest on nopass +mget ~trioproxy:*") == "+OK"
    host = f"127.0.0.1:{server.port}"
    for words in rights.split():
        assert words in (module.__doc__ or "")
    async with open_valkey(f"valkey://bob:secret@{host}/1", timeout=PATIENT) as store:
        await store.put([(key("a"), b"1")], 60)
        assert await store.get([key("a")]) == [b"1"]
    async with open_valkey(f"valkey://guest@{host}", timeout=PATIENT) as store:
        assert await store.get([key("guest")]) == [None]
        with pytest.raises(StoreError, match="refuses: NOPERM User guest has no permissions to run the …"):
            await store.put([(key("guest"), b"1")], 60)


async def test_a_server_that_is_full() -> None:
    with valkey_server("--maxmemory", "3mb", "--maxmemory-policy", "noeviction") as server:
        async with open_valkey(server.url, timeout=PATIENT) as store:
            await store.put([(key("small"), b"1")], 60)
            much = [(key(f"{number}"), b"\0" * 100_000) for number in range(100)]
            with pytest.raises(StoreError, match="refuses: OOM command not allowed when used memory > …"):
                await store.put(much, 60)
            assert await store.get([key("small")]) == [b"1"]


async def test_a_server_that_takes_no_more_clients() -> None:
    with valkey_server("--maxclients", "1") as server:
        one, other = open_valkey(server.url, timeout=PATIENT), open_valkey(server.url, timeout=PATIENT)
        async with other as waiting:
            async with one as store:
                await store.get([key("a")])
                with pytest.raises(StoreError, match=r"refuses: ERR max number of clients reached$"):
                    await waiting.get([key("a")])
            with trio.fail_after(PATIENT):
                while server.ask("PING") != "+PONG":  # until it has noticed that the first left
                    await trio.lowlevel.checkpoint()
            await waiting.get([key("a")])


async def test_a_replica_takes_nothing_until_it_is_the_primary(server: ValkeyServer) -> None:
    with valkey_server("--replicaof", f"127.0.0.1 {server.port}") as replica:
        async with open_valkey(replica.url, timeout=PATIENT) as store:
            with pytest.raises(StoreError, match=r"refuses: (READONLY You can't write against|LOADING)"):
                await store.put([(key("replica"), b"1")], 60)
            assert replica.ask("REPLICAOF NO ONE") == "+OK"
            await store.put([(key("replica"), b"1")], 60)
            assert await store.get([key("replica")]) == [b"1"]


async def test_a_cluster_is_told_from_a_server() -> None:
    with valkey_server("--cluster-enabled", "yes", "--cluster-port", str(free_port())) as server:
        async with open_valkey(server.url, timeout=PATIENT) as store:
            with pytest.raises(StoreError, match=r"refuses: (CROSSSLOT|CLUSTERDOWN) "):
                await store.get([key("a"), key("b")])


# ── TLS ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

AUTHORITY = trustme.CA()


@asynccontextmanager
async def tls_front(server: ValkeyServer, name: str = "localhost") -> AsyncIterator[int]:
    """A port where `server` speaks TLS, with a certificate for `name`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert(name).configure_cert(context)

    async def serve(stream: trio.SSLStream[trio.SocketStream]) -> None:
        async def pump(source: trio.abc.ReceiveStream, sink: trio.abc.SendStream, scope: trio.CancelScope) -> None:
            try:
                while data := await source.receive_some():
                    await sink.send_all(data)
            except trio.BrokenResourceError:
                pass  # the client did not like our certificate, or left
            scope.cancel()

        behind = await trio.open_tcp_stream("127.0.0.1", server.port)
        async with stream, behind, trio.open_nursery() as nursery:
            nursery.start_soon(pump, stream, behind, nursery.cancel_scope)
            nursery.start_soon(pump, behind, stream, nursery.cancel_scope)

    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        tls = trio.SSLListener(listener, context, https_compatible=True)
        nursery.start_soon(trio.serve_listeners, serve, [tls])
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


@pytest.fixture
def _trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's trust store has our authority."""
    if sys.platform != "linux":
        pytest.skip("the trust store is not OpenSSL's, so nothing can be added to it for a test")
    AUTHORITY.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))


@pytest.mark.usefixtures("_trusted")
@pytest.mark.parametrize("scheme", ["valkeys", "rediss"])
async def test_tls(server: ValkeyServer, scheme: str) -> None:
    async with tls_front(server) as port, open_valkey(f"{scheme}://localhost:{port}", timeout=PATIENT) as store:
        await store.put([(key("tls"), b"\0" * 100_000)], 60)
        assert await store.get([key("tls")]) == [b"\0" * 100_000]
        await together(store, 3)


@pytest.mark.usefixtures("_trusted")
async def test_tls_with_a_certificate_for_another_name(server: ValkeyServer) -> None:
    front = tls_front(server, "other.example")
    async with front as port, open_valkey(f"valkeys://localhost:{port}", timeout=PATIENT) as store:
        with pytest.raises(StoreError, match=r"has a certificate that is not trusted: [Hh]ostname mismatch"):
            await store.get([key("a")])


async def test_tls_that_is_not_trusted(server: ValkeyServer) -> None:
    async with tls_front(server) as port, open_valkey(f"valkeys://localhost:{port}", timeout=PATIENT) as store:
        with pytest.raises(StoreError, match=r"has a certificate that is not trusted: .*issuer"):
            await store.get([key("a")])


async def test_tls_where_there_is_none() -> None:
    async with (
        false_server(always(b"-ERR unknown command\r\n")) as false,
        open_valkey(false.url.replace("valkey:", "valkeys:"), timeout=PATIENT) as store,
    ):
        with pytest.raises(StoreError, match="cannot be reached: TLS failed: "):
            await store.get([key("a")])


# ── a false server ──────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class FalseServer:
    url: str
    connections: int = 0
    open: int = 0
    most: int = 0
    """That were open at once."""


Script = Callable[[trio.SocketStream], Awaitable[None]]


@asynccontextmanager
async def false_server(script: Script, login: str = "") -> AsyncIterator[FalseServer]:
    """A server on a free port that does with each connection what `script` says, then closes it."""
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        false = FalseServer(f"valkey://{login}127.0.0.1:{listeners[0].socket.getsockname()[1]}")

        async def serve(stream: trio.SocketStream) -> None:
            false.connections += 1
            false.open += 1
            false.most = max(false.most, false.open)
            async with stream:
                try:
                    await script(stream)
                except trio.BrokenResourceError:
                    pass  # the client left
                finally:
                    false.open -= 1

        nursery.start_soon(trio.serve_listeners, serve, listeners)
        yield false
        nursery.cancel_scope.cancel()


def echo(command: bytes) -> bytes:
    """The answer to an MGET: every key's value is the key."""
    names = [part for part in command.split(b"\r\n") if part.startswith(b"trioproxy:")]
    values = [bytes.fromhex(name.partition(b":")[2].decode()) for name in names]
    return b"*%d\r\n" % len(values) + b"".join(b"$%d\r\n%s\r\n" % (len(value), value) for value in values)


async def answer_all(stream: trio.SocketStream) -> None:
    while command := await stream.receive_some():
        await stream.send_all(echo(command))


def always(answer: bytes) -> Script:
    async def script(stream: trio.SocketStream) -> None:
        while await stream.receive_some():
            await stream.send_all(answer)

    return script


async def together(store: Store, count: int) -> None:
    """So many calls at once, all of which succeed."""
    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(store.get, [key("together")])


async def fail(failures: list[str], call: Callable[..., Awaitable[object]], *args: object) -> None:
    """A call that fails: what it says is added to `failures`."""
    with pytest.raises(StoreError) as caught:
        await call(*args)
    failures.append(str(caught.value))


@pytest.mark.parametrize("sent", [0, 1, 5, 20, -1], ids=["nothing", "a byte", "a line", "half", "all but a byte"])
@pytest.mark.parametrize("when", ["before the next call", "within it"])
async def test_what_a_cancelled_call_did_not_read_is_never_the_next_calls(sent: int, when: str) -> None:
    late = trio.Event()
    first = True

    async def script(stream: trio.SocketStream) -> None:
        nonlocal first
        while command := await stream.receive_some():
            answer = echo(command)
            if first:
                first = False
                await stream.send_all(answer[:sent])
                await late.wait()
                answer = answer[sent:]
            await stream.send_all(answer)

    async def call(name: str) -> None:
        assert await store.get([key(name)]) == [key(name)]

    async with false_server(script) as false, open_valkey(false.url, timeout=PATIENT) as store:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.get, [key("cancelled")])
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        if when == "before the next call":
            late.set()
            await trio.testing.wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, "next")
            await trio.testing.wait_all_tasks_blocked()
            late.set()
        await call("the one after")


async def test_an_answer_to_nobody_is_never_the_next_calls() -> None:
    stray = b"*1\r\n$6\r\nSTOLEN\r\n"
    apart = trio.Event()

    async def script(stream: trio.SocketStream) -> None:
        await stream.send_all(echo(await stream.receive_some()) + stray)  # in one piece
        await trio.sleep_forever()

    async def later(stream: trio.SocketStream) -> None:
        await stream.send_all(echo(await stream.receive_some()))
        await apart.wait()
        await stream.send_all(stray)
        await trio.sleep_forever()

    for each in (script, later):
        async with false_server(each) as false, open_valkey(false.url, timeout=PATIENT) as store:
            for name in ("first", "second", "third"):
                assert await store.get([key(name)]) == [key(name)]
                apart.set()
                await trio.testing.wait_all_tasks_blocked()
            assert false.connections == 3


async def test_a_connection_is_used_again_until_it_was_silent_for_long(mock_clock: trio.testing.MockClock) -> None:
    async with false_server(answer_all) as false, open_valkey(false.url, timeout=PATIENT) as store:
        for silence, connections in [(0, 1), (module._IDLE_SECONDS - 1, 1), (module._IDLE_SECONDS + 1, 2)]:
            mock_clock.jump(silence)
            await store.get([key("a")])
            assert false.connections == connections
        await together(store, 3)
        for opened in (3, 1):  # two of them are too old the second time, although the one in front is not
            mock_clock.jump(module._IDLE_SECONDS * 0.6)
            await store.get([key("a")])
            await trio.testing.wait_all_tasks_blocked()
            assert false.open == opened
        mock_clock.jump(module._IDLE_SECONDS + 1)
        await store.get([key("a")])
        await trio.testing.wait_all_tasks_blocked()
        assert (false.open, false.connections) == (1, 5)


async def test_there_are_never_more_connections_than_the_bound() -> None:
    go = trio.Event()

    async def script(stream: trio.SocketStream) -> None:
        await go.wait()
        await answer_all(stream)

    async with false_server(script) as false, open_valkey(false.url, timeout=PATIENT) as store:
        async with trio.open_nursery() as nursery:
            for _ in range(5 * module._CONNECTIONS):
                nursery.start_soon(store.get, [key("a")])
            await trio.testing.wait_all_tasks_blocked()
            assert false.open == module._CONNECTIONS
            go.set()
        assert false.connections == false.most == module._CONNECTIONS


async def test_who_waits_for_a_connection_waits_within_the_timeout(mock_clock: trio.testing.MockClock) -> None:
    async def script(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with false_server(script) as false, open_valkey(false.url, timeout=2) as store:
        failures: list[str] = []
        async with trio.open_nursery() as nursery:
            for _ in range(3 * module._CONNECTIONS):
                nursery.start_soon(fail, failures, store.put, [(key("a"), b"1")], 60)
            await trio.testing.wait_all_tasks_blocked()
            mock_clock.jump(2)
        assert failures == [f"{false.url} did not answer within 2 seconds"] * (3 * module._CONNECTIONS)


async def test_leaving_closes_every_connection() -> None:
    go = trio.Event()

    async def script(stream: trio.SocketStream) -> None:
        await go.wait()
        await answer_all(stream)

    got: list[list[bytes | None]] = []
    async with false_server(script) as false, trio.open_nursery() as nursery:

        async def call(store: Store) -> None:
            got.append(await store.get([key("under way")]))

        async with open_valkey(false.url, timeout=PATIENT) as store:
            nursery.start_soon(call, store)
            await trio.testing.wait_all_tasks_blocked()
        assert false.open == 1
        go.set()
        await trio.testing.wait_all_tasks_blocked()
        assert got == [[key("under way")]]
        assert false.open == 0
        with pytest.raises(StoreError, match="is closed"):
            await store.get([key("a")])


async def test_what_is_raised_inside_comes_out_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        async with open_valkey("valkey://127.0.0.1", timeout=PATIENT):
            raise ZeroDivisionError


async def test_a_connection_that_breaks_within_an_answer_loses_no_place() -> None:
    broken = 0

    async def script(stream: trio.SocketStream) -> None:
        nonlocal broken
        if broken < 2 * module._CONNECTIONS:
            broken += 1
            await stream.send_all(echo(await stream.receive_some())[:-1])
            if broken % 2:
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")  # a reset
        else:
            await answer_all(stream)

    async with false_server(script) as false, open_valkey(false.url, timeout=PATIENT) as store:
        broken_off = r"closed the connection(: connection reset| before it had answered)$"
        for _ in range(2 * module._CONNECTIONS):
            with pytest.raises(StoreError, match=broken_off):
                await store.get([key("a")])
        await together(store, module._CONNECTIONS)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"-MOVED 3999 127.0.0.1:6381\r\n", "refuses: MOVED 3999 127.0.0.1:6381"),
        (b"-LOADING Valkey is loading the dataset in memory\r\n", "refuses: LOADING Valkey is loading the dataset"),
        (b"-DENIED " + b"long " * 300 + b"\r\n", "refuses: DENIED (long ){30}lon…$"),
        (b"-ERR no\x1b[2J\tor\r\n", r"refuses: ERR no\[2Jor$"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not answer as"),
        (b"*2\r\n$1\r\na\r\n$1\r\nb\r\n", "does not answer as"),
        (b"*1\r\n:1\r\n", "does not answer as"),
        (b"*1\r\n$+1\r\na\r\n", "does not answer as"),
        (b"*1\r\n$1\r\nabc", "does not answer as"),
        (b"$1\r\na\r\n", "does not answer as"),
        (b"\0" * 10_000, "does not answer as"),
        (b"*1\r\n$999999999\r\n", "sent an answer of more than 67108864 bytes"),
    ],
)
async def test_answers_that_are_none(answer: bytes, message: str) -> None:
    async with false_server(always(answer)) as false, open_valkey(false.url, timeout=PATIENT) as store:
        with pytest.raises(StoreError, match=message) as caught:
            await store.get([key("a")])
        assert str(caught.value).startswith(false.url)
        assert len(str(caught.value).splitlines()) == 1


async def test_a_put_is_not_done_if_any_of_it_is_refused() -> None:
    async with false_server(always(b"+OK\r\n-OOM no\r\n")) as false, open_valkey(false.url, timeout=PATIENT) as store:
        with pytest.raises(StoreError, match="refuses: OOM no"):
            await store.put([(key("a"), b"1"), (key("b"), b"1"), (key("c"), b"1")], 60)


async def test_an_answer_that_came_before_the_connection_broke_is_heard() -> None:
    async def script(stream: trio.SocketStream) -> None:
        await stream.send_all(b"-DENIED no\r\n")
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")  # a reset

    async with false_server(script) as false, open_valkey(false.url, timeout=PATIENT) as store:
        with pytest.raises(StoreError, match=r"refuses: DENIED no$"):
            await store.put([(key("a"), b"\0" * 1_000_000)], 60)  # more than is sent before it breaks


@pytest.mark.parametrize("url", ["valkey://a..b", f"valkey://{'a' * 64}.example", "valkey://a%00b", "unix:///%00/a"])
async def test_a_name_that_no_server_can_have(url: str) -> None:
    async with open_valkey(url, timeout=PATIENT) as store:
        with pytest.raises(StoreError, match="cannot be reached: "):
            await store.get([key("a")])


async def test_a_name_that_is_not_known() -> None:
    class Resolver(trio.abc.HostnameResolver):
        async def getaddrinfo(self, *_: object, **__: object) -> list[object]:  # type: ignore[override]
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        async def getnameinfo(self, *_: object, **__: object) -> tuple[str, str]:
            raise NotImplementedError

    trio.socket.set_custom_hostname_resolver(Resolver())
    async with open_valkey("valkey://user:secret@valkey.invalid", timeout=PATIENT) as store:
        with pytest.raises(StoreError) as caught:
            await store.get([key("a")])
    assert str(caught.value) == "valkey://valkey.invalid:6379 cannot be reached: Name or service not known"


# ── what is never said ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "answer",
    [
        b"-ERR unknown command 'AUTH', with args beginning with: 'bob' 'hunter2'\r\n",
        b"-ERR unknown command `AUTH`, with args beginning with: `bob`, `hunter2`\r\n",
        b"-hunter2 is wrong\r\n",
        b"-ERR it is not hunter2\r\n",
        b"hunter2\r\n",
        b"+hunter2\r\n",
        b"",
    ],
)
async def test_an_error_has_no_password(answer: bytes) -> None:
    async def script(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(answer)

    async with false_server(script, "bob:hunter2@") as false, open_valkey(false.url, timeout=PATIENT) as store:
        with pytest.raises(StoreError) as caught:
            await store.get([key("a")])
    said = "".join(traceback.format_exception(caught.value))
    assert "StoreError" in said
    assert "hunter2" not in said
    assert "hunter2" not in repr(vars(store))


async def test_an_error_has_no_value() -> None:
    answer = b"-ERR unknown command 'SET', with args beginning with: 'trioproxy:00' 'it's a secret' 'PX' \r\n"
    async with false_server(always(answer)) as false, open_valkey(false.url, timeout=PATIENT) as store:
        with pytest.raises(StoreError) as caught:
            await store.put([(key("a"), b"it's a secret")], 60)
    assert str(caught.value) == f"{false.url} refuses: ERR unknown command …"


SECRET = "hunter2"


@pytest.mark.parametrize(
    "url",
    [
        f"valkey://:{SECRET}/{SECRET}@host",  # an unencoded slash: the port is `hunter2`
        f"valkey://me:6379#{SECRET}@host",  # what is not encoded in this one and the next two hides the host
        f"valkey://me:6379?{SECRET}@host",
        f"valkey://me:6379/{SECRET}@host",
        f"valkey://:{SECRET}@",
        f"valkey://:{SECRET}@host/{SECRET}",
        f"valkey://:{SECRET}@host/1/2",
        f"valkey://:{SECRET}@host/-1",
        f"valkey://:{SECRET}@host?{SECRET}",
        f"valkey://:{SECRET}@host?db={SECRET}",
        f"valkey://:{SECRET}@host:99999",
        f"valkey://:{SECRET}@[::1",
        f"valkey://:{SECRET}\udcff@host",
        f"http://:{SECRET}@host",
        f"unix://:{SECRET}@host/path",
        f"unix://:{SECRET}@/path?db={SECRET}",
        f"unix://:{SECRET}@/path?timeout=1",
        f"unix://:{SECRET}@",
        SECRET,
        "",
    ],
)
async def test_a_url_that_is_none_is_refused_at_once_and_not_quoted(url: str) -> None:
    with pytest.raises(StoreError, match=r"^the store's URL is not one of valkey://") as caught:
        async with open_valkey(url, timeout=PATIENT):
            pass
    assert SECRET not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize(
    ("url", "text", "greeting"),
    [
        ("valkey://host", "valkey://host:6379", []),
        ("REDIS://HOST:1/", "redis://host:1", []),
        ("rediss://[::1]:7/15", "rediss://[::1]:7", [b"*2\r\n$6\r\nSELECT\r\n$2\r\n15\r\n"]),
        ("valkey://:pw@host", "valkey://host:6379", [b"*2\r\n$4\r\nAUTH\r\n$2\r\npw\r\n"]),
        ("valkey://me:pw@host", "valkey://host:6379", [b"*3\r\n$4\r\nAUTH\r\n$2\r\nme\r\n$2\r\npw\r\n"]),
        ("valkey://me@host", "valkey://host:6379", [b"*3\r\n$4\r\nAUTH\r\n$2\r\nme\r\n$0\r\n\r\n"]),
        (f"valkey://:{quote('ü:', safe='')}@host", "valkey://host:6379", [b"*2\r\n$4\r\nAUTH\r\n$3\r\n\xc3\xbc:\r\n"]),
        ("unix:///a%20b?db=2", "unix:/a b", [b"*2\r\n$6\r\nSELECT\r\n$1\r\n2\r\n"]),
    ],
)
def test_what_a_url_says(url: str, text: str, greeting: list[bytes]) -> None:
    server = module.read_url(url)
    assert str(server) == text
    assert list(server.greeting) == greeting
