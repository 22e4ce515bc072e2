"""Who is let in by which token, and what of a client's header goes on."""

from hashlib import sha256

import pytest

from trioproxy.clients import admit
from trioproxy.config import Client, Route, Upstream
from trioproxy.errors import ProxyError
from trioproxy.http.headers import Headers
from trioproxy.items import Error

ALICE, BOB, OTHER = "alice-canary-token-1", "bob-canary-token-22", "sk-canary-of-the-upstream"
AGENT = (b"user-agent", b"test")


def client(name: str, token: str) -> Client:
    return Client(name, sha256(token.encode()).digest())


def route(*clients: Client, forward: bool | None = None) -> Route:
    return Route("/", Upstream("up", "anthropic", None), clients=clients, forward_credentials=forward)


BOTH = (client("alice", ALICE), client("bob", BOB))


def fields(**values: str) -> Headers:
    return [AGENT, *((name.replace("_", "-").encode(), value.encode()) for name, value in values.items())]


def refusal(headers: Headers, query: str | None = None) -> Error:
    with pytest.raises(ProxyError) as refused:
        admit(route(*BOTH), headers, query)
    assert not any(token in str(refused.value) for token in (ALICE, BOB, OTHER, ALICE[:-1]))
    return refused.value.error


@pytest.mark.parametrize(
    "shown",
    [
        {"x_api_key": BOB},
        {"api_key": BOB},
        {"authorization": f"Bearer {BOB}"},
        {"authorization": f"bearer   {BOB} "},
        {"x_api_key": OTHER, "authorization": f"Bearer {BOB}"},  # Claude Code sends both (hazard H159)
        {"x_api_key": BOB, "authorization": f"Bearer {OTHER}"},
    ],
)
def test_a_token_in_any_form_admits_and_nothing_that_could_be_one_goes_on(shown: dict[str, str]) -> None:
    admitted = admit(route(*BOTH), [*fields(**shown), (b"cookie", b"session=1")], None)
    assert admitted == ("bob", [AGENT])


def test_fields_that_come_twice_are_each_looked_at() -> None:
    headers = [(b"x-api-key", OTHER.encode()), (b"x-api-key", ALICE.encode())]
    assert admit(route(*BOTH), headers, None) == ("alice", [])


@pytest.mark.parametrize(
    "shown",
    [
        {"x_api_key": OTHER},
        {"x_api_key": ALICE[:-1]},
        {"x_api_key": ALICE + "1"},
        {"x_api_key": sha256(ALICE.encode()).hexdigest()},
        {"authorization": f"Bearer {OTHER}"},
        {"x_api_key": f"{ALICE}, {BOB}"},
    ],
)
def test_another_token_is_refused(shown: dict[str, str]) -> None:
    error = refusal(fields(**shown))
    assert (error.kind, error.status, error.message) == (
        "authentication",
        401,
        "the token is none that may ask here",
    )


@pytest.mark.parametrize(
    "shown",
    [
        {},
        {"x_api_key": "  "},
        {"authorization": "Bearer"},
        {"authorization": f"Basic {ALICE}"},
        {"proxy_authorization": f"Bearer {ALICE}"},
        {"cookie": f"token={ALICE}"},
    ],
)
def test_who_shows_none_is_told_how(shown: dict[str, str]) -> None:
    error = refusal(fields(**shown))
    assert (error.kind, error.status) == ("authentication", 401)
    assert error.message == "a token is needed: send x-api-key: TOKEN or authorization: Bearer TOKEN"


@pytest.mark.parametrize("name", ["key", "api_key", "API-Key", "token", "access_token", "%6Bey", "x;token"])
def test_a_token_in_the_url_is_refused_even_beside_the_right_one(name: str) -> None:
    error = refusal(fields(x_api_key=ALICE), f"beta=true&{name}={ALICE}")
    assert (error.kind, error.status) == ("invalid_request", 400)
    assert "in the header" in error.message


@pytest.mark.parametrize("query", ["beta=true", "key=", "keys=1", "max_tokens=5", ""])
def test_other_queries_are_fine(query: str) -> None:
    assert admit(route(*BOTH), fields(x_api_key=ALICE), query).name == "alice"


def test_forwarded_credentials_are_those_that_are_not_ours() -> None:
    both = route(*BOTH, forward=True)
    shown = fields(x_api_key=ALICE, authorization=f"Bearer {OTHER}", cookie="a=b")
    kept = fields(authorization=f"Bearer {OTHER}", cookie="a=b")
    assert admit(both, shown, None) == ("alice", kept)
    assert admit(both, fields(x_api_key=ALICE, authorization=f"Bearer {BOB}"), None) == ("alice", [AGENT])


@pytest.mark.parametrize("forward", [None, True])
def test_where_nobody_is_asked_all_goes_on_as_it_came(forward: bool | None) -> None:
    shown = fields(x_api_key=OTHER, authorization=f"Bearer {ALICE}", cookie="a=b")
    assert admit(route(forward=forward), shown, f"key={ALICE}") == ("", shown)


def test_where_nobody_is_asked_a_route_can_keep_credentials_here() -> None:
    shown = fields(x_api_key=OTHER, authorization=f"Bearer {ALICE}", api_key=BOB, cookie="a=b")
    assert admit(route(forward=False), shown, None) == ("", [AGENT])
