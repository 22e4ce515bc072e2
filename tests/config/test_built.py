"""A configuration built in Python is the one that the file would say, and what is wrong with it is told where."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import trioproxy
from trioproxy import ConfigError, Event, Stage, TextDelta, config, replace
from trioproxy.config import Secret
from trioproxy.config.built import Tables
from trioproxy.config.differences import changes
from trioproxy.units import Seconds

UP = {"up": {"url": "http://up:3456"}}


class Shout(Stage[TextDelta, TextDelta]):
    """Answer in capitals."""

    def __init__(self, *, volume: int = 1) -> None:
        self.volume = volume

    def feed(self, delta: TextDelta, /) -> Any:
        yield replace(delta, text=delta.text.upper() + "!" * self.volume)


class Whisper(Shout):
    def __init__(self, *, below: int) -> None:
        super().__init__(volume=-below)


def chain(*stages: object) -> list[object]:
    return ["deframe", "parse", *stages, "translate", "reframe"]


def built(*stages: object, **tables: Any) -> list[config.StageSpec]:
    """What becomes of stages of one's own in a list."""
    loaded = trioproxy.configure(upstreams=UP, pipeline={"response": chain(*stages)}, **tables)
    return list(loaded.routes[0].response[2:-2])


def problems(**tables: Any) -> list[tuple[str, str]]:
    with pytest.raises(ConfigError) as caught:
        trioproxy.configure(**({"upstreams": UP} | tables))
    assert str(caught.value).startswith(caught.value.problems[0].message)  # not ":1:1: …"
    return [(problem.message, problem.hint) for problem in caught.value.problems]


TOML = """
listen = ["127.0.0.1:0", "[::1]:0"]
allow-anonymous = true
drain = "2m"
[upstreams.up]
url = "http://up:3456/v1"
dialect = "openai-chat"
token = "sk-key"
first-byte-timeout = "5s"
max-tokens = 100
headers = { x_team = "blue" }
[upstreams.demo]
url = "replay:recordings/metadata-then-answer.sse"
[routes]
"/" = "up"
"/my_demo" = { upstream = "demo", response = ["deframe", "reframe"], allow-anonymous = true }
[models]
"my_model" = "your_model"
[stages.keepalive]
after = "40ms"
[limits]
body-timeout = 7
[store]
url = "off"
"""


def test_it_is_what_the_file_would_say() -> None:
    said = config.read(TOML, Path("stages.toml"), {})
    built = trioproxy.configure(
        listen=("127.0.0.1:0", "[::1]:0"),
        allow_anonymous=True,
        drain="2m",
        upstreams={
            "up": {
                "url": "http://up:3456/v1",
                "dialect": "openai-chat",
                "token": "sk-key",
                "first_byte_timeout": "5s",
                "max-tokens": 100,
                "headers": {"x_team": "blue"},
            },
            "demo": {"url": "replay:recordings/metadata-then-answer.sse"},
        },
        routes={
            "/": "up",
            "/my_demo": {"upstream": "demo", "response": ["deframe", "reframe"], "allow_anonymous": True},
        },
        models={"my_model": "your_model"},
        stages={"keepalive": {"after": "40ms"}},
        limits={"body_timeout": 7},
        store={"url": "off"},
    )
    assert changes(said, built) == []
    assert [route.prefix for route in built.routes] == ["/my_demo", "/"]
    assert built.upstreams["up"].headers == (("x_team", Secret("blue")),)
    assert built.file is None
    assert built.directory == Path.cwd()


def test_a_value_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UP_KEY", "sk-from-there")
    loaded = trioproxy.configure(upstreams={"up": {"url": "http://up", "token": {"env": "UP_KEY"}}})
    assert loaded.upstreams["up"].token == Secret("sk-from-there")


def test_a_token_may_be_an_async_function() -> None:
    async def token() -> str:
        return "sk"

    assert trioproxy.configure(upstreams={"up": {"url": "http://up", "token": token}}).upstreams["up"].token is token


# ── stages ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_stage_may_be_a_class() -> None:
    [spec] = built(Shout)
    assert (spec.name, spec.cls) == ("Shout", Shout)
    assert spec.make() is not spec.make()


def test_a_class_takes_options_as_a_name_does() -> None:
    [spec] = built(Shout, stages={"Shout": {"volume": 3}})
    stage = spec.make()
    assert isinstance(stage, Shout)
    assert stage.volume == 3


@pytest.mark.parametrize("make", [lambda: Shout(volume=5), partial(Shout, volume=5)], ids=["lambda", "partial"])
def test_a_stage_may_be_what_makes_one(make: Callable[[], Shout]) -> None:
    [spec] = built(make)
    stage = spec.make()
    assert isinstance(stage, Shout)
    assert (spec.name, spec.cls, stage.volume) == ("Shout", Shout, 5)


def test_stages_of_one_class_are_told_apart() -> None:
    def loud() -> Shout:
        return Shout(volume=9)

    specs = built(Shout, loud, lambda: Shout(volume=2), Shout, loud, stages={"Shout": {"volume": 4}})
    assert [spec.name for spec in specs] == ["Shout", "Shout 2", "Shout 3", "Shout", "Shout 2"]
    assert [spec.make().volume for spec in specs] == [4, 9, 2, 4, 9]  # type: ignore[attr-defined]  # all are Shouts


def test_a_class_has_its_name_wherever_it_stands() -> None:
    loaded = trioproxy.configure(
        upstreams=UP,
        pipeline={"response": chain(lambda: Shout(volume=2))},
        routes={"/": "up", "/own": {"upstream": "up", "response": chain(Shout)}},
        stages={"Shout": {"volume": 4}},
    )
    assert [(route.prefix, route.response[2].name) for route in loaded.routes] == [("/own", "Shout"), ("/", "Shout 2")]
    assert [route.response[2].make().volume for route in loaded.routes] == [4, 2]  # type: ignore[attr-defined]  # Shouts


def test_options_are_a_classs_and_not_a_functions() -> None:
    [spec] = built(lambda: Shout(volume=7), stages={"Shout": {"use": "keepalive"}})
    assert (spec.name, spec.make().volume) == ("Shout 2", 7)  # type: ignore[attr-defined]  # it is a Shout


# ── what is wrong ───────────────────────────────────────────────────────────────────────────────────────────────────


def broken() -> Shout:
    raise LookupError("no volume")


async def later() -> Shout:
    return Shout()


ONE = Shout()
FRESH = "each exchange needs a fresh one: give the class, or a function that makes one"


@pytest.mark.parametrize(
    ("stage", "message", "hint"),
    [
        (ONE, "this is one stage of Shout, already made", FRESH),
        (lambda: ONE, "<lambda> gives the same stage each time", FRESH),
        (later, "later must give a stage at once, and is async", FRESH),
        (int, "stage 'int' is not a subclass of trioproxy.Stage", "class Mine(Stage[Event, Event]): …"),
        (lambda: 3, "stage 'int' is not a subclass of trioproxy.Stage", "class Mine(Stage[Event, Event]): …"),
        (Stage, "stage 'Stage' is not a subclass of trioproxy.Stage", "class Mine(Stage[Event, Event]): …"),
        (7, "Expected `str`, got `int`", ""),
        ("prse", "there is no stage 'prse'", "did you mean 'parse'?"),
        (Whisper, "stage 'Whisper' needs the option 'below'", "for instance:\n[stages.Whisper]\nbelow = …"),
        ("parse", "response stage 4, 'parse', takes Frame, but 'parse' gives Event", None),
    ],
)
def test_a_stage_that_is_none_is_named_by_its_place(stage: object, message: str, hint: str | None) -> None:
    routes = {"/": {"upstream": "up", "response": chain("keepalive", stage)}}
    [(got, advice)] = problems(routes=routes)
    place = 'routes."/".response[3]'
    assert got == f"{place}: {message}" or (hint is None and got.startswith(f"{place}: response stage 4"))
    assert hint is None or advice == hint


def test_what_makes_no_stage_is_told_with_why() -> None:
    [(got, _)] = problems(pipeline={"request": [broken]})
    assert re.fullmatch(
        r"pipeline\.request\[0\]: broken should make a stage, and raised LookupError: no volume "
        r"\(test_built\.py, line \d+\)",
        got,
    )


def test_all_that_is_wrong_is_told_at_once_each_with_its_place() -> None:
    got = problems(
        listne=":0",
        upstreams={"up": {"url": "nowhere", "tokn": "sk-secret", "idle_timeout": "soon"}, "b.c": {"url": 3}},
        routes={"/": {"upstream": "upp"}},
        limits={"body_timeout": 0},
    )
    assert [message.partition(":")[0] for message, _ in got] == [
        "upstreams.up.idle-timeout",
        "upstreams.up.url",
        "upstreams.up.tokn",
        'upstreams."b.c".url',
        'routes."/".upstream',
        "limits.body-timeout",
        "listne",
    ]
    hints = [hint for _, hint in got]
    assert "did you mean 'token'?" in hints
    assert "did you mean 'listen'?" in hints
    assert "sk-secret" not in str(got)


def test_what_is_no_table_is_told() -> None:
    assert problems(upstreams=3)[0][0] == "upstreams: Expected a table, got `int`"
    assert problems(routes=["/"])[0][0] == "routes: Expected a table, got `array`"


def test_mypy_knows_every_key_that_the_file_may_have() -> None:
    unknown: Any = {"xyzzy-quux": 1}  # like nothing that there is, so the hint lists all
    [(_, hint)] = problems(**unknown)
    keys = hint.removeprefix("known here: ").split(", ")
    assert {key.replace("-", "_") for key in keys} == Tables.__annotations__.keys()


def test_times_and_sizes_are_read_as_the_file_has_them() -> None:
    loaded = trioproxy.configure(upstreams=UP, drain=2.5, limits={"body": "1 MiB"})
    assert (loaded.drain, loaded.limits.body) == (Seconds(2.5), 1024 * 1024)


def test_a_stage_of_events_is_checked_as_one_of_the_file() -> None:
    class Late(Stage[Event, Event]):
        def feed(self, event: Event, /) -> Any:
            yield event

    [(message, hint)] = problems(pipeline={"response": ["deframe", Late, "parse", "translate", "reframe"]})
    assert message == "pipeline.response[1]: response stage 2, 'Late', takes Event, but 'deframe' gives Frame"
    assert hint == "'parse' turns Frame into Event: move it before 'Late'"
