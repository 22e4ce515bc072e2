"""The banner. The running process is tested in tests/test_serve.py."""

import re
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from trioproxy import __version__, config
from trioproxy.cli.explain import explain_config
from trioproxy.cli.serve import banner
from trioproxy.http.listen import Address, Listen, open_listeners

UP = '[upstreams.up]\nurl = "http://up:3456"\n'
DEMO = '[upstreams.demo]\nurl = "replay:recordings/metadata-then-answer.sse"\n'


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")


def shown(text: str, *addresses: str) -> list[str]:
    """The banner for a file's text, on sockets that really listen; their ports read as PORT."""
    loaded = config.read(text, Path("stages.toml"), {})

    async def listen() -> list[str]:
        listeners = await open_listeners([Listen(Address(each)) for each in addresses or ["127.0.0.1:0"]])
        try:
            lines = banner(loaded, listeners)
        finally:
            for listener in listeners:
                listener.close()
        for listener in listeners:
            if not listener.unix:
                lines = [
                    line.replace(listener.address, listener.address.rpartition(":")[0] + ":PORT") for line in lines
                ]
        return lines

    return trio.run(listen)


def test_the_banner_of_the_shipped_file() -> None:
    loaded = Path(__file__).parent.parent.parent / "stages.toml"
    assert shown(loaded.read_text()) == [
        f"trioproxy {__version__} on http://127.0.0.1:PORT (stages.toml)",
        "  /     → router, http://127.0.0.1:3456",
        "  /demo → demo, replay:recordings/metadata-then-answer.sse",
        "  stages: replay-thinking → upstream → deframe → parse → signature-filter → remember-thinking",
        "          → keepalive → translate → reframe",
        "  clients: ANTHROPIC_BASE_URL=http://127.0.0.1:PORT claude, or OPENAI_BASE_URL=http://127.0.0.1:PORT/v1",
        "  try: curl -N http://127.0.0.1:PORT/demo/v1/messages -d '{\"stream\":true}'",
    ]


def test_an_upstream_that_may_be_anybody_is_told_loudly() -> None:
    warning = "  ! insecure = true: up may be anybody, and is told every key and prompt"
    text = '[upstreams.up]\nurl = "https://up"\n'
    assert warning in shown(f"{text}insecure = true")
    assert warning not in shown(text)


def test_a_store_that_outlives_the_process_is_told() -> None:
    assert "  store: sqlite:thinking.db" in shown(f'{UP}[store]\nurl = "sqlite:thinking.db"')
    assert "  store: valkey://host/0" in shown(f'{UP}[store]\nurl = "valkey://user:secret@host/0"')
    assert not [line for line in shown(UP) if "store" in line]


def test_a_passthrough_and_routes_that_differ() -> None:
    text = f"{UP}[pipeline]\nresponse = []\n"
    assert "  stages: bytes as they come" in shown(text)
    differing = f'{text}[routes]\n"/" = "up"\n"/x" = {{ upstream = "up", response = ["deframe", "reframe"] }}'
    assert "  stages: differ: python -m trioproxy check" in shown(differing)


def test_routes_stand_in_the_order_of_the_file() -> None:
    routes = '"/long/one" = "up"\n"/b" = "up"\n"/" = "up"\n"/a" = "up"'
    assert [line.split()[0] for line in shown(f"{UP}[routes]\n{routes}")[1:3]] == ["/long/one", "/b"]
    loaded = config.read(f"{UP}[routes]\n{routes}", Path("stages.toml"), {})
    explained = [line.partition(" ")[0] for line in explain_config(loaded) if " → up: " in line]
    assert explained == ["/long/one", "/b", "/", "/a"]


def test_many_routes_are_counted() -> None:
    routes = "\n".join(f'"/{letter}" = "up"' for letter in "abcdef")
    assert "  … and 4 more routes: python -m trioproxy check" in shown(f"{UP}[routes]\n{routes}")


def test_sessions_are_shown_with_one_of_that_name() -> None:
    routes = '[routes]\n"/{session}" = "up"\n"/demo/{session}" = "demo"'
    lines = shown(f"{UP}{DEMO}[pipeline]\nresponse = []\n{routes}")
    assert lines[1] == "  /{session}      → up, http://up:3456"
    base = "http://127.0.0.1:PORT"
    assert (
        lines[4] == f"  clients: ANTHROPIC_BASE_URL={base}/my-session claude, or OPENAI_BASE_URL={base}/my-session/v1"
    )
    assert lines[5] == f"  try: curl -N {base}/demo/my-session/v1/messages -d '{{\"stream\":true}}'"
    [clients] = [line for line in shown(f'{UP}{routes.replace("demo", "up")}\n"/" = "up"') if "clients" in line]
    assert clients == f"  clients: ANTHROPIC_BASE_URL={base} claude, or OPENAI_BASE_URL={base}/v1"


OPEN = "allow-anonymous = true\n"
ASKED = '[clients]\nme = "a-token-of-16-characters"\n'


def test_an_open_port_is_warned_of() -> None:
    warning = "  ! whoever reaches 0.0.0.0:PORT may use it: allow-anonymous is true"
    assert shown(OPEN + UP, "0.0.0.0:0")[-1] == warning
    assert not [line for line in shown(UP + ASKED, "0.0.0.0:0") if "!" in line]


def test_several_open_ports_are_warned_of() -> None:
    warning = "  ! whoever reaches 0.0.0.0:PORT, 0.0.0.0:PORT may use it: allow-anonymous is true"
    assert shown(OPEN + UP, "0.0.0.0:0", "0.0.0.0:0")[-1] == warning


def test_what_is_open_is_named_where_something_is_not() -> None:
    routes = '[routes]\n"/" = "up"\n"/free" = { upstream = "up", allow-anonymous = true }'
    warning = "  ! whoever reaches 0.0.0.0:PORT may use /free: allow-anonymous is true"
    assert shown(OPEN + UP + ASKED + routes, "0.0.0.0:0")[-1] == warning


@pytest.mark.parametrize(
    ("addresses", "here"), [(["0.0.0.0:0"], "127.0.0.1"), (["[::]:0", "0.0.0.0:0"], "127.0.0.1"), (["[::]:0"], "[::1]")]
)
def test_an_open_port_is_tried_on_this_machine(addresses: list[str], here: str) -> None:
    [line] = [line for line in shown(UP, *addresses) if "clients" in line]
    assert re.match(rf"  clients: ANTHROPIC_BASE_URL=http://{re.escape(here)}:\d+ claude, or", line)


def test_a_unix_socket_has_no_url(tmp_path: Path) -> None:
    lines = shown(DEMO, f"unix:{tmp_path}/s")
    assert lines[0] == f"trioproxy {__version__} on unix:{tmp_path}/s (stages.toml)"
    ask = f"curl --unix-socket {tmp_path}/s -N http://localhost/v1/messages -d '{{\"stream\":true}}'"
    assert lines[-1:] == [f"  try: {ask}"]
    assert not [line for line in shown(UP, f"unix:{tmp_path}/s") if "clients" in line or "try" in line]


@pytest.mark.parametrize("addresses", [["127.0.0.1:0"], ["0.0.0.0:0"], ["127.0.0.1:0", "0.0.0.0:0", "127.0.0.1:0"]])
@given(
    st.lists(
        st.tuples(st.from_regex(r"/[a-z]{1,30}", fullmatch=True), st.booleans()), max_size=9, unique_by=lambda x: x[0]
    )
)
def test_the_banner_has_at_most_ten_lines(addresses: list[str], routes: list[tuple[str, bool]]) -> None:
    lists = ['"deframe", "reframe"', ""]
    listed = [f'"{prefix}" = {{ upstream = "demo", response = [{lists[own]}] }}' for prefix, own in routes]
    lines = shown("\n".join([UP, DEMO, "[routes]", '"/" = "up"', *listed]), *addresses)
    assert len(lines) <= 10
    assert not any("\n" in line for line in lines)
