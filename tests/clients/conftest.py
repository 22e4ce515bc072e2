"""Which clients there are, and the ways from a client to the fake router."""

from __future__ import annotations

import contextlib
import itertools
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

import trioproxy

from . import codex as codex_cli
from .claude_code import PACKAGE, ClaudeCode, installed
from .fake_router import FakeRouter
from .wire import CHOPPINGS

# From here on Claude Code copes with two messages in one stream: it shows both, or the second only.
FIRST_TO_COPE = (2, 1)
# Enters with the address that the client shall call.
Way = Callable[[FakeRouter], AbstractContextManager[str]]

m0_streams = pytest.mark.parametrize(
    ("block_stop", "chopping"),
    list(itertools.product([False, True], CHOPPINGS)),
    ids=lambda value: value if isinstance(value, str) else ("block-stop" if value else "no-block-stop"),
)


def claude_versions(before: tuple[int, ...] | None = None) -> list[object]:
    wanted = f"{PACKAGE} before {'.'.join(map(str, before))}" if before else PACKAGE
    reason = f"{wanted} is not installed (tests/clients/install.sh tests/clients/.installed, or TRIOPROXY_CLAUDE_CODE)"
    clients: list[ClaudeCode] = []
    if sys.platform == "win32":
        reason = "Claude Code is run the POSIX way here (process groups, /usr/bin)"
    else:
        clients = [client for client in installed() if before is None or client.numbers < before]
    if not clients:
        return [pytest.param(None, id="no-claude", marks=pytest.mark.skip(reason=reason))]
    return [pytest.param(client, id=client.version) for client in clients]


@pytest.fixture(params=claude_versions())
def claude(request: pytest.FixtureRequest) -> ClaudeCode:
    client = request.param
    assert isinstance(client, ClaudeCode)
    return client


@pytest.fixture(params=claude_versions(before=FIRST_TO_COPE))
def old_claude(request: pytest.FixtureRequest) -> ClaudeCode:
    """A version that two messages in one stream break."""
    client = request.param
    assert isinstance(client, ClaudeCode)
    return client


def codex_versions() -> list[object]:
    # Run the POSIX way, as Claude Code.
    clients = [] if sys.platform == "win32" else codex_cli.installed()
    if not clients:
        reason = f"{codex_cli.PACKAGE} is not installed (tests/clients/install.sh DIR codex, or TRIOPROXY_CODEX)"
        return [pytest.param(None, id="no-codex", marks=pytest.mark.skip(reason=reason))]
    return [pytest.param(client, id=client.version) for client in clients]


@pytest.fixture(params=codex_versions())
def codex(request: pytest.FixtureRequest) -> codex_cli.Codex:
    client = request.param
    assert isinstance(client, codex_cli.Codex)
    return client


@contextlib.contextmanager
def directly(router: FakeRouter) -> Iterator[str]:
    yield router.url


@contextlib.contextmanager
def through_trioproxy(router: FakeRouter) -> Iterator[str]:
    # In a thread, which starts in no time; as a process it runs in the tests of everything else.
    config = trioproxy.configure(listen="127.0.0.1:0", upstreams={"router": {"url": router.url}})
    with trioproxy.run_in_thread(config) as proxy:
        yield proxy.url


@pytest.fixture
def proxied() -> Way:
    return through_trioproxy


@pytest.fixture(params=["direct", "trioproxy"])
def way(request: pytest.FixtureRequest) -> Way:
    """For what must come out the same with and without the proxy."""
    return directly if request.param == "direct" else through_trioproxy
