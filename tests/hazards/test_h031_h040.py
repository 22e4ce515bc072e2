"""Hazards H031-H040d: reading server-sent events and HTTP, between two of different dialects."""

import gzip
import zlib
from typing import Any

import msgspec
import pytest
import trio
import trio.testing

from tests.anthropic import judge, message
from tests.chat import DONE, data
from tests.chat import piece as call
from tests.hazards.chat import (
    ASKS_A,
    ASKS_C,
    CHAT,
    CLAUDE,
    OPENAI,
    ROLE,
    WHOLE_A,
    WHOLE_C,
    A,
    C,
    Completion,
    Message,
    at,
    between,
    calls,
    chat,
    chunk,
    completion,
    counted,
    gives,
    judge_begun,
    judge_chat,
    message_end,
    message_start,
    read,
    says,
    streams,
    text_block,
    thinks,
    through,
    to_anthropic,
    to_chat,
    written,
)
from tests.hazards.chat import message as answer_of
from tests.hazards.responses import ASKS_R, RESPONSES, WHOLE_R, R, asked, for_anthropic, for_chat, for_responses
from tests.peers import Line, ask, proxy, upstream
from tests.responses import begun, check, ended, frames, reasoning, response, text_part, wires
from tests.responses import message as message_of
from tests.responses import stream as stream_of
from trioproxy import Batch, Exchange, Seconds
from trioproxy.items import Ping, Unknown
from trioproxy.stages.keepalive import Keepalive

ANSWER = chat(thinks("hm"), says("né"), says("e 🙂"))
CONTENT = [("thinking", "hm"), ("text", "née 🙂")]
RESPONSE = stream_of(reasoning(0, "hm"), message_of(1, "né", "e 🙂"))


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_h031_line_ends_and_comments(end: bytes) -> None:
    body = b": OPENROUTER PROCESSING\n\n" + ANSWER.replace(b"\n\n", b"\n\n: keep-alive\n\n:\n\n", 3)
    assert to_anthropic(body.replace(b"\n", end)).content == CONTENT
    body = answer_of(text_block(0, "a", "b")).replace(b"\n\n", b"\n\n: keep-alive\n\n")
    assert to_chat(body.replace(b"\n", end)).content == "ab"
    assert for_responses(body.replace(b"\n", end), asked(A)).content == [("text", "ab")]
    body = RESPONSE.replace(b"\n\n", b"\n\n: keep-alive\n\n")
    assert for_anthropic(body.replace(b"\n", end)).content == CONTENT


def test_h032_data_without_a_space() -> None:
    assert to_anthropic(ANSWER.replace(b"data: ", b"data:")).content == CONTENT
    got = to_anthropic(ANSWER.replace(b"data: ", b"data:"))
    assert got.usage["output_tokens"] == 7
    assert to_chat(answer_of(text_block(0, "a")).replace(b": ", b":")).content == "a"
    assert for_anthropic(RESPONSE.replace(b": ", b":")).content == CONTENT


def test_h033_lines_of_data_and_other_fields() -> None:
    spread = ANSWER.replace(b'"choices":', b'\ndata: "choices":')
    assert to_anthropic(spread).content == CONTENT
    fields = b"id: 1\nretry: 3\n\nevent: message\n\n" + ANSWER.replace(b"data:", b"event: chunk\nid: 7\ndata:")
    assert to_anthropic(fields).content == CONTENT
    # Anthropic without names of events: the type in the JSON says what it is.
    bare = b"\n\n".join(block.split(b"\n", 1)[-1] for block in answer_of(text_block(0, "a")).split(b"\n\n"))
    assert b"event:" not in bare
    assert to_chat(bare).content == "a"
    # OpenRouter's Responses have no names either.
    bare = b"\n\n".join(block.split(b"\n", 1)[-1] for block in RESPONSE.split(b"\n\n"))
    assert b"event:" not in bare
    assert for_anthropic(bare + DONE).content == CONTENT


def test_h034_cut_anywhere() -> None:
    expected = through(ANSWER, between(A, C)).body
    for at_ in range(1, len(ANSWER)):
        assert through([ANSWER[:at_], ANSWER[at_:]], between(A, C)).body == expected
    bytewise = [ANSWER[n : n + 1] for n in range(len(ANSWER))]
    assert through(bytewise, between(A, C)).body == expected
    crlf = ANSWER.replace(b"\n", b"\r\n")
    assert through([crlf[n : n + 1] for n in range(len(crlf))], between(A, C)).body == expected


def test_h034_cut_anywhere_towards_a_chat_client() -> None:
    body = answer_of(text_block(0, "né", "e 🙂"))
    expected = through(body, between(C, A)).body
    assert through([body[n : n + 1] for n in range(len(body))], between(C, A)).body == expected
    assert Completion(expected).content == "née 🙂"


@pytest.mark.parametrize(("client", "upstream_"), [(A, R), (C, R), (R, A), (R, C)])
def test_h034_cut_anywhere_where_one_speaks_responses(client: str, upstream_: str) -> None:
    body = {A: answer_of(text_block(0, "né", "e 🙂")), C: ANSWER, R: RESPONSE}[upstream_]

    def exchange() -> Exchange:
        return asked(upstream_) if client == R else between(client, upstream_)

    expected = through(body, exchange()).body
    assert "e 🙂".encode() in expected
    assert through([body[n : n + 1] for n in range(len(body))], exchange()).body == expected


def test_h035_large_events() -> None:
    big = "x" * (3 << 20)
    assert to_anthropic(chat(says(big))).content == [("text", big)]
    body = chat(says(big))
    reads = [body[at_ : at_ + (16 << 10)] for at_ in range(0, len(body), 16 << 10)]
    assert to_anthropic(reads).content == [("text", big)]
    got = through(reads, between(A, C, event_limit=1 << 20))
    assert got.error.kind == "upstream"
    assert "1048576 bytes" in got.error.message
    assert b"message_stop" not in got.body
    body = stream_of(message_of(0, big))
    assert for_anthropic(body).content == [("text", big)]
    assert for_responses(chat(says(big)), asked(C)).content == [("text", big)]
    for got in (
        through(body, between(A, R, event_limit=1 << 20)),
        through(chat(*[says("x" * 9999)] * 200), asked(C, event_limit=1 << 20)),  # all of it is in the last event
    ):
        assert "1048576 bytes" in got.error.message
        assert not any(end in got.body for end in (b"message_stop", b"response.completed"))


async def test_h036_silence(autojump_clock: trio.testing.MockClock) -> None:
    """OpenAI's clients hear a comment, an Anthropic one a ping, within 15 seconds of silence."""
    comment, ping = b": keepalive\n\n", b'event: ping\ndata: {"type":"ping"}\n\n'
    for client, upstream_, heard in ((C, A, comment), (A, C, ping), (R, A, comment), (A, R, ping)):
        send, receive = trio.open_memory_channel[Batch](0)
        out, tail = trio.open_memory_channel[Batch](0)
        exchange = between(client, upstream_, started=trio.current_time())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Keepalive().run, exchange, receive, out)
            begun = trio.current_time()
            batch = await tail.receive()
            assert trio.current_time() - begun <= 15
            assert written(batch, exchange).body == heard
            send.close()
            out.close()
            nursery.cancel_scope.cancel()


async def test_h036_what_a_client_does_not_hear_is_silence(autojump_clock: trio.testing.MockClock) -> None:
    """An upstream's own signs of life, which mean nothing in the client's dialect, and its tools at work."""
    unheard = frames(
        *begun()[1:],
        {"type": "keepalive"},
        {"type": "response.code_interpreter_call_code.delta", "output_index": 0, "item_id": "ci_1", "delta": "x"},
    )
    for body, upstream_ in ((unheard, R), (b": OPENROUTER PROCESSING\n\n", C)):
        exchange = between(A, upstream_, started=trio.current_time())
        events = [each for each in read(body, exchange) if isinstance(each, Unknown)]
        assert events
        send, receive = trio.open_memory_channel[Batch](0)
        out, tail = trio.open_memory_channel[Batch](0)
        heard = b""

        async def talks(send: Any = send, events: Any = events) -> None:
            while True:
                await trio.sleep(2)
                await send.send(events)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(Keepalive().run, exchange, receive, out)
            nursery.start_soon(talks)
            with trio.fail_after(15):
                while not heard:
                    heard = written(await tail.receive(), exchange).body
            nursery.cancel_scope.cancel()
        assert heard == b'event: ping\ndata: {"type":"ping"}\n\n'


def test_h036_the_default_of_keepalive_is_soon_enough() -> None:
    assert (Keepalive.__init__.__kwdefaults__ or {})["after"] <= Seconds(15)


def test_h037_ping_does_not_take_the_place_of_the_role() -> None:
    events: list[Any] = [Ping(), *message("a")]
    events.insert(3, Ping())
    got = written(events, between(C, A))
    assert got.body.count(b": keepalive\n\n") == 2
    assert got.body.startswith(b": keepalive\n\n")
    assert Completion(got.body).content == "a"
    ping = b'event: ping\ndata: {"type":"ping"}\n\n'
    got = through(message_start() + ping + text_block(0, "a") + ping + message_end(), between(C, A))
    assert got.body.count(b": keepalive\n\n") == 2  # the upstream's pings keep the line to the client alive
    assert Completion(got.body).content == "a"


def test_h037_ping_does_not_begin_a_response() -> None:
    """A Responses client hears comments, too: an event `keepalive` is not for everybody, and has no number here."""
    events: list[Any] = [Ping(), *message("a")]
    events.insert(3, Ping())
    got = written(events, asked(A))
    assert got.body.startswith(b": keepalive\n\nevent: response.created\n")
    assert got.body.count(b": keepalive\n\n") == 2
    assert check(got.body)["output"][0]["content"][0]["text"] == "a"
    ping = b'event: ping\ndata: {"type":"ping"}\n\n'
    got = through(ping + message_start() + ping + text_block(0, "a") + ping + message_end(), asked(A))
    assert got.body.count(b": keepalive\n\n") == 3


def test_h037_openais_own_keepalive_passes_to_its_own_clients_alone() -> None:
    body = frames(*begun(), {"type": "keepalive"}, *message_of(0, "a"), ended())
    same = through(body, asked(R, model="", upstream_model=""))
    assert (same.body, same.errors) == (body, [])
    assert for_anthropic(body).content == [("text", "a")]
    assert for_chat(body).content == "a"


# ── HTTP ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_h038_compressed_answers(coding: str) -> None:
    squeeze = zlib.compressobj(wbits=31 if coding == "gzip" else 15)
    pieces = [squeeze.compress(chunk(ROLE) + chunk(says("a"))) + squeeze.flush(zlib.Z_SYNC_FLUSH)]
    pieces += [squeeze.compress(chunk({}, "stop") + counted() + DONE) + squeeze.flush()]

    async def script(line: Line) -> None:
        await line.head("text/event-stream", 200, f"content-encoding: {coding}")
        for piece in pieces:
            if piece:
                await line.chunk(piece)
        await line.end()

    async with upstream(script) as up, proxy(at(up.toml())) as port:
        got = await ask(port, ASKS_A, headers=(*CLAUDE, "accept-encoding: gzip, deflate, br, zstd"))
    assert up.requests[0].header("accept-encoding") == "identity"
    assert "content-encoding" not in got.headers
    assert Message(got.body).content == [("text", "a")]


@pytest.mark.parametrize("status", [200, 429])
async def test_h038_compressed_whole_bodies(status: int) -> None:
    plain = completion({"content": "a"}) if status == 200 else b'{"error":{"message":"slow down","code":429}}'
    body = gzip.compress(plain)

    async def script(line: Line) -> None:
        await line.head("application/json", status, "content-encoding: gzip")
        await line.chunk(body)
        await line.end()

    async with upstream(script) as up, proxy(at(up.toml())) as port:
        got = await ask(port, WHOLE_A, headers=CLAUDE)
    assert got.status == status
    assert "content-encoding" not in got.headers
    wire = msgspec.json.decode(got.body)
    assert wire["content"] == [{"type": "text", "text": "a"}] if status == 200 else wire["error"]["message"]


@pytest.mark.parametrize(("path", "body"), [("/v1/messages", WHOLE_A), (CHAT, WHOLE_C), (RESPONSES, WHOLE_R)])
async def test_h039_compressed_requests(path: str, body: bytes) -> None:
    headers = ("content-encoding: gzip", "content-type: application/json")
    other, answer = (C, completion({"content": "a"})) if path != CHAT else (A, answer_of(text_block(0, "a")))
    kind = "application/json" if other == C else "text/event-stream"
    async with upstream(gives(answer, kind)) as up, proxy(at(up.toml(), other)) as port:
        got = await ask(port, gzip.compress(body), path=path, headers=headers)
    assert got.status == 200
    assert up.requests[0].header("content-encoding") is None
    assert msgspec.json.decode(up.requests[0].body)["messages"]


async def test_h039_a_bomb_is_refused() -> None:
    bomb = gzip.compress(b'{"model":"' + b"x" * (4 << 20) + b'"}')
    toml = 'limits = { body = "1 MiB" }\n'
    async with upstream(gives(b"{}")) as up, proxy(at(up.toml(toml))) as port:
        got = await ask(port, bomb, headers=("content-encoding: gzip",))
    assert got.status in (400, 413)
    assert msgspec.json.decode(got.body)["type"] == "error"
    assert up.requests == []


@pytest.mark.parametrize(
    ("dialect", "answer", "path"), [(C, ANSWER, "/v1/chat/completions"), (R, RESPONSE, "/v1/responses")]
)
async def test_h040_framing_and_private_headers_are_made_anew(dialect: str, answer: bytes, path: str) -> None:
    async def script(line: Line) -> None:
        await line.head("text/event-stream", 200, "connection: x-hop", "x-hop: 1", "cf-ray: 1", "etag: x", "x-more: 1")
        await line.chunk(answer)
        await line.end()

    sent = (
        *CLAUDE,
        "authorization: Bearer sk-client-secret",
        "connection: x-mine",
        "x-mine: 1",
        "anthropic-beta: oauth-2025-04-20",
        "x-stainless-lang: js",
        "anthropic-dangerous-direct-browser-access: true",
        "cookie: a=b",
    )
    async with upstream(script) as up, proxy(at(up.toml(), dialect)) as port:
        got = await ask(port, ASKS_A, headers=sent, path="/v1/messages?beta=true")
    assert Message(got.body).content == CONTENT
    assert "content-length" not in got.headers
    assert not got.headers.keys() & {"x-hop", "cf-ray", "etag", "x-more"}
    [made] = up.requests
    assert made.target == path
    names = [name for name, _ in made.headers]
    assert len(names) == len(set(names))
    assert set(names) <= {"host", "content-type", "accept", "accept-encoding", "authorization", "content-length"}
    assert made.header("host") == f"127.0.0.1:{up.port}"
    assert made.header("content-length") == str(len(made.body))


async def test_h040_what_codex_says_of_itself_is_for_no_upstream_of_another_dialect() -> None:
    codex = ("originator: codex_exec", "session-id: s", "x-codex-turn-metadata: {}", "openai-beta: responses=x")
    async with upstream(streams(answer_of(text_block(0, "a")))) as up, proxy(up.toml()) as port:
        got = await ask(port, ASKS_R, path=RESPONSES, headers=(*codex, *OPENAI))
    assert check(got.body)["status"] == "completed"
    [made] = up.requests
    assert made.target == "/v1/messages"
    assert not {name for name, _ in made.headers} & {"originator", "session-id", "x-codex-turn-metadata", "openai-beta"}
    assert made.header("anthropic-version")


async def test_h040_no_token_is_no_header() -> None:
    async with upstream(streams(ANSWER)) as up, proxy(at(up.toml())) as port:
        await ask(port, ASKS_A, headers=("anthropic-version: 2023-06-01",))
    assert up.requests[0].header("authorization") is None
    assert up.requests[0].header("x-api-key") is None


@pytest.mark.parametrize("done", [b"data:[DONE]\n\n", b"data:  [DONE] \n\n", b"data: [DONE]\n", b""])
def test_h040b_done_in_its_forms(done: bytes) -> None:
    assert to_anthropic(b"\xef\xbb\xbf" + chat(says("a"), done=False) + done).content == [("text", "a")]
    assert for_anthropic(b"\xef\xbb\xbf" + stream_of(message_of(0, "a")) + done).content == [("text", "a")]


@pytest.mark.parametrize("odd", [b"null", b"{}", b" ", b"ok", b"1", b"[]", b'"x"', b'{"id":"x"}', b'{"choices":null}'])
def test_h040b_data_that_says_nothing(odd: bytes) -> None:
    frame = b"data: " + odd + b"\n\n"
    body = frame + ANSWER.replace(b"data: {", frame + b"data: {")
    assert to_anthropic(body).content == CONTENT
    # Between the two ends of one dialect it passes as it came.
    same = through(body, between(C, C, usage_wanted=True, model="", upstream_model=""))
    assert (same.body, same.errors) == (body, [])
    body = frame + RESPONSE.replace(b"event: ", frame + b"event: ")
    assert for_anthropic(body).content == CONTENT
    same = through(body, asked(R, model="", upstream_model=""))
    assert (same.body, same.errors) == (body, [])


@pytest.mark.parametrize("broken", [b'{"id":"c","choices":[{"index":0,"delta":{"content":"a', b'{"id":"c",\n"choices"'])
@pytest.mark.parametrize("client", [A, C])
def test_h040c_a_broken_piece_is_an_error_and_never_left_out(broken: bytes, client: str) -> None:
    body = chunk(ROLE) + chunk(says("a")) + b"data: " + broken + b" " * 40 + b"\n\n" + chunk(says("b"))
    got = through(body + chunk({}, "stop") + DONE, between(client, C))
    assert got.errors
    assert got.errors[0].kind == "upstream"


@pytest.mark.parametrize("client", [A, C, R])
def test_h040c_a_broken_event_is_an_error_and_never_left_out(client: str) -> None:
    whole = RESPONSE.split(b"\n\n")
    place = next(number for number, each in enumerate(whole) if b"output_text.delta" in each)
    for broken in (whole[place][:-20] + b" " * 20, whole[place].replace(b',"delta"', b',\n"delta"')):
        got = through(b"\n\n".join([*whole[:place], broken, *whole[place + 1 :]]), between(client, R))
        assert got.error.kind == "upstream"
        assert not any(end in got.body for end in (b"message_stop", b"[DONE]", b"response.completed"))


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", "Application/JSON"])
async def test_h040d_json_for_a_stream(kind: str) -> None:
    whole = completion({"content": "a", "reasoning_content": "t", **calls(call(0, '{"p":1}', id="c", name="read"))})
    async with upstream(gives(whole, kind)) as up, proxy(at(up.toml())) as port:
        got = await ask(port, ASKS_A, headers=CLAUDE)
    assert got.headers["content-type"].startswith("text/event-stream")
    assert Message(got.body).content == [("thinking", "t"), ("text", "a"), ("read", {"p": 1})]


async def test_h040d_a_stream_for_json() -> None:
    async with upstream(streams(ANSWER)) as up, proxy(at(up.toml())) as port:
        got = await ask(port, WHOLE_A, headers=CLAUDE)
        chatted = await ask(port, WHOLE_C, path=CHAT, headers=OPENAI)
    assert got.headers["content-type"] == "application/json"
    content = msgspec.json.decode(got.body)["content"]
    assert [each.get("text") or each.get("thinking") for each in content] == ["hm", "née 🙂"]
    wire = msgspec.json.decode(chatted.body)
    assert wire["object"] == "chat.completion"
    assert wire["choices"][0]["message"]["content"] == "née 🙂"


async def test_h040d_both_towards_a_chat_client() -> None:
    body = answer_of(text_block(0, "a"))
    wire = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn"}
    whole = msgspec.json.encode({**wire, "content": [{"type": "text", "text": "a"}], "usage": {}})
    async with upstream(gives(whole)) as up, proxy(up.toml()) as port:
        got = await ask(port, ASKS_C, path=CHAT, headers=OPENAI)
    assert Completion(got.body).content == "a"
    async with upstream(streams(body)) as up, proxy(up.toml()) as port:
        got = await ask(port, WHOLE_C, path=CHAT, headers=OPENAI)
    assert msgspec.json.decode(got.body)["choices"][0]["message"]["content"] == "a"


BODY = response("completed", *(each["item"] for each in wires(RESPONSE) if each["type"].endswith("item.done")))


async def test_h040d_both_of_a_responses_upstream() -> None:
    async with upstream(gives(msgspec.json.encode(BODY))) as up, proxy(at(up.toml(), R)) as port:
        got = await ask(port, ASKS_A, headers=CLAUDE)
        chatted = await ask(port, ASKS_C, path=CHAT, headers=OPENAI)
        own = await ask(port, ASKS_R, path=RESPONSES, headers=OPENAI)
    assert Message(got.body).content == CONTENT
    assert Completion(chatted.body).content == "née 🙂"
    assert check(own.body)["output"][1]["content"] == [text_part("née 🙂")]
    async with upstream(streams(RESPONSE)) as up, proxy(at(up.toml(), R)) as port:
        got = await ask(port, WHOLE_A, headers=CLAUDE)
        chatted = await ask(port, WHOLE_C, path=CHAT, headers=OPENAI)
        own = await ask(port, WHOLE_R, path=RESPONSES, headers=OPENAI)
    assert [each.get("text") or each.get("thinking") for each in msgspec.json.decode(got.body)["content"]] == [
        "hm",
        "née 🙂",
    ]
    assert msgspec.json.decode(chatted.body)["choices"][0]["message"]["content"] == "née 🙂"
    assert msgspec.json.decode(own.body)["output"] == BODY["output"]


@pytest.mark.parametrize("dialect", [A, C])
async def test_h040d_both_towards_a_responses_client(dialect: str) -> None:
    wire = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn"}
    message_ = msgspec.json.encode({**wire, "content": [{"type": "text", "text": "a"}], "usage": {}})
    whole, stream = (
        (message_, answer_of(text_block(0, "a"))) if dialect == A else (completion({"content": "a"}), chat(says("a")))
    )
    async with upstream(gives(whole)) as up, proxy(at(up.toml(), dialect)) as port:
        got = await ask(port, ASKS_R, path=RESPONSES, headers=OPENAI)
    assert got.headers["content-type"].startswith("text/event-stream")
    assert check(got.body)["output"][0]["content"] == [text_part("a")]
    async with upstream(streams(stream)) as up, proxy(at(up.toml(), dialect)) as port:
        got = await ask(port, WHOLE_R, path=RESPONSES, headers=OPENAI)
    assert got.headers["content-type"] == "application/json"
    assert msgspec.json.decode(got.body)["output"][0]["content"] == [text_part("a")]


@pytest.mark.parametrize("client", [A, C])
async def test_h040d_a_200_error_in_json_for_a_stream(client: str) -> None:
    body = b'{"error":{"message":"slow down","type":"rate_limit_error","code":429}}'
    asked, path = (ASKS_A, "/v1/messages") if client == A else (ASKS_C, CHAT)
    async with upstream(gives(body)) as up, proxy(at(up.toml())) as port:
        got = await ask(port, asked, path=path)
    assert b"slow down" in got.body
    assert got.status == 429
    assert "event-stream" not in got.headers["content-type"]


def test_h040d_content_types_do_not_matter_to_the_grammar() -> None:
    """The checkers of these tests notice what they are for."""
    for stream in (chunk(says("a")), chat(says("a")) + chunk(says("b")), chunk(ROLE) + DONE, data({})):
        with pytest.raises((AssertionError, KeyError)):
            judge_chat(stream)
    with pytest.raises(AssertionError):
        judge(message_start())
    assert judge_begun(message_start())
    assert judge_chat(chat(says("a"), calls(call(0, "", id="c", name="n"), call(0, "{}"))))
