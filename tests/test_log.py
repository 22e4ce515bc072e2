import io
import logging
import os
import re
import sys
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import trio

from trioproxy.http.target import Target
from trioproxy.log import set_up
from trioproxy.record import Record


class Asked:
    """As much of a request as a log line tells."""

    method, target, sent, received = "POST", Target("/v1/messages", "key=sk-secret", None), 300, 20
    peer = "10.1.2.3"

    def __init__(self, *headers: tuple[bytes, bytes]) -> None:
        self.headers = list(headers)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def logger() -> Iterator[logging.Logger]:
    """The logger of trioproxy, as it was before, afterwards; and that of the library for traces."""
    both = [logging.getLogger("trioproxy"), logging.getLogger("opentelemetry")]
    before = [(logger.handlers[:], logger.level, logger.propagate) for logger in both]
    yield both[0]
    for logger, settings in zip(both, before, strict=True):
        logger.handlers[:], logger.level, logger.propagate = settings


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [msgspec.json.decode(line) for line in stream.getvalue().splitlines()]


def fill(record: Record) -> None:
    record.upstream, record.model, record.status, record.bytes_in, record.end = "up", "claude", 200, 400, "complete"


async def test_one_line_with_every_field(autojump_clock: trio.testing.MockClock) -> None:
    out = io.StringIO()
    set_up("info", "json", out, colour=False)
    with Record("1f3a9c0e", incoming=Asked()) as record:
        fill(record)
        await trio.sleep(2)
        record.first_byte()
        await trio.sleep(1)
        record.first_byte()  # only the first counts
        record.count({"events_in": 3, "dropped": 0})
        record.count({"events_in": 1, "events_out": 0})
    (line,) = lines(out)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert line == {
        "level": "info",
        "logger": "trioproxy.access",
        "id": "1f3a9c0e",
        "method": "POST",
        "path": "/v1/messages",
        "status": 200,
        "client_ip": "10.1.2.3",
        "upstream": "up",
        "model": "claude",
        "bytes_up": 20,
        "bytes_in": 400,
        "bytes_out": 300,
        "events_in": 4,
        "dropped": 0,
        "events_out": 0,
        "first_byte": 2.0,
        "seconds": 3.0,
        "end": "complete",
    }


async def test_a_session_is_told_at_no_more_length_than_a_model() -> None:
    out = io.StringIO()
    set_up("info", "json", out, colour=False)
    with Record("x", incoming=Asked()) as record:
        fill(record)
        record.session = "s" * 128
    (line,) = lines(out)
    assert line["session"] == "s" * 80
    assert list(line)[8:11] == ["upstream", "session", "model"]


async def test_who_asked_who_answered_and_what_both_call_it() -> None:
    out = io.StringIO()
    set_up("info", "json", out, colour=False)
    with Record("x", incoming=Asked((b"x-request-id", b"theirs-1"))) as record:
        fill(record)
        record.client = "alice"
        record.retried("a", "busy", elsewhere=False)
        record.retried("a", "unreachable", elsewhere=True)
        record.replied(7, [(b"request-id", b"req_1"), (b"x-request-id", b"another")])
        record.count({"stop": "end_turn" * 100})
    (line,) = lines(out)
    told = {name: line[name] for name in ("client", "request_id", "upstream_id", "tried", "bytes_in")}
    assert told == {
        "client": "alice",
        "request_id": "theirs-1",
        "upstream_id": "req_1",
        "tried": "a: busy; a: unreachable",
        "bytes_in": 7,
    }
    assert len(line["stop"]) == 80


@pytest.mark.parametrize(("sent", "told"), [(b"a\x1b[31m", None), (b"\xe9" * 500, "\xe9" * 80), (b"", None)])
async def test_an_id_that_a_client_makes_up_is_told_as_far_as_it_can_be_shown(sent: bytes, told: str | None) -> None:
    out = io.StringIO()
    set_up("info", "json", out, colour=False)
    with Record("x", incoming=Asked((b"x-client-request-id", sent))):
        pass
    assert lines(out)[0].get("request_id") == told


@pytest.mark.parametrize("peer", ["127.0.0.1", "::1", "unix"])
async def test_this_machine_is_no_address_worth_telling(peer: str) -> None:
    out = io.StringIO()
    set_up("info", "json", out, colour=False)
    asked = Asked()
    asked.peer = peer
    with Record("x", incoming=asked):
        pass
    assert "client_ip" not in lines(out)[0]


async def test_a_path_is_told_at_bounded_length() -> None:
    out = io.StringIO()
    set_up("info", "json", out, colour=False)
    asked = Asked()
    asked.target = Target("/v1/" + "x" * 60_000, None, None)
    with Record("x", incoming=asked):
        pass
    with Record("y", asked="POST /v1/" + "x" * 60_000):
        pass
    assert [(line["method"], len(line["path"])) for line in lines(out)] == [("POST", 300), ("POST", 300)]


@pytest.mark.parametrize("form", ["json", "text"])
async def test_what_would_be_obeyed_by_a_terminal_is_written_as_its_number(form: Any) -> None:
    ugly = "m\n12:00:01 info \x1b[31mX\x7f\x85\x9b31m\u2028\u202e\U000e0041"
    out, asked = io.StringIO(), Asked()
    set_up("info", form, out, colour=False)
    asked.target = Target(f"/{ugly}", None, None)
    with Record("x", incoming=asked) as record:
        record.model = ugly
    log = logging.getLogger("trioproxy.http")
    log.warning("it says %s", ugly)
    try:
        raise ValueError(ugly)
    except ValueError:
        log.exception("failed")
    said = out.getvalue()
    assert "\\u001b[31mX\\u007f\\u0085\\u009b31m\\u2028\\u202e\\udb40\\udc41" in said
    assert all(line.isprintable() for line in said.split("\n"))
    assert not re.search("^12:00:01 info", said, re.MULTILINE)
    if form == "json":
        exchange, message, _ = lines(out)
        assert (exchange["model"], message["message"]) == (ugly, f"it says {ugly}")


@pytest.mark.parametrize("form", ["json", "text"])
async def test_one_of_several_processes_says_which_it_is(form: Any) -> None:
    out = io.StringIO()
    set_up("info", form, out, colour=False, worker=3)
    with Record("x"):
        pass
    logging.getLogger("trioproxy.http").warning("trouble")
    wanted = r'"worker":3,' if form == "json" else r"(info|warning) \[3\] "
    assert [bool(re.search(wanted, line)) for line in out.getvalue().splitlines()] == [True, True]


@pytest.mark.skipif(not hasattr(os, "O_DIRECT") or sys.platform != "linux", reason="packets in a pipe are Linux's")
def test_each_line_is_one_write() -> None:
    """So the lines of several processes, which share stderr, do not mix: a pipe takes 4096 bytes at once or not."""
    reading, writing = os.pipe2(os.O_DIRECT)  # what is written at once is read at once
    with open(writing, "w") as out, open(reading, "rb", buffering=0) as packets:
        set_up("info", "json", out, colour=False)

        async def talk() -> None:
            for number in range(3):
                with Record(f"{number}", incoming=Asked()) as record:
                    fill(record)
                    record.ledger.note("x" * 80, "y" * 200)
                    record.end = "failed: " + "z" * 900

        trio.run(talk)
        for number in range(3):
            packet = packets.read(8192)
            assert packet is not None
            assert msgspec.json.decode(packet)["id"] == f"{number}"
            assert packet.endswith(b"\n")


@pytest.mark.parametrize(
    ("end", "kind"),
    [
        ("complete", "complete"),
        ("failed: the upstream answered 429", "failed"),
        ("refused: no", "refused"),
        ("client left", "left"),
        ("cancelled", "cancelled"),
    ],
)
async def test_the_end_in_one_word(end: str, kind: str) -> None:
    record = Record("x")
    record.end = end
    assert record.end_kind == kind


async def test_what_never_came_to_pass_is_left_out() -> None:
    out = io.StringIO()
    set_up("info", "json", out, colour=False)
    with Record("x") as record:
        record.status, record.end = 400, "refused: no"
    (line,) = lines(out)
    assert line.keys() == {"time", "level", "logger", "id", "status", "seconds", "end"}


async def test_a_cancelled_exchange_is_logged_too() -> None:
    out = io.StringIO()
    set_up("info", "json", out, colour=False)
    with trio.CancelScope() as scope, Record("x", incoming=Asked()):
        scope.cancel()
        await trio.sleep_forever()
    assert [line["end"] for line in lines(out)] == ["cancelled"]


async def test_text_is_one_line_whatever_a_client_calls_its_model() -> None:
    out = Terminal()
    set_up("info", "auto", out, colour=False)
    with Record("1f3a9c0e", incoming=Asked()) as record:
        fill(record)
        record.model = 'a "b"\nc=\x1b[31m' + "x" * 1000
    text = out.getvalue()
    assert re.match(
        r"\d\d:\d\d:\d\d info 1f3a9c0e POST /v1/messages 200 client_ip=10.1.2.3 upstream=up model=\"a ", text
    )
    assert text.count("\n") == 1
    assert "\x1b" not in text
    assert len(text) < 400


@pytest.mark.parametrize(("form", "stream", "json"), [("auto", io.StringIO, True), ("text", io.StringIO, False)])
async def test_the_form_follows_the_stream_unless_it_is_said(form: Any, stream: type[io.StringIO], json: bool) -> None:
    out = stream()
    set_up("info", form, out, colour=False)
    with Record("x"):
        pass
    assert out.getvalue().startswith("{") is json


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_traceback_comes_along(form: Any) -> None:
    out = io.StringIO()
    set_up("info", form, out, colour=False)
    try:
        raise RuntimeError("the reason")
    except RuntimeError as exc:
        logging.getLogger("trioproxy.proxy").error("it failed", exc_info=exc)
    assert "it failed" in out.getvalue()
    assert "RuntimeError: the reason" in out.getvalue()


def test_colour_only_where_it_is_wanted_and_only_for_trouble() -> None:
    out = Terminal()
    set_up("info", "text", out, colour=True)
    log = logging.getLogger("trioproxy.http")
    log.info("fine")
    assert "\x1b" not in out.getvalue()
    log.warning("trouble")
    assert "\x1b[31mwarning\x1b[0m trouble" in out.getvalue()


async def test_the_level_silences() -> None:
    out = io.StringIO()
    set_up("warning", "json", out, colour=False)
    with Record("x"):
        pass
    assert out.getvalue() == ""


def test_what_the_library_for_traces_says_is_in_the_same_form_and_seldom() -> None:
    out = io.StringIO()
    set_up("info", "json", out, colour=False)
    theirs = logging.getLogger("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    for _ in range(50):
        theirs.warning("Transient error")
        theirs.error("Failed to export span batch")
        logging.getLogger("trioproxy.http").error("ours")
    said = [line["message"] for line in lines(out)]
    assert said == ["Failed to export span batch", *["ours"] * 50]


@pytest.mark.parametrize("level", ["debug", "error"])
async def test_switched_off_it_says_nothing_whatever_happens(level: str, capfd: pytest.CaptureFixture[str]) -> None:
    out = io.StringIO()
    set_up(level, "json", out, colour=False, enabled=False)
    with Record("x") as record:
        record.end = "failed: no"
    log = logging.getLogger("trioproxy.http")
    log.critical("it burns")
    assert not log.isEnabledFor(logging.CRITICAL)  # nobody makes lines for nothing
    assert (out.getvalue(), *capfd.readouterr()) == ("", "", "")
