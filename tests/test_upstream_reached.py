"""Mission M4.4 through all of trioproxy: an upstream is reached through a proxy where the file says so, and through one
of the environment only if it says that.
"""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import trio

from tests.http import proxies
from tests.http.proxies import CREDENTIALS
from tests.peers import Line, ask, connect, free_port, proxy, request, running, upstream
from trioproxy import config
from trioproxy.http.listen import Address

EVENT = b"event: ping\ndata: {}\n\n"


@pytest.mark.parametrize("scheme", ["http", "https", "socks5"])
async def test_a_stream_through_a_proxy(scheme: str, tmp_path: Path) -> None:
    half = trio.Event()

    async def script(line: Line) -> None:
        await line.head()
        await line.chunk(EVENT)
        await half.wait()
        await line.chunk(EVENT)
        await line.end()

    ca = ""
    if scheme == "https":
        proxies.CA.cert_pem.write_to_path(f"{tmp_path}/ca.pem")
        ca = f'ca = "{tmp_path}/ca.pem"'
    way = proxies.socks_proxy(guarded=True) if scheme == "socks5" else proxies.http_proxy(tls=bool(ca), guarded=True)
    async with way as between, upstream(script) as up:
        toml = up.toml(upstream=f'proxy = "{between.url_for(CREDENTIALS)}"\n{ca}')
        async with proxy(toml + "[pipeline]\nresponse = []") as port, await connect(port) as stream:
            await stream.send_all(request())
            while EVENT not in await stream.receive_some():
                pass
            half.set()
            while b"0\r\n\r\n" not in await stream.receive_some():
                pass
        assert between.connections == 1
    assert [asked.target for asked in up.requests] == ["/v1/messages"]


async def test_a_proxy_that_refuses_is_named_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with proxies.http_proxy(guarded=True) as between:
        toml = f'[upstreams.up]\nurl = "https://localhost:{free_port()}"\nproxy = "{between.url_for("me:Secret-@")}"'
        async with proxy(toml) as port:
            got = await ask(port)
    assert got.status == 502
    assert f"the proxy {between.url} answered 407".encode() in got.body
    assert b"Secret-" not in got.body
    assert "Secret-" not in caplog.text
    (record,) = (record for record in caplog.records if record.name == "trioproxy.access")
    assert f"the proxy {between.url} answered 407" in vars(record)["exchange"]["end"]
    assert "Secret-" not in str(record.__dict__)


async def test_the_environment_counts_only_where_the_file_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async def script(line: Line) -> None:
        await line.whole(b"{}")

    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("no_proxy", "")
    async with upstream(script) as up:
        for own, status in (("", 200), ('proxy = "env"', 502)):
            loaded = config.read(up.toml(upstream=own), Path("stages.toml"))  # with the environment as it is
            async with running(loaded, [Address("127.0.0.1:0")]) as (listeners, _):
                assert (await ask(int(listeners[0].address.rpartition(":")[2]))).status == status
    assert up.connections == 1
