"""M1.2 over the whole program: a chat client's tools and Claude's thinking, whatever state the store is in."""

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from tests.clients.anthropic_upstream import Call, Claude, Redact, Say, Step, Think
from tests.peers import Line, ask, proxy, upstream
from tests.valkey import valkey_server
from trioproxy.store import StoreError

CHAT = "/v1/chat/completions"
STEPS: list[Step] = [
    (Think("First."), Say("Let me see. "), Call("a", {"n": 1}), Call("b")),
    (Redact(), Say("And… "), Think("hm"), Call("a")),
    (Think("So."), Say("Done.")),
]
TOOLS = [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in "ab"]


async def talk(toml: str, directory: Path, *, model: str = "claude-opus-4-7") -> tuple[Claude, list[str]]:
    """A turn of three steps, and what each answer says was lost. The client gives back its text and its calls."""
    claude, lossy = Claude(STEPS), list[str]()
    messages: list[Any] = [{"role": "user", "content": "Well?"}]

    async def script(line: Line) -> None:
        headers = dict(line.asked.headers)
        status, body = claude.answer(msgspec.json.decode(line.asked.body), headers)
        await line.whole(msgspec.json.encode(body), status=status)

    async with upstream(script) as up, proxy(up.toml(toml, 'token = "sk-ant-x"'), directory=directory) as port:
        for _ in STEPS:
            body = {"model": model, "messages": messages, "tools": TOOLS, "reasoning_effort": "high"}
            got = await ask(port, msgspec.json.encode(body), path=CHAT)
            assert (got.status, claude.refused) == (200, [])
            lossy.append(got.headers.get("x-trioproxy-lossy", ""))
            message = msgspec.json.decode(got.body)["choices"][0]["message"]
            messages.append({key: message[key] for key in ("role", "content", "tool_calls") if key in message})
            for call in message.get("tool_calls", ()):
                messages.append({"role": "tool", "tool_call_id": call["id"], "content": "fine"})
    return claude, lossy


def thoughts(claude: Claude) -> list[int]:
    """How many blocks of thinking came back in each request."""
    return [len(seen.thoughts) for seen in claude.seen]


@pytest.mark.parametrize("url", ["memory:", "sqlite:thinking.db"])
@pytest.mark.parametrize("model", ["claude-sonnet-4-5", "claude-opus-4-7", "claude-opus-5-5"])
async def test_nothing_is_lost(url: str, model: str, tmp_path: Path) -> None:
    claude, lossy = await talk(f'[store]\nurl = "{url}"', tmp_path, model=model)
    assert thoughts(claude) == ([0, 1, 1] if model == "claude-sonnet-4-5" else [0, 1, 3])
    assert not any(seen.changed or seen.dropped for seen in claude.seen)
    assert all(seen.thinking for seen in claude.seen)
    # The answer calls no tools: its signature is kept by nobody, and nobody needs it again.
    last = "" if model == "claude-sonnet-4-5" else "content[].signature (openai-chat has no signed thinking)"
    assert lossy == ["", "", last]


async def test_a_damaged_file_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "thinking.db").write_bytes(b"this is no database" * 500)
    claude, _ = await talk('[store]\nurl = "sqlite:thinking.db"', tmp_path)
    assert thoughts(claude) == [0, 1, 3]
    assert (tmp_path / "thinking.db.corrupt").read_bytes().startswith(b"this is no")


async def test_a_small_file_is_no_reason_to_refuse_anybody(tmp_path: Path) -> None:
    claude, _ = await talk('[store]\nurl = "sqlite:thinking.db"\nfile-size = "1 MiB"', tmp_path)
    assert thoughts(claude) == [0, 1, 3]


async def test_a_full_server_is_no_reason_to_refuse_anybody(tmp_path: Path) -> None:
    with valkey_server("--maxmemory", "1", "--maxmemory-policy", "noeviction") as server:
        claude, _ = await talk(f'[store]\nurl = "{server.url}"', tmp_path)
    assert thoughts(claude) == [0, 1, 3]


@pytest.mark.parametrize("model", ["claude-sonnet-4-5", "claude-opus-4-7"])
@pytest.mark.parametrize(
    "toml",
    [
        '[store]\nurl = "off"',
        "[store]\nentries = 1\nsize = 1",
        '[pipeline]\nresponse = ["deframe", "parse", "translate", "reframe"]',  # nobody keeps anything
    ],
    ids=["off", "too small", "no stage"],
)
async def test_without_a_memory_requests_go_on(toml: str, model: str, tmp_path: Path) -> None:
    claude, lossy = await talk(toml, tmp_path, model=model)
    assert thoughts(claude) == [0, 0, 0]
    assert [seen.thinking for seen in claude.seen] == [True] + [model != "claude-sonnet-4-5"] * 2
    assert all("not remembered" in each for each in lossy[1:])
    assert ("content[].signature" in lossy[0]) == ("size" not in toml)


@pytest.mark.skipif(os.name != "posix", reason="permissions are set the POSIX way")
async def test_a_file_that_can_never_be_written_is_told_at_start(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"thinking\.db: its directory does not exist"):
        async with proxy(
            '[upstreams.up]\nurl = "http://up"\n[store]\nurl = "sqlite:none/thinking.db"', directory=tmp_path
        ):
            await trio.sleep_forever()
