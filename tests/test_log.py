import io
import logging
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import trio

from trioproxy.http.target import Target
from trioproxy.log import Record, set_up


class Asked:
    """As much of a request as a log line tells."""

    method, target, sent, received = "POST", Target("/v1/messages", "key=sk-secret", None), 300, 20


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def logger() -> Iterator[logging.Logger]:
    """The logger of trioproxy, as it was before, afterwards."""
    logger = logging.getLogger("trioproxy")
    before = logger.handlers[:], logger.level, logger.propagate
    yield logger
    logger.handlers[:], logger.level, logger.propagate = before


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
    assert list(line)[7:10] == ["upstream", "session", "model"]


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
    assert re.match(r"\d\d:\d\d:\d\d info 1f3a9c0e POST /v1/messages 200 upstream=up model=\"a ", text)
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
