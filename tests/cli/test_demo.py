from __future__ import annotations

from pathlib import Path

import pytest

from trioproxy import config
from trioproxy.cli import demo


async def test_shows_what_each_stage_did(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert await demo.show() == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert all(len(line) <= 100 for line in lines)
    assert sum("dropped by signature-filter" in line for line in lines) == 8
    assert 'content_block_delta "Hello!"                    content_block_delta "Hello!"' in lines
    assert "17 events in, 9 out; what was not touched left as the very bytes it came in." in lines


def test_names_the_stage_that_made_an_event() -> None:
    route = config.read(demo.TOML, Path("demo"), {}).routes[0]
    assert route.upstream.replay
    metadata = route.upstream.replay.file.read_bytes().partition(b"event: message_stop")
    rows, out = demo.trace(route, b"".join(metadata[:2]) + b'\ndata: {"type":"message_stop"}\n\n')
    assert [row.got for row in rows if not row.sent] == [
        "MessageStart  made by signature-filter",
        "BlockStart  made by signature-filter",
        "BlockStop  made by signature-filter",
        "MessageDelta  made by signature-filter",
        "MessageStop  made by signature-filter",
    ]
    assert b'"text":""' in out
