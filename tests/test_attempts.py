"""One request at several upstreams, over real sockets: which failure leads to another attempt, and which to an answer.

In the tables `a` is the upstream that fails and `b` the one behind it, which answers. Each row says what the client got
and how often each was asked: streaming or not, alone, with retries, and with another upstream.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from email.utils import formatdate
from time import time

import msgspec
import pytest
import trio

from tests.peers import Answer, Line, Upstream, ask, connect, free_port, proxy, request, upstream
from tests.test_proxy import DELTA, END, MESSAGE, START, STREAM, WHOLE, streams

Script = Callable[[Line], Awaitable[None]]

ERROR = b'{"type":"error","error":{"type":"overloaded_error","message":"so busy"}}'
CHUNK = b'data: {"id":"c","object":"chat.completion.chunk","model":"m","choices":[{"index":0,"delta":'


async def answers(line: Line) -> None:
    """As asked: a stream or a whole message."""
    if b"stream" in line.asked.body:
        await streams(line)
    else:
        await line.whole(MESSAGE)


def status(code: int, *fields: str) -> Script:
    async def script(line: Line) -> None:
        head = [f"HTTP/1.1 {code} Whatever", "content-type: application/json", f"content-length: {len(ERROR)}", *fields]
        await line.send("\r\n".join([*head, "", ""]).encode() + ERROR)

    return script


async def resets(line: Line) -> None:
    line.reset()


async def silent(line: Line) -> None:
    await line.closed.wait()


async def fails_in_the_first_event(line: Line) -> None:
    if b"stream" not in line.asked.body:
        await line.whole(ERROR)
        return
    await line.head()
    await line.chunk(b"event: error\ndata: " + ERROR + b"\n\n")
    await line.end()


def begins(then: Script) -> Script:
    """An answer that breaks off after its first bytes."""

    async def script(line: Line) -> None:
        if b"stream" in line.asked.body:
            await line.head()
            await line.chunk(START + DELTA)
        else:
            await line.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 999\r\n\r\n{")
        await trio.testing.wait_all_tasks_blocked(0.02)  # a reset would overtake what was sent
        await then(line)

    return script


async def fails_in_mid_stream(line: Line) -> None:
    await line.chunk(b"event: error\ndata: " + ERROR + b"\n\n")
    await line.end()


def toml(*, a: int, b: int | None = None, more: str = "", routes: str = "") -> str:
    text = f'[upstreams.a]\nurl = "http://127.0.0.1:{a}"\n{more}\n'
    if b is not None:
        text += f'[upstreams.b]\nurl = "http://127.0.0.1:{b}"\n'
    routes = routes or ('"a"' if b is None else '["a", "b"]')
    return f'{text}[routes]\n"/" = {routes}\n'


@asynccontextmanager
async def between(
    a: Script | None, b: Script | None = None, *, more: str = "", routes: str = ""
) -> AsyncIterator[tuple[Upstream, Upstream, int]]:
    """Upstreams a (None: nobody is there) and b (None: the route has only a), and the port of the proxy before them."""
    async with upstream(a or silent) as first, upstream(b or silent) as second:
        where = first.port if a else free_port()
        text = toml(a=where, b=second.port if b else None, more=more, routes=routes)
        async with proxy(text) as port:
            yield first, second, port


class Holding:
    """An upstream script that answers when told to."""

    def __init__(self) -> None:
        self.asked, self.go_on = trio.Event(), trio.Event()

    async def __call__(self, line: Line) -> None:
        self.asked.set()
        await self.go_on.wait()
        await answers(line)


def outcome(got: Answer) -> str:
    """What the client has in hand."""
    failed = b'"type":"error"' in got.body.replace(b" ", b"")
    if got.status != 200:
        assert failed
        return str(got.status)
    if failed:
        return "begun, then an error" if DELTA in got.body else "an error"
    return "answered" if got.complete else "broken off"


RETRIES = "retries = 1"
HASTY = '\nfirst-byte-timeout = "300ms"\nidle-timeout = "300ms"'
"""For upstreams that say nothing; in front of others a busy machine must not look like them."""

# Before the first byte: what a does; what comes of it if a is alone, if a may be asked twice, and if there is b.
# Each is what the client got, and how often a was asked; b, if it is, answers.
BEFORE: dict[str, tuple[Script | None, tuple[str, int], tuple[str, int], tuple[str, int]]] = {
    "nobody is there": (None, ("502", 0), ("502", 0), ("answered", 0)),
    "it hangs up": (resets, ("502", 1), ("502", 1), ("answered", 1)),
    "it says nothing": (silent, ("504", 1), ("504", 1), ("answered", 1)),
    "429, soon": (status(429, "retry-after-ms: 20"), ("429", 1), ("429", 2), ("answered", 1)),
    "503, soon": (status(503, "retry-after: 0"), ("503", 1), ("503", 2), ("answered", 1)),
    "529, soon": (status(529, "retry-after-ms: 20"), ("529", 1), ("529", 2), ("answered", 1)),
    "429, late": (status(429, "retry-after: 60"), ("429", 1), ("429", 1), ("answered", 1)),
    "503, late": (status(503, "retry-after: 6"), ("503", 1), ("503", 1), ("answered", 1)),
    "429, and do not": (
        status(429, "retry-after-ms: 20", "x-should-retry: false"),
        ("429", 1),
        ("429", 1),
        ("answered", 1),
    ),
    "500": (status(500), ("500", 1), ("500", 1), ("answered", 1)),
    "502": (status(502), ("502", 1), ("502", 1), ("answered", 1)),
    "504": (status(504), ("504", 1), ("504", 1), ("answered", 1)),
    # Of what is wrong with the request, or the key, another upstream would only be told the same.
    "400": (status(400), ("400", 1), ("400", 1), ("400", 1)),
    "401": (status(401), ("401", 1), ("401", 1), ("401", 1)),
    "403": (status(403), ("403", 1), ("403", 1), ("403", 1)),
    "404": (status(404), ("404", 1), ("404", 1), ("404", 1)),
    "413": (status(413), ("413", 1), ("413", 1), ("413", 1)),
}
WAYS = {"alone": 1, "with a retry": 2, "with another": 3}
WITH: dict[str, tuple[list[Script], str]] = {
    "alone": ([], ""),
    "with a retry": ([], RETRIES),
    "with another": ([answers], ""),
}


@pytest.mark.parametrize("body", [STREAM, WHOLE], ids=["stream", "whole"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("what", BEFORE)
async def test_before_the_first_byte(what: str, way: str, body: bytes) -> None:
    row = BEFORE[what]
    expected, asked = row[WAYS[way]]  # type: ignore[misc]  # one of the three pairs
    more = WITH[way][1] + (HASTY if row[0] is silent else "")
    async with between(row[0], *WITH[way][0], more=more) as (a, b, port):
        got = await ask(port, body)
    assert (outcome(got), len(a.requests)) == (expected, asked)
    assert len(b.requests) == (way == "with another" and expected == "answered")
    assert all(each.body == body for each in [*a.requests, *b.requests])
    if expected == "answered":
        assert got.headers["x-trioproxy-upstream"] == "b"
        assert got.body == (START + DELTA + END if body is STREAM else MESSAGE)


@pytest.mark.parametrize(("body", "alone"), [(STREAM, "an error"), (WHOLE, "529")], ids=["stream", "whole"])
@pytest.mark.parametrize("way", WAYS)
async def test_an_error_under_a_200_before_anything_else(body: bytes, alone: str, way: str) -> None:
    async with between(fails_in_the_first_event, *WITH[way][0], more=WITH[way][1]) as (a, b, port):
        got = await ask(port, body)
    assert outcome(got) == ("answered" if way == "with another" else alone)
    assert (len(a.requests), len(b.requests)) == (1, int(way == "with another"))


# After the first byte nobody is asked again: what the client has is all it gets. A whole answer has not begun before
# all of it is there, so a broken one is as good as none.
AFTER: dict[str, tuple[Script, str]] = {
    "it hangs up": (begins(resets), "502"),
    "it says nothing more": (begins(silent), "504"),
    "it fails": (begins(fails_in_mid_stream), "502"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("what", AFTER)
async def test_after_the_first_byte_of_a_stream(what: str, way: str) -> None:
    more = WITH[way][1] + (HASTY if what == "it says nothing more" else "")
    async with between(AFTER[what][0], *WITH[way][0], more=more) as (a, b, port):
        got = await ask(port, STREAM)
    assert (outcome(got), len(a.requests), len(b.requests)) == ("begun, then an error", 1, 0)
    assert got.body.startswith(START + DELTA)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("what", ["it hangs up", "it says nothing more"])
async def test_a_whole_answer_has_not_begun_before_it_is_complete(what: str, way: str) -> None:
    more = WITH[way][1] + (HASTY if what == "it says nothing more" else "")
    async with between(AFTER[what][0], *WITH[way][0], more=more) as (a, b, port):
        got = await ask(port, WHOLE)
    expected = "answered" if way == "with another" else AFTER[what][1]
    assert (outcome(got), len(a.requests), len(b.requests)) == (expected, 1, int(way == "with another"))


# ── a connection that was kept open ─────────────────────────────────────────────────────────────────────────────────


LARGE = b'{"model":"m","pad":"' + b"x" * 300_000 + b'"}'
PASSING = "[pipeline]\nresponse = []\nrequest = []\n"


@pytest.mark.parametrize(("pipeline", "body"), [("", STREAM), ("", LARGE), (PASSING, STREAM)])
async def test_a_connection_gone_stale_is_replaced_once_without_a_word(pipeline: str, body: bytes) -> None:
    seen: list[int] = []

    async def script(line: Line) -> None:
        seen.append(id(line.stream))
        if len(seen) == 2:  # the second request on a connection that was kept open
            line.reset()
        else:
            await streams(line)

    async with upstream(script) as up, proxy(pipeline + toml(a=up.port)) as port:
        assert (await ask(port, STREAM)).complete
        got = await ask(port, body)
    assert (got.status, got.complete) == (200, True)
    assert [len(each.body) for each in up.requests][-1] == len(body)
    assert seen[0] == seen[1] != seen[2]
    assert up.connections == 2


def once(after: Script) -> Script:
    """Answers the first request."""
    asked = 0

    async def script(line: Line) -> None:
        nonlocal asked
        asked += 1
        await (streams if asked == 1 else after)(line)

    return script


async def works_and_resets(line: Line) -> None:
    await trio.sleep(1.1)  # a connection that was closed before shows it at once
    line.reset()


async def test_an_upstream_that_has_worked_on_a_request_does_not_get_it_twice() -> None:
    async with upstream(once(works_and_resets)) as up, proxy(toml(a=up.port)) as port:
        await ask(port, STREAM)
        got = await ask(port, STREAM)
    assert (outcome(got), len(up.requests)) == ("502", 2)


async def test_a_new_connection_that_breaks_is_no_stale_one() -> None:
    async with upstream(resets) as up, proxy(toml(a=up.port)) as port:
        for _ in range(3):
            assert (await ask(port, WHOLE)).status == 502
    assert len(up.requests) == 3


async def test_after_a_stale_connection_the_fresh_one_counts() -> None:
    async with upstream(once(resets)) as up, proxy(toml(a=up.port)) as port:
        await ask(port, STREAM)
        got = await ask(port, STREAM)
    assert (outcome(got), len(up.requests)) == ("502", 3)


async def test_a_body_that_is_passed_on_piece_by_piece_is_never_sent_twice() -> None:
    """Nobody has kept its first half."""
    async with upstream(once(resets)) as up, proxy(PASSING + toml(a=up.port)) as port:
        await ask(port, STREAM)
        stream = await connect(port)
        head = request(b"", headers=("transfer-encoding: chunked",)).replace(b"content-length: 0\r\n", b"")
        await stream.send_all(head.replace(b"Content-Length: 0\r\n", b"") + b"5\r\nhello\r\n")
        await trio.testing.wait_all_tasks_blocked(0.05)
        await stream.send_all(b"5\r\nworld\r\n0\r\n\r\n")
        got = b""
        while b"\r\n\r\n" not in got and (data := await stream.receive_some()):
            got += data
        await stream.aclose()
    assert got.startswith(b"HTTP/1.1 502")
    assert len(up.requests) == 2


# ── retries ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def until(number: int, first: Script) -> Script:
    """Fails `number` times, then answers."""
    asked = 0

    async def script(line: Line) -> None:
        nonlocal asked
        asked += 1
        await (first if asked <= number else answers)(line)

    return script


async def test_a_retry_waits_as_long_as_the_upstream_says() -> None:
    times: list[float] = []

    async def script(line: Line) -> None:
        times.append(trio.current_time())
        await (status(429, "retry-after-ms: 150") if len(times) == 1 else streams)(line)

    async with upstream(script) as up, proxy(toml(a=up.port, more=RETRIES)) as port:
        assert outcome(await ask(port, STREAM)) == "answered"
    assert 0.14 < times[1] - times[0] < 1


async def test_without_its_word_a_retry_waits_half_a_second_or_so() -> None:
    times: list[float] = []

    async def script(line: Line) -> None:
        times.append(trio.current_time())
        await (status(503) if len(times) == 1 else streams)(line)

    async with upstream(script) as up, proxy(toml(a=up.port, more=RETRIES)) as port:
        assert outcome(await ask(port, STREAM)) == "answered"
    assert 0.24 < times[1] - times[0] < 1.5


@pytest.mark.parametrize(
    ("field", "asked"),
    [
        ("retry-after: 0.02", 2),
        ("retry-after: 5 s ago", 2),
        ("retry-after: in 90 s", 1),
        ("retry-after: nan", 2),
        ("retry-after: -5", 2),
        ("retry-after: inf", 2),
        ("retry-after: soon", 2),
    ],
)
async def test_every_way_to_say_how_long(field: str, asked: int) -> None:
    field = field.replace("5 s ago", formatdate(time() - 5, usegmt=True))
    field = field.replace("in 90 s", formatdate(time() + 90, usegmt=True))
    async with upstream(status(529, field)) as up, proxy(toml(a=up.port, more=RETRIES)) as port:
        assert outcome(await ask(port, STREAM)) == "529"
    assert len(up.requests) == asked


async def test_retries_come_first_and_then_the_next_upstream() -> None:
    async with between(status(429, "retry-after-ms: 10"), answers, more="retries = 3") as (a, b, port):
        assert outcome(await ask(port, STREAM)) == "answered"
    assert (len(a.requests), len(b.requests)) == (4, 1)


async def test_when_all_have_failed_the_last_answer_is_the_client_s() -> None:
    async with between(status(503, "x-from: a"), status(529, "x-from: b", "retry-after: 9")) as (_a, _b, port):
        got = await ask(port, STREAM)
    assert (got.status, got.headers["x-from"], got.headers["retry-after"], got.body) == (529, "b", "9", ERROR)
    assert got.headers["x-trioproxy-upstream"] == "b"


async def test_retries_do_not_make_a_storm() -> None:
    """Each request may be sent again, but all together no more than a fifth of them."""
    async with upstream(status(429, "retry-after-ms: 1")) as up, proxy(toml(a=up.port, more=RETRIES)) as port:
        for _ in range(60):
            await ask(port, WHOLE)
    assert 60 + 60 // 5 <= len(up.requests) <= 60 + 60 // 5 + 10


async def test_a_client_that_leaves_while_a_retry_waits_is_asked_for_no_more() -> None:
    refused = trio.Event()

    async def script(line: Line) -> None:
        await status(429, "retry-after-ms: 300")(line)
        refused.set()

    async with upstream(script) as up, proxy(toml(a=up.port, more=RETRIES)) as port:
        stream = await connect(port)
        await stream.send_all(request(STREAM))
        await refused.wait()
        await stream.aclose()
        await trio.sleep(0.5)
    assert len(up.requests) == 1


# ── other upstreams ─────────────────────────────────────────────────────────────────────────────────────────────────


async def chats(line: Line) -> None:
    await line.head()
    await line.chunk(CHUNK + b'{"role":"assistant","content":"from b"},"finish_reason":null}]}\n\n')
    await line.chunk(CHUNK + b'{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n')
    await line.end()


@pytest.mark.parametrize("body", [STREAM, WHOLE], ids=["stream", "whole"])
async def test_the_next_upstream_may_speak_another_dialect(body: bytes) -> None:
    asks = body.replace(b"}", b',"max_tokens":9,"messages":[{"role":"user","content":"hi"}]}')
    async with upstream(status(529)) as a, upstream(chats) as b:
        text = f"""
[upstreams.a]
url = "http://127.0.0.1:{a.port}"
[upstreams.b]
url = "http://127.0.0.1:{b.port}"
dialect = "openai-chat"
model = "other"
[routes]
"/" = ["a", "b"]
"""
        async with proxy(text) as port:
            got = await ask(port, asks)
    assert (got.status, got.complete) == (200, True)
    assert b"from b" in got.body
    assert [each.target for each in b.requests] == ["/v1/chat/completions"]
    assert msgspec.json.decode(b.requests[0].body)["model"] == "other"
    assert a.requests[0].body == asks


@pytest.mark.parametrize(("said", "expected"), [((), "false"), (("x-should-retry: true",), "true")])
async def test_a_translated_401_tells_not_to_ask_again_unless_the_upstream_says_otherwise(
    said: tuple[str, ...], expected: str
) -> None:
    asks = b'{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}'
    async with upstream(status(401, *said)) as up, proxy(up.toml().replace('"anthropic"', '"openai-chat"')) as port:
        got = await ask(port, asks)
    assert (got.status, got.headers["x-should-retry"]) == (401, expected)


async def test_what_was_lost_in_front_of_an_upstream_that_did_not_answer_is_not_told() -> None:
    asks = b'{"model":"m","max_tokens":9,"top_k":5,"messages":[{"role":"user","content":"hi"}]}'
    async with upstream(status(503)) as a, upstream(answers) as b:
        text = f"""
[upstreams.a]
url = "http://127.0.0.1:{a.port}"
dialect = "openai-chat"
[upstreams.b]
url = "http://127.0.0.1:{b.port}"
[routes]
"/" = ["a", "b"]
"""
        async with proxy(text) as port:
            got = await ask(port, asks)
    assert got.status == 200
    assert "x-trioproxy-lossy" not in got.headers
    assert b.requests[0].body == asks


async def test_one_that_failed_often_is_passed_over_until_a_request_has_tried_it() -> None:
    more = 'max-fails = 2\nfail-timeout = "400ms"'
    async with between(until(2, status(500)), answers, more=more) as (a, b, port):
        for _ in range(4):
            assert outcome(await ask(port, STREAM)) == "answered"
        assert (len(a.requests), len(b.requests)) == (2, 4)
        await trio.sleep(0.45)
        got = await ask(port, STREAM)
        assert got.headers["x-trioproxy-upstream"] == "a"
        await ask(port, STREAM)
    assert (len(a.requests), len(b.requests)) == (4, 4)


async def test_one_that_says_how_long_it_is_busy_is_passed_over_for_so_long() -> None:
    async with between(until(1, status(429, "retry-after-ms: 400")), answers) as (a, b, port):
        for _ in range(3):
            await ask(port, STREAM)
        assert (len(a.requests), len(b.requests)) == (1, 3)
        await trio.sleep(0.45)
        await ask(port, STREAM)
    assert (len(a.requests), len(b.requests)) == (2, 3)


async def test_an_upstream_that_is_alone_is_always_asked() -> None:
    async with upstream(status(500)) as a, proxy(toml(a=a.port, more="max-fails = 1")) as port:
        for _ in range(4):
            await ask(port, STREAM)
    assert len(a.requests) == 4


async def test_weights_share_the_requests_and_sessions_stick() -> None:
    routes = '{ upstreams = ["a", "b"], weights = [1, 1], sticky = true }'
    async with between(answers, answers, routes=routes) as (_, _, port):
        first = {
            session: (await ask(port, WHOLE, headers=(f"session-id: {session}",))).headers["x-trioproxy-upstream"]
            for session in map(str, range(24))
        }
        for session, name in first.items():
            got = await ask(port, WHOLE, headers=(f"session-id: {session}",))
            assert got.headers["x-trioproxy-upstream"] == name
            told = b'{"model":"m","metadata":{"session_id":"%s"}}' % session.encode()
            assert (await ask(port, told)).headers["x-trioproxy-upstream"] == name
    assert set(first.values()) == {"a", "b"}


# ── how many at once ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("path", "expected"), [("/v1/messages", 529), ("/v1/chat/completions", 503), ("/v1/responses", 503)]
)
async def test_over_its_limit_an_upstream_is_not_asked_and_the_client_is_told_so(path: str, expected: int) -> None:
    body = b'{"model":"m","stream":true,"max_tokens":1,"messages":[{"role":"user","content":"x"}],"input":"x"}'
    script = Holding()
    async with between(script, more="concurrency = 1\nqueue = 0") as (a, _, port), trio.open_nursery() as nursery:
        nursery.start_soon(ask, port, STREAM)
        await script.asked.wait()
        got = await ask(port, body, path=path)
        script.go_on.set()
    assert (got.status, got.headers["retry-after"], len(a.requests)) == (expected, "1", 1)
    assert b"is busy with 1 request," in got.body


async def test_one_that_is_full_is_passed_over_for_one_that_is_not() -> None:
    script = Holding()
    async with between(script, answers, more="concurrency = 1") as (a, b, port), trio.open_nursery() as nursery:
        nursery.start_soon(ask, port, STREAM)
        await script.asked.wait()
        assert outcome(await ask(port, STREAM)) == "answered"
        script.go_on.set()
    assert (len(a.requests), len(b.requests)) == (1, 1)


async def test_a_request_waits_for_the_end_of_another_s_answer() -> None:
    running = most = 0

    async def script(line: Line) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await trio.sleep(0.02)
        running -= 1
        await streams(line)

    async with between(script, more="concurrency = 2") as (a, _, port), trio.open_nursery() as nursery:
        for _ in range(12):
            nursery.start_soon(ask, port, STREAM)
    assert (len(a.requests), most) == (12, 2)


# ── what is told of it ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_log_names_every_attempt(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "trioproxy.access")
    async with between(status(503, "retry-after-ms: 1"), answers, more=RETRIES) as (_, _, port):
        await ask(port, STREAM)
    (fields,) = [record.exchange for record in caplog.records if hasattr(record, "exchange")]
    assert (fields["upstream"], fields["status"], fields["end"]) == ("b", 200, "complete")
    assert fields["tried"] == "a: busy; a: busy"
