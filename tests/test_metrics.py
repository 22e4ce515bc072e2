"""What is counted, and the page that shows it: its judge is the parser of Prometheus' own client."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from time import perf_counter

import msgspec
import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

from tests.peers import Line, answer, ask, connect, exchange, free_port, request, upstream
from tests.test_proxy import DELTA, END, START, STREAM, streams
from trioproxy import config
from trioproxy.config import Upstream
from trioproxy.exposition import Family, Snapshot, merged, write
from trioproxy.metrics import Metrics
from trioproxy.record import Record
from trioproxy.serving import Serving, open_serving
from trioproxy.shared import Shared
from trioproxy.store import Settings
from trioproxy.store.vault import open_vault
from trioproxy.targets import Targets

Samples = dict[str, float]


def page(*snapshots: Snapshot, dead: tuple[Snapshot, ...] = ()) -> Samples:
    """The samples of the page, each by its name and labels: `requests_total{route=/,upstream=up}`."""
    samples: Samples = {}
    for family in text_string_to_metric_families(write(merged(snapshots, dead)).decode()):
        for sample in family.samples:
            told = ",".join(f"{name}={value}" for name, value in sample.labels.items())
            name = sample.name.removeprefix("trioproxy_")
            assert samples.setdefault(f"{name}{{{told}}}", sample.value) == sample.value
    return samples


def about(samples: Samples, name: str) -> Samples:
    return {key.removeprefix(name): value for key, value in samples.items() if key.startswith(f"{name}{{")}


@asynccontextmanager
async def serving(toml: str) -> AsyncIterator[tuple[Serving, int]]:
    """A configuration that is served, and its port."""
    loaded = config.read(f'listen = "127.0.0.1:0"\n{toml}', Path("stages.toml"), {})
    async with open_serving(loaded) as served, trio.open_nursery() as nursery:
        nursery.start_soon(served.serve)
        yield served, int(served.addresses[0].rpartition(":")[2])
        nursery.cancel_scope.cancel()


async def counted(served: Serving) -> Samples:
    """The page, once the exchanges are over whose answers have been read."""
    await trio.testing.wait_all_tasks_blocked(0.01)
    return page(served.metrics.snapshot())


@contextmanager
def a_record(metrics: Metrics, *, model: str = "claude", status: int = 200, end: str = "complete") -> Iterator[Record]:
    with Record("x", metrics=metrics) as record:
        record.route, record.upstream, record.model, record.status, record.end = "/", "up", model, status, end
        yield record


# ── over sockets ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_what_one_stream_leaves_behind() -> None:
    usage = (
        b'"usage":{"input_tokens":100,"cache_read_input_tokens":30,"cache_creation_input_tokens":7,"output_tokens":1}'
    )

    async def script(line: Line) -> None:
        await line.head()
        await line.chunk(START.replace(b'"usage":{"input_tokens":1,"output_tokens":1}', usage) + DELTA + END)
        await line.end()

    async with upstream(script) as up, serving(up.toml()) as (served, port):
        assert (await ask(port, STREAM)).complete
        samples = await counted(served)
    where = "{route=/,upstream=up,model=claude}"
    both = "client_dialect=anthropic,upstream_dialect=anthropic"
    assert about(samples, "requests_total") == {f"{where[:-1]},{both},status=200,end=complete}}": 1}
    # Anthropic's input_tokens are without what came from its cache and what went there.
    assert samples[f"input_tokens_total{where}"] == 137
    assert samples[f"cached_input_tokens_total{where}"] == 30
    assert samples[f"output_tokens_total{where}"] == 2
    for name in ("request_seconds", "first_byte_seconds"):
        assert samples[f"{name}_count{where}"] == 1
        assert 0 < samples[f"{name}_sum{where}"] < 5
    assert samples["stage_items_total{direction=response,stage=parse}"] == 6
    assert samples["stage_seconds_total{direction=response,stage=parse}"] > 0
    assert samples["stage_counts_total{direction=response,stage=signature-filter,what=kept}"] == 1
    assert samples["stage_counts_total{direction=response,stage=reframe,what=events_out}"] == 6
    assert not about(samples, "upstream_errors_total")
    assert samples["upstream_requests_open{upstream=up}"] == 0
    assert samples["process_resident_memory_bytes{}"] > 1e7
    assert samples["process_open_fds{}"] > 3


CHAT = b"""data: {"id":"1","model":"gpt-x","choices":[{"index":0,"delta":{"content":"hi"}}]}

data: {"id":"1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}

data: {"choices":[],"usage":{"prompt_tokens":50,"completion_tokens":9,"prompt_tokens_details":{"cached_tokens":20}}}

data: [DONE]

"""
CHAT_WHOLE = b"""{"id":"1","object":"chat.completion","model":"gpt-x","choices":[{"index":0,"message":{
"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":50,"completion_tokens":9,
"prompt_tokens_details":{"cached_tokens":20}}}"""
RESPONSE = b"""{"id":"resp_1","object":"response","status":"completed","model":"gpt-x","output":[{"type":"message",
"id":"m","role":"assistant","status":"completed","content":[{"type":"output_text","text":"hi","annotations":[]}]}],
"usage":{"input_tokens":50,"input_tokens_details":{"cached_tokens":20},"output_tokens":9,"total_tokens":59}}"""
COMPLETED = b'event: response.completed\ndata: {"type":"response.completed","response":%s}\n\n' % RESPONSE.replace(
    b"\n", b""
)


@pytest.mark.parametrize("client", ["/v1/messages", "/v1/chat/completions", "/v1/responses"])
@pytest.mark.parametrize(
    ("dialect", "stream", "body"),
    [
        ("openai-chat", True, CHAT),
        ("openai-chat", False, CHAT_WHOLE),
        ("openai-responses", True, COMPLETED),
        ("openai-responses", False, RESPONSE),
    ],
)
async def test_tokens_mean_the_same_whoever_counts_them(client: str, dialect: str, stream: bool, body: bytes) -> None:
    async def script(line: Line) -> None:
        if stream:
            await line.head()
            await line.chunk(body)
            await line.end()
        else:
            await line.whole(body)

    said = {"input": "hi"} if client == "/v1/responses" else {"messages": [{"role": "user", "content": "hi"}]}
    asked = msgspec.json.encode({"model": "gpt", "max_tokens": 9, "stream": stream, **said})
    async with upstream(script) as up:
        toml = up.toml().replace('"anthropic"', f'"{dialect}"')
        async with serving(toml) as (served, port):
            got = await ask(port, asked, path=client)
            assert (got.status, got.complete) == (200, True)
            samples = await counted(served)
    where = "{route=/,upstream=up,model=gpt}"
    tokens = [samples[f"{name}_tokens_total{where}"] for name in ("input", "cached_input", "output")]
    assert tokens == [50, 20, 9]


async def test_a_message_dropped_by_a_filter_and_several_in_a_stream_are_counted() -> None:
    topic = DELTA.replace(b"hi", rb"{\"isNewTopic\": true, \"title\": null}")

    async def script(line: Line) -> None:
        await line.head()
        await line.chunk(START + topic + END + START + DELTA + END)
        await line.end()

    async with upstream(script) as up, serving(up.toml()) as (served, port):
        assert (await ask(port, STREAM)).complete
        samples = await counted(served)
    assert samples["stage_counts_total{direction=response,stage=signature-filter,what=dropped}"] == 1
    assert samples["output_tokens_total{route=/,upstream=up,model=claude}"] == 4  # both have cost


@pytest.mark.parametrize(
    ("status", "kind"), [(429, "rate_limit"), (529, "overloaded"), (401, "authentication"), (500, "upstream")]
)
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions"])
async def test_an_upstreams_error_is_a_failure_by_its_kind(path: str, status: int, kind: str) -> None:
    async def script(line: Line) -> None:
        await line.whole(b'{"type":"error","error":{"type":"x","message":"no"}}', status=status)

    body = b'{"model": "claude", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}'
    async with upstream(script) as up, serving(up.toml()) as (served, port):
        assert (await ask(port, body, path=path)).status == status
        samples = await counted(served)
    assert about(samples, "upstream_errors_total") == {f"{{upstream=up,kind={kind}}}": 1}
    (labels,) = about(samples, "requests_total")
    assert labels.endswith(f"status={status},end=failed}}")


async def test_an_upstream_that_is_not_there_and_a_mistake_of_the_clients() -> None:
    async with serving('[upstreams.up]\nurl = "http://127.0.0.1:1"') as (served, port):
        assert (await ask(port, STREAM)).status == 502
        assert (await ask(port, b"{}", path="/v1/nothing")).status in (404, 502)
        assert (await exchange(port, b"GET / HTTP/3.0\r\n\r\n")).status == 505
        samples = await counted(served)
    assert samples["upstream_errors_total{upstream=up,kind=upstream}"] >= 1
    ends = {labels.rpartition("end=")[2]: number for labels, number in about(samples, "requests_total").items()}
    assert ends == {"failed}": 1, "refused}": 1} or sum(ends.values()) == 2


async def test_what_is_under_way_shows() -> None:
    go_on = trio.Event()

    async def held(line: Line) -> None:
        await line.head()
        await line.chunk(START + DELTA)
        await go_on.wait()
        await line.chunk(END)
        await line.end()

    async with upstream(held) as up, serving(up.toml()) as (served, port), await connect(port) as stream:
        await stream.send_all(request(STREAM))
        await stream.receive_some()
        samples = await counted(served)
        assert (samples["requests_open{}"], samples["upstream_requests_open{upstream=up}"]) == (1, 1)
        go_on.set()
        await answer(stream)
        samples = await counted(served)
        assert (samples["requests_open{}"], samples["upstream_requests_open{upstream=up}"]) == (0, 0)


async def test_clients_are_counted_by_the_names_of_their_tokens() -> None:
    toml = '[clients]\nalice = "alice-has-this-token"\n[upstreams.up]\nurl = "http://127.0.0.1:%d"\ntoken = "ours"\n'
    async with upstream(streams) as up, serving(toml % up.port) as (served, port):
        got = await ask(port, STREAM, headers=("x-api-key: alice-has-this-token",))
        assert got.status == 200
        refused = await ask(port, STREAM, headers=("x-api-key: somebody-else-has-this",))
        assert refused.status == 401
        samples = await counted(served)
    assert about(samples, "client_requests_total") == {"{client=alice,end=complete}": 1}
    assert samples["client_output_tokens_total{client=alice}"] == 2


async def test_what_was_lost_between_the_dialects_is_counted_by_route() -> None:
    async def script(line: Line) -> None:
        await line.whole(CHAT_WHOLE)

    asked = b'{"model":"m","max_tokens":5,"top_k":3,"messages":[{"role":"user","content":"hi"}]}'
    async with upstream(script) as up, serving(up.toml().replace('"anthropic"', '"openai-chat"')) as (served, port):
        got = await ask(port, asked)
        assert "top_k" in got.headers["x-trioproxy-lossy"]
        samples = await counted(served)
    assert about(samples, "lossy_requests_total") == {"{route=/,upstream=up}": 1}


async def test_targets_that_come_and_go_leave_no_series_of_their_own() -> None:
    fast = '[targets.fast]\nmodel = "m"\nmode = "anthropic_messages"\nurl = "http://127.0.0.1:%d"\n'
    async with upstream(streams) as up, serving(up.toml() + fast % up.port) as (served, port):
        targets = served.targets
        said = {"model": "m", "mode": "anthropic_messages", "url": f"http://127.0.0.1:{up.port}"}
        for more in ({"token": "a"}, {"token": "b"}, {"provider": "mine", "token": "c"}, {"provider": "mine"}, None):
            done = await targets.register({"name": "fast"} if more is None else said | more)
            for token, status in ((str(done.token), 200), ("another", 401)):
                got = await ask(port, STREAM, path=f"{done.path}/v1/messages", headers=(f"x-api-key: {token}",))
                assert got.status == status
            samples = await counted(served)
            if more is not None:
                await targets.forget(done.key)
    named = ("targets.registered", "targets.mine", "targets.fast")
    assert about(samples, "client_requests_total") == {
        f"{{client={name},end=complete}}": number for name, number in zip(named, (2, 2, 1), strict=True)
    }
    assert {labels.split(",model")[0] for labels in about(samples, "request_seconds_count")} == {
        "{route=/targets,upstream=",
        *(f"{{route=/targets,upstream={name}" for name in named),
    }
    assert about(samples, "upstream_requests_open") == {"{upstream=targets.fast}": 0}
    assert about(samples, "output_tokens_total")["{route=/targets,upstream=targets.mine,model=m}"] == 4


async def test_of_targets_under_way_only_so_many_providers_are_told_apart() -> None:
    loaded = config.read('[upstreams.up]\nurl = "http://127.0.0.1:1"', Path("stages.toml"), {})
    targets, metrics = Targets(loaded), Metrics()
    async with open_vault(Settings(), Path()) as vault:
        shared = Shared(vault, targets, metrics)
        for number in range(300):
            done = await targets.register({"model": "m", "url": "http://h", "provider": f"p{number}"})
            await shared.guards.of(Upstream(f"targets.{done.key}", "anthropic", None)).enter(number)
            with a_record(metrics) as record:
                record.route, record.upstream = done.path, f"targets.{done.key}"
                record.retried(record.upstream, "stale connection", elsewhere=False)
        samples = page(metrics.snapshot())
    for name in ("upstream_requests_open", "retries_total", "request_seconds_count"):
        told = about(samples, name)
        assert len(told) == 201
        assert sorted(told.values())[-2:] == [1, 100]


# ── bounds ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_names_of_models_are_bounded_and_only_those_that_answer_count() -> None:
    metrics = Metrics()
    for number in range(300):
        with a_record(metrics, model=f"made-up-{number}", status=404, end="failed: no"):
            pass
    assert {labels.split(",")[2] for labels in about(page(metrics.snapshot()), "requests_total")} == {"model=other"}
    for number in range(300):
        with a_record(metrics, model=f"m{number}"):
            pass
    with a_record(metrics, model="m7", status=500, end="failed: no"):  # it is known by now
        pass
    samples = page(metrics.snapshot())
    counts = about(samples, "request_seconds_count")
    assert len(counts) == 201
    assert counts["{route=/,upstream=up,model=other}"] == 400
    assert counts["{route=/,upstream=up,model=m7}"] == 2


async def test_no_metric_tells_more_than_so_many_apart() -> None:
    metrics = Metrics()
    for number in range(6000):
        metrics.add("retries_total", (f"u{number}", "busy"))
    counted = about(page(metrics.snapshot()), "retries_total")
    assert len(counted) == 5001
    assert counted["{upstream=other,cause=other}"] == 1000


async def test_it_costs_an_exchange_next_to_nothing() -> None:
    """A generous bound: benchmarks/observing.py measures it."""
    metrics = Metrics()

    def seconds(metrics: Metrics | None, number: int = 2000) -> float:
        best = 1.0
        for _ in range(3):
            began = perf_counter()
            for _ in range(number):
                with Record("x", metrics=metrics) as record:
                    record.route, record.upstream, record.model, record.status = "/", "up", "claude", 200
                    record.count({"tokens_in": 5, "tokens_out": 5})
            best = min(best, (perf_counter() - began) / number)
        return best

    assert seconds(metrics) - seconds(None) < 100e-6


# ── the page ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_whatever_is_in_a_label_can_be_read_back() -> None:
    hostile = 'a"b\\c\nd\\n{},=é\x1b'
    family = Family("trioproxy_x_total", "counter", 'says "so" \\ and\nmore', ("what",), [((hostile,), [1.5])])
    (read,) = text_string_to_metric_families(write(Snapshot([family])).decode())
    assert read.samples[0].labels == {"what": hostile}
    assert read.samples[0].value == 1.5
    assert read.documentation == 'says "so" \\ and\nmore'


def test_half_a_surrogate_pair_does_not_cost_the_page() -> None:
    write(Snapshot([Family("x_total", "counter", "", ("what",), [(("\ud83d",), [1])])]))


def test_a_histogram_adds_up() -> None:
    family = Family("x_seconds", "histogram", "Time.", ("a",), [(("b",), [2, 0, 3, 12.5])], (0.1, 1.0))
    (read,) = text_string_to_metric_families(write(Snapshot([family])).decode())
    assert [(sample.name, sample.labels.get("le"), sample.value) for sample in read.samples] == [
        ("x_seconds_bucket", "0.1", 2),
        ("x_seconds_bucket", "1", 2),
        ("x_seconds_bucket", "+Inf", 5),
        ("x_seconds_sum", None, 12.5),
        ("x_seconds_count", None, 5),
    ]


async def test_what_takes_as_long_as_a_bound_is_within_it(autojump_clock: trio.testing.MockClock) -> None:
    metrics = Metrics()
    for seconds in (0.05, 0.051, 599.0, 601.0):
        with a_record(metrics):
            await trio.sleep(seconds)
    samples = page(metrics.snapshot())
    where = "route=/,upstream=up,model=claude"
    below = [samples[f"request_seconds_bucket{{{where},le={bound}}}"] for bound in ("0.05", "0.1", "600", "+Inf")]
    assert below == [1, 2, 3, 4]


async def test_names_are_as_prometheus_wants_them() -> None:
    for family in [*Metrics().snapshot().counted, *Metrics().snapshot().now]:
        assert family.kind != "counter" or family.name.endswith("_total")
        assert family.kind != "histogram" or family.name.endswith("_seconds")
        assert family.help
        assert family.name.startswith(("trioproxy_", "process_"))


# ── several processes ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_workers_add_up_and_the_dead_still_count() -> None:
    first, second = Metrics(worker=1), Metrics(worker=2)
    for metrics in (first, second, second):
        with a_record(metrics) as record:
            record.count({"tokens_out": 5})
            record.first_byte()
    first.open = 1
    # As they come over a channel from another process.
    sent = [msgspec.json.decode(msgspec.json.encode(each.snapshot()), type=Snapshot) for each in (first, second)]
    samples = page(*sent)
    where = "{route=/,upstream=up,model=claude}"
    assert samples[f"output_tokens_total{where}"] == 15
    assert samples[f"request_seconds_count{where}"] == samples[f"first_byte_seconds_count{where}"] == 3
    assert (samples["requests_open{worker=1}"], samples["requests_open{worker=2}"]) == (1, 0)
    after = page(sent[1], dead=(sent[0],))
    assert after[f"output_tokens_total{where}"] == 15
    assert "requests_open{worker=1}" not in after
    # However many have died, one snapshot is enough to remember them by.
    base = merged((), (sent[0], sent[0]))
    assert base.now == []
    assert page(sent[1], dead=(base,))[f"output_tokens_total{where}"] == 20


async def test_a_store_that_is_away_shows(tmp_path: Path) -> None:
    toml = f'[store]\nurl = "sqlite:{tmp_path}/kept.db"\n[upstreams.up]\nurl = "http://127.0.0.1:1"'
    async with serving(toml) as (served, _):
        assert about(await counted(served), "store_up") == {"{use=read}": 1, "{use=write}": 1}
    async with open_vault(Settings(url=f"valkey://127.0.0.1:{free_port()}"), tmp_path) as vault:
        drawer = vault.drawer("somebody")
        assert drawer is not None
        for number in range(4):
            await drawer.recall("thinking", [f"{number}"])
        assert vault.health == {"read": False, "write": True}
    async with open_vault(Settings(), tmp_path) as vault:
        assert vault.health == {}  # there is none that could be away


async def test_retries_and_fallbacks_are_told_apart() -> None:
    metrics = Metrics()
    with a_record(metrics) as record:
        record.retried("a", "busy", elsewhere=False)
        record.retried("a", "unreachable", elsewhere=True)
    samples = page(metrics.snapshot())
    assert about(samples, "retries_total") == {"{upstream=a,cause=busy}": 1}
    assert about(samples, "fallbacks_total") == {"{upstream=a,cause=unreachable}": 1}
