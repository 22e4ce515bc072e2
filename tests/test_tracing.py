"""Traces, as a collector gets them: a real one on loopback, that reads OTLP."""

import gzip
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trio
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from tests.peers import Line, ask, free_port, upstream
from tests.test_proxy import STREAM, WHOLE, streams
from trioproxy import config
from trioproxy.config import Tracing
from trioproxy.errors import ConfigError
from trioproxy.serving import open_serving
from trioproxy.tracing import UNTRACED, Tracer, open_tracer

CHAT = b"""{"id":"1","object":"chat.completion","model":"gpt-x-2026","choices":[{"index":0,"message":{
"role":"assistant","content":"sesame"},"finish_reason":"stop"}],"usage":{"prompt_tokens":50,"completion_tokens":9,
"prompt_tokens_details":{"cached_tokens":20}}}"""
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACED = f"traceparent: 00-{TRACE}-{PARENT}-01"


class Collector:
    """Keeps what it is sent. `silent`: it takes requests and never answers."""

    def __init__(self, *, silent: bool = False, status: int = 200) -> None:
        self.raw: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.over = threading.Event()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                coded = self.headers.get("content-encoding") == "gzip"
                collector.raw.append(gzip.decompress(body) if coded else body)
                collector.headers.append({name.lower(): value for name, value in self.headers.items()})
                collector.paths.append(self.path)
                if silent:
                    collector.over.wait(20)
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *args: object) -> None:
                """Nothing: stderr is the tests'."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: object, address: object) -> None:
                """Whoever has sent something need not wait for the answer."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def toml(self, more: str = "") -> str:
        return f'[tracing]\nendpoint = "http://127.0.0.1:{self.port}"\n{more}\n'

    def spans(self) -> list[dict[str, Any]]:
        """Every span it was told of: its own fields, and its attributes among them."""
        spans = []
        for raw in self.raw:
            for resource in ExportTraceServiceRequest.FromString(raw).resource_spans:
                told = {each.key: _plain(each.value) for each in resource.resource.attributes}
                for span in (span for scope in resource.scope_spans for span in scope.spans):
                    fields = {
                        "name": span.name,
                        "kind": {2: "server", 3: "client"}[span.kind],
                        "trace": span.trace_id.hex(),
                        "id": span.span_id.hex(),
                        "parent": span.parent_span_id.hex(),
                        "failed": span.status.code == 2,
                        "seconds": (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
                        "service": told["service.name"],
                    }
                    spans.append(fields | {each.key: _plain(each.value) for each in span.attributes})
        return spans

    def one(self, kind: str) -> dict[str, Any]:
        (span,) = [span for span in self.spans() if span["kind"] == kind]
        return span

    def close(self) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _plain(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    assert kind
    return [_plain(each) for each in value.array_value.values] if kind == "array_value" else getattr(value, kind)


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


@asynccontextmanager
async def serving(toml: str) -> AsyncIterator[int]:
    """A configuration that is served, and its port. Leaving it sends what there is to tell."""
    loaded = config.read(f'listen = "127.0.0.1:0"\n{toml}', Path("stages.toml"), {})
    async with open_serving(loaded) as served, trio.open_nursery() as nursery:
        nursery.start_soon(served.serve)
        yield int(served.addresses[0].rpartition(":")[2])
        await trio.testing.wait_all_tasks_blocked(0.01)
        nursery.cancel_scope.cancel()


async def test_an_exchange_is_a_span_and_within_it_one_for_the_upstream(collector: Collector) -> None:
    async def script(line: Line) -> None:
        await line.whole(CHAT)

    asked = b'{"model":"claude","max_tokens":5,"messages":[{"role":"user","content":"open"}]}'
    async with upstream(script) as up:
        toml = collector.toml('service-name = "llm"') + up.toml(upstream='model = "gpt-x"\ntoken = "sk-upstream"')
        async with serving(toml.replace('"anthropic"', '"openai-chat"')) as port:
            got = await ask(port, asked, headers=("x-api-key: sk-client", "x-claude-code-session-id: s1"))
            assert got.status == 200
    server, client = collector.one("server"), collector.one("client")
    assert client["trace"] == server["trace"]
    assert (server["parent"], client["parent"]) == ("", server["id"])
    # The second bit says that the trace's id is random (W3C Trace Context, level 2).
    told_on = up.requests[0].header("traceparent")
    assert told_on in [f"00-{client['trace']}-{client['id']}-{flags}" for flags in ("01", "03")]
    assert 0 < client["seconds"] <= server["seconds"] < 5
    told: dict[str, Any] = {
        "name": "POST /",
        "http.request.method": "POST",
        "http.route": "/",
        "url.path": "/v1/messages",
    }
    told |= {"http.response.status_code": 200, "trioproxy.id": got.headers["x-trioproxy-id"]}
    told |= {"trioproxy.end": "complete", "client.address": "127.0.0.1", "service": "llm", "failed": False}
    assert told.items() <= server.items()
    told = {
        "name": "chat gpt-x",
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-x",
        "gen_ai.response.model": "gpt-x-2026",
        "gen_ai.response.finish_reasons": ["end_turn"],
        "gen_ai.usage.input_tokens": 50,
        "gen_ai.usage.output_tokens": 9,
        "gen_ai.usage.cache_read.input_tokens": 20,
        "gen_ai.conversation.id": "s1",
        "server.address": "127.0.0.1",
        "server.port": up.port,
        "http.response.status_code": 200,
        "trioproxy.upstream": "up",
        "failed": False,
    }
    assert told.items() <= client.items()
    for secret in (b"sk-upstream", b"sk-client", b"sesame", b"open", b"x-api-key"):
        assert not [
            raw for raw in collector.raw if secret in raw.replace(b"opentelemetry", b"").replace(b"openai", b"")
        ]


async def test_a_clients_trace_goes_on(collector: Collector) -> None:
    async with upstream(streams) as up, serving(collector.toml() + up.toml()) as port:
        await ask(port, STREAM, headers=(TRACED, "tracestate: vendor=1"))
    server, client = collector.one("server"), collector.one("client")
    assert (server["trace"], server["parent"]) == (TRACE, PARENT)
    assert up.requests[0].header("traceparent") == f"00-{TRACE}-{client['id']}-01"
    assert up.requests[0].header("tracestate") == "vendor=1"


@pytest.mark.parametrize("wrong", ["00-nonsense-01", f"00-{'0' * 32}-{PARENT}-01", ""])
async def test_what_is_no_trace_is_not_gone_on_with(collector: Collector, wrong: str) -> None:
    async with upstream(streams) as up, serving(collector.toml() + up.toml()) as port:
        await ask(port, STREAM, headers=(f"traceparent: {wrong}", "tracestate: vendor=1"))
    server = collector.one("server")
    assert server["parent"] == ""
    assert (up.requests[0].header("traceparent") or "").startswith(f"00-{server['trace']}-")
    assert up.requests[0].header("tracestate") is None


@pytest.mark.parametrize(("flag", "sent"), [("01", 2), ("00", 0), (None, 0)])
async def test_a_share_of_the_traces_is_sent_and_clients_decide_on_theirs(
    collector: Collector, flag: str | None, sent: int
) -> None:
    said = (f"traceparent: 00-{TRACE}-{PARENT}-{flag}",) if flag else ()
    async with upstream(streams) as up, serving(collector.toml("sample = 0.0") + up.toml()) as port:
        await ask(port, STREAM, headers=said)
    assert len(collector.spans()) == sent
    flags = (up.requests[0].header("traceparent") or "").rpartition("-")[2]  # it is told on all the same
    assert flags in ((flag,) if flag else ("00", "02"))


async def test_each_attempt_has_its_span(collector: Collector) -> None:
    toml = f"""
[upstreams.away]
url = "http://127.0.0.1:{free_port()}"
[routes]
"/" = {{ upstreams = ["away", "up"] }}
"""
    async with upstream(streams) as up, serving(collector.toml() + up.toml() + toml) as port:
        assert (await ask(port, STREAM)).status == 200
    attempts = {span["trioproxy.upstream"]: span for span in collector.spans() if span["kind"] == "client"}
    assert (attempts["away"]["failed"], attempts["up"]["failed"]) == (True, False)
    assert attempts["away"]["error.type"] == "no answer"
    assert "gen_ai.usage.output_tokens" not in attempts["away"]
    assert attempts["up"]["gen_ai.usage.output_tokens"] == 2
    assert collector.one("server")["failed"] is False


@pytest.mark.parametrize(("status", "ours"), [(529, True), (400, False)])
async def test_errors(collector: Collector, status: int, ours: bool) -> None:
    async def script(line: Line) -> None:
        await line.whole(b'{"type":"error","error":{"type":"x","message":"sesame"}}', status=status)

    async with upstream(script) as up, serving(collector.toml() + up.toml()) as port:
        assert (await ask(port, WHOLE)).status == status
    server, client = collector.one("server"), collector.one("client")
    assert (client["failed"], client["error.type"], client["http.response.status_code"]) == (True, str(status), status)
    assert (server["failed"], server["trioproxy.end"]) == (ours, "failed")  # a 400 is the client's own mistake
    assert b"sesame" not in collector.raw[0]


async def test_a_stream_that_breaks_off_has_failed(collector: Collector) -> None:
    async def script(line: Line) -> None:
        await line.head()
        line.reset()

    async with upstream(script) as up, serving(collector.toml() + up.toml()) as port:
        await ask(port, STREAM)
    assert collector.one("server")["failed"]
    assert collector.one("client")["failed"]


async def test_the_collector_gets_its_header_and_no_proxy_of_the_environment_is_used(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    headers = 'headers = { authorization = "Bearer sk-collector" }'
    async with upstream(streams) as up, serving(collector.toml(headers) + up.toml()) as port:
        await ask(port, STREAM)
    assert collector.headers[0]["authorization"] == "Bearer sk-collector"
    assert collector.paths == ["/v1/traces"]


@pytest.mark.parametrize("how", ["silent", "busy"])
async def test_a_collector_that_does_not_answer_costs_no_request_and_two_seconds_at_the_end(
    how: str, caplog: pytest.LogCaptureFixture
) -> None:
    collector = Collector(silent=how == "silent", status=503 if how == "busy" else 200)
    try:
        async with upstream(streams) as up, serving(collector.toml() + up.toml()) as port:
            began = time.monotonic()
            assert (await ask(port, STREAM)).complete
            assert time.monotonic() - began < 1
            began = time.monotonic()
        assert time.monotonic() - began < 3
    finally:
        collector.close()
    assert "the last spans could not be sent to http://127.0.0.1:" in caplog.text
    assert "Traceback" not in caplog.text


async def test_without_the_section_a_clients_trace_passes() -> None:
    async with upstream(streams) as up, serving(up.toml()) as port:
        await ask(port, STREAM, headers=(TRACED, "tracestate: vendor=1"))
        await ask(port, STREAM)
    first, second = up.requests
    assert first.header("traceparent") == TRACED.partition(": ")[2]
    assert first.header("tracestate") == "vendor=1"
    assert second.header("traceparent") is None


async def test_off_it_is_nothing() -> None:
    async with open_tracer(None) as tracer:
        assert type(tracer) is Tracer
        assert tracer.begin("POST", []) is UNTRACED


def test_off_nothing_of_it_is_imported() -> None:
    code = "import sys, trioproxy.serving; print(*[name for name in sys.modules if name.startswith('opentelemetry')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert done.stdout == "\n"


# ── the file ────────────────────────────────────────────────────────────────────────────────────────────────────────

UP = '[upstreams.up]\nurl = "http://127.0.0.1:1"\n'


def test_what_the_file_can_say() -> None:
    toml = """[tracing]
endpoint = "https://collector.lan/otlp/"
service-name = "llm"
sample = 0.25
headers = { Authorization = { env = "COLLECTOR" } }
"""
    loaded = config.read(toml + UP, Path("stages.toml"), {"COLLECTOR": "Bearer sk-collector"})
    assert loaded.tracing is not None
    assert (loaded.tracing.endpoint, loaded.tracing.service_name) == ("https://collector.lan/otlp/v1/traces", "llm")
    assert loaded.tracing.sample == 0.25
    assert loaded.tracing.headers == (("authorization", "Bearer sk-collector"),)
    assert "sk-collector" not in repr(loaded.tracing)
    assert config.read(UP, Path("stages.toml"), {}).tracing is None
    usual = config.read(f'[tracing]\nendpoint = "http://[::1]:4318/v1/traces"\n{UP}', Path("stages.toml"), {}).tracing
    assert usual == Tracing(endpoint="http://[::1]:4318/v1/traces", service_name="trioproxy", sample=1.0)


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("[tracing]", "[tracing] needs an endpoint"),
        ('[tracing]\nendpoint = "127.0.0.1:4318"', "Expected the URL of a collector such as"),
        ('[tracing]\nendpoint = "grpc://127.0.0.1:4317"', "4317 is usually gRPC"),
        ('[tracing]\nendpoint = "http://x:port"', "Expected the URL of a collector"),
        ('[tracing]\nendpoint = "me:sk-secret@collector.lan"', "must not hold credentials"),
        ('[tracing]\nendpoint = "http://me:sk-secret@collector.lan"', "must not hold credentials"),
        ('[tracing]\nendpoint = "http://x"\nsample = 1.5', "sample: Expected"),
        ('[tracing]\nendpoint = "http://x"\nendpiont = 1', "has no key 'endpiont'"),
        ('[tracing]\nendpoint = "http://x"\nheaders = { "a b" = "sk-secret" }', "'a b' is not a header field"),
        ('[tracing]\nendpoint = "http://x"\nheaders = { authorization = "sk-secret\\n" , x = "" }', "Expected a token"),
    ],
)
def test_what_is_wrong_with_it_is_said_and_no_secret(toml: str, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        config.read(f"{toml}\n{UP}", Path("stages.toml"), {})
    assert said in str(raised.value)
    assert "sk-secret" not in str(raised.value)
