"""The order of a pipeline, checked before anything listens."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioproxy import config, pipeline, registry
from trioproxy.config import Config
from trioproxy.errors import ConfigError, Problem
from trioproxy.items import Error, Event, Frame, Request, TextDelta
from trioproxy.stage import Stage
from trioproxy.testing import drive

KNOWN = registry.built_in()
USUAL = ["deframe", "parse", "signature-filter", "remember-thinking", "keepalive", "translate", "reframe"]


class Answers(Stage[Request, Request | Event]):
    """May answer a request itself."""


class Blind(Stage[Request, Event]):
    """Never asks the upstream."""


class Shout(Stage[TextDelta, TextDelta]):
    """Takes some of the events."""


class Odd(Stage[Request, Frame]):
    """Gives what nobody can send to an upstream."""


class Fails(Stage[Event, Event | Error]):
    """May fail."""


OWN: dict[str, registry.StageClass] = {
    "answers": Answers, "blind": Blind, "shout": Shout, "odd": Odd, "fails": Fails,
}  # fmt: skip


def stages(names: Sequence[str]) -> list[tuple[str, registry.StageClass]]:
    return [(name, OWN.get(name) or KNOWN[name]) for name in names]


def check(*names: str, direction: str = "response") -> list[tuple[int, Problem]]:
    return pipeline.check(direction, stages(names), KNOWN)[0]


def flows(*names: str, direction: str = "response") -> list[tuple[type, ...]]:
    return pipeline.check(direction, stages(names), KNOWN)[1]


# ── right orders ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "names",
    [
        USUAL,
        ["deframe", "parse", "keepalive", "signature-filter", "translate", "reframe"],
        ["deframe", "parse", "translate", "reframe"],
        ["deframe", "parse", "shout", "keepalive", "keepalive", "translate", "reframe"],
        ["deframe", "reframe"],
        ["deframe", "reframe", "deframe", "reframe"],
        [],
    ],
)
def test_order_that_works(names: list[str]) -> None:
    assert check(*names) == []


@pytest.mark.parametrize("names", [[], ["answers"], ["answers", "answers"], ["blind"], ["answers", "shout"]])
def test_order_of_request_stages_that_works(names: list[str]) -> None:
    assert check(*names, direction="request") == []


def test_order_tells_what_flows_between_the_stages() -> None:
    assert flows(*USUAL) == [(bytes,), (Frame,), *[(Event,)] * 4, (Frame,), (bytes,)]
    assert flows("answers", direction="request") == [(Request,), (Request, Event)]


def test_order_lets_pass_what_a_stage_does_not_take() -> None:
    assert flows("deframe", "parse", "shout")[-1] == (Event, TextDelta)
    assert pipeline.after((bytes, Request), Shout) == (bytes, Request, TextDelta)


def test_order_leaves_out_errors() -> None:
    assert pipeline.after((Event,), Fails) == (Event,)


# ── wrong orders ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("names", "index", "message", "hint"),
    [
        (
            ["parse", "translate", "reframe"],
            0,
            "response stage 1, 'parse', takes Frame, but the upstream gives bytes",
            "'deframe' turns bytes into Frame: put it before 'parse'",
        ),
        (
            ["parse", "deframe", "translate", "reframe"],
            0,
            "response stage 1, 'parse', takes Frame, but the upstream gives bytes",
            "'deframe' turns bytes into Frame: move it before 'parse'",
        ),
        (
            ["signature-filter", "translate", "reframe"],
            0,
            "response stage 1, 'signature-filter', takes Event, but the upstream gives bytes",
            "'deframe' then 'parse' turn bytes into Event: put them before 'signature-filter'",
        ),
        (
            ["deframe", "signature-filter", "translate", "reframe"],
            1,
            "response stage 2, 'signature-filter', takes Event, but 'deframe' gives Frame",
            "'parse' turns Frame into Event: put it before 'signature-filter'",
        ),
        (
            ["deframe", "parse", "reframe"],
            2,
            "response stage 3, 'reframe', takes Frame, but 'parse' gives Event",
            "'translate' turns Event into Frame: put it before 'reframe'",
        ),
        (
            ["deframe", "parse"],
            2,
            "the last response stage, 'parse', gives Event, but the client needs bytes",
            "'translate' then 'reframe' turn Event into bytes: put them after 'parse'",
        ),
        (
            ["deframe", "parse", "translate"],
            3,
            "the last response stage, 'translate', gives Frame, but the client needs bytes",
            "'reframe' turns Frame into bytes: put it after 'translate'",
        ),
        (
            ["answers"],
            0,
            "response stage 1, 'answers', takes Request, but the upstream gives bytes",
            "'answers' is a request stage",
        ),
    ],
)  # fmt: skip
def test_order_that_is_wrong(names: list[str], index: int, message: str, hint: str) -> None:
    assert check(*names) == [(index, Problem(message, hint))]


@pytest.mark.parametrize(
    ("names", "index", "message"),
    [
        (["deframe"], 0, "request stage 1, 'deframe', takes bytes, but the client's request gives Request"),
        (["blind", "answers"], 1, "request stage 2, 'answers', takes Request, but 'blind' gives Event"),
        (["odd"], 1, "the last request stage, 'odd', gives Frame, but the upstream needs a Request"),
    ],
)
def test_order_of_request_stages_that_is_wrong(names: list[str], index: int, message: str) -> None:
    found, problem = check(*names, direction="request")[0]
    assert (found, problem.message) == (index, message)


@pytest.mark.parametrize(
    ("names", "hint"),
    [
        # It is the stage behind that has to move: what it takes was in flow before.
        (
            ["deframe", "parse", "translate", "keepalive", "reframe"],
            "Event flows until 'translate': move 'keepalive' before it",
        ),
        (
            ["deframe", "parse", "translate", "reframe", "keepalive"],
            "Event flows until 'translate': move 'keepalive' before it",
        ),
        # Only what matters of the flow is named.
        (
            ["keepalive", "parse", "deframe", "translate", "reframe"],
            "'deframe' turns bytes into Frame: move it before 'parse'",
        ),
    ],
)
def test_order_hint_moves_the_right_stage(names: list[str], hint: str) -> None:
    assert check(*names)[-1][1].hint == hint


@pytest.mark.parametrize(
    ("names", "hint"),
    [
        (["deframe"], "'deframe' is a response stage"),
        (["keepalive"], "'keepalive' is a response stage"),
        (["blind", "answers"], "Request flows until 'blind': move 'answers' before it"),
    ],
)
def test_order_hint_for_request_stages(names: list[str], hint: str) -> None:
    assert check(*names, direction="request")[-1][1].hint == hint


@given(st.permutations(USUAL))
def test_order_hint_never_moves_a_stage_that_stands_before_already(order: list[str]) -> None:
    for index, problem in check(*order):
        if match := re.fullmatch(r"(.*) turns? .*: move (?:it|them) before '(.*)'", problem.hint):
            assert order[index] == match[2]
            assert any(order.index(name) > index for name in re.findall("'([^']*)'", match[1]))


def test_order_of_request_stages_reports_a_mistake_once() -> None:
    assert len(check("deframe", direction="request")) == 1


def test_order_reports_every_stage_at_fault() -> None:
    assert [index for index, _ in check("reframe", "parse", "keepalive")] == [0, 1]


@given(st.lists(st.sampled_from([*USUAL, *OWN]), max_size=8))
def test_order_is_right_exactly_if_every_stage_is_fed_and_only_bytes_come_out(names: list[str]) -> None:
    problems, found = pipeline.check("response", stages(names), KNOWN)
    assert len(found) == len(names) + 1
    fed = all(
        any(issubclass(item, taken) or issubclass(taken, item) for item in flow for taken in cls.takes)
        for flow, (_, cls) in zip(found, stages(names), strict=False)
    )
    assert (problems == []) == (fed and found[-1] in ((bytes,), ()))
    assert all(0 <= index <= len(names) for index, _ in problems)


@pytest.mark.parametrize(
    ("names", "left"), [(USUAL, ()), ([], (Event,)), (["deframe", "parse"], (Event,)), (["translate"], (Frame,))]
)
def test_order_shows_whether_own_answers_reach_the_client(names: list[str], left: tuple[type, ...]) -> None:
    assert pipeline.reaches_client((Event,), stages(names)) == left


# ── the story: the shipped file, its lines reordered ────────────────────────────────────────────────────────────────

SHIPPED = Path(__file__).parent.parent / "stages.toml"


def reordered(*order: str) -> str:
    """The text of the shipped file, the lines of its response list in another order."""
    text = SHIPPED.read_text()
    lines = {match[1]: match[0] for match in re.finditer(r'^  "([a-z-]+)",.*\n', text, re.MULTILINE)}
    assert list(lines) == USUAL, "the list as the shipped file has it"
    first = text.index(lines[USUAL[0]])
    rest = text[text.index(lines[USUAL[-1]]) + len(lines[USUAL[-1]]) :]
    return text[:first] + "".join(lines[name] for name in order) + rest


def read(text: str) -> Config:
    return config.read(text, SHIPPED, {})


def answer(loaded: Config) -> bytes:
    """What the client gets of the demo's recording."""
    route = next(route for route in loaded.routes if route.upstream.replay)
    assert route.upstream.replay
    batch: list[Any] = drive([spec.make() for spec in route.response], [route.upstream.replay.file.read_bytes()])
    return b"".join(batch)


def test_order_story_the_file_as_it_is() -> None:
    text = answer(read(reordered(*USUAL)))
    assert b"msg_01Metadata" not in text
    assert text.count(b"event: message_start") == 1


def test_order_story_two_lines_swapped_are_refused_where_they_stand() -> None:
    with pytest.raises(ConfigError) as caught:
        read(reordered("deframe", "signature-filter", "parse", *USUAL[3:]))
    line = (
        SHIPPED.read_text().split("\n").index(next(x for x in SHIPPED.read_text().split("\n") if '"parse",' in x)) + 1
    )
    source = next(each for each in SHIPPED.read_text().split("\n") if '"signature-filter",' in each)
    assert str(caught.value) == (
        f"{SHIPPED}:{line}:3: response stage 2, 'signature-filter', takes Event, but 'deframe' gives Frame\n"
        "   |\n"
        f"{line} | {source}\n"
        "   |   ^^^^^^^^^^^^^^^^^^\n"
        "   = 'parse' turns Frame into Event: move it before 'signature-filter'"
    )


@pytest.mark.parametrize("first", range(len(USUAL) - 1))
def test_order_story_every_swap_of_neighbours(first: int) -> None:
    order = list(USUAL)
    order[first], order[first + 1] = order[first + 1], order[first]
    if {"signature-filter", "remember-thinking", "keepalive"}.issuperset(order[first : first + 2]):
        assert answer(read(reordered(*order))) == answer(read(reordered(*USUAL)))
    else:
        with pytest.raises(ConfigError) as caught:
            read(reordered(*order))
        [problem] = caught.value.problems
        assert problem.hint


def test_order_story_without_the_filter_the_metadata_comes_through() -> None:
    without = answer(read(reordered(*(name for name in USUAL if name != "signature-filter"))))
    assert b"msg_01Metadata" in without


def test_order_story_an_empty_list_passes_the_bytes() -> None:
    loaded = read(reordered())
    route = next(route for route in loaded.routes if route.upstream.replay)
    assert route.response == ()
    assert route.upstream.replay
    assert answer(loaded) == route.upstream.replay.file.read_bytes()


def test_order_story_only_a_request_list(tmp_path: Path) -> None:
    (tmp_path / "asking_stages.py").write_text(
        "from trioproxy import *\nclass Ask(Stage[Request, Request]):\n    def feed(self, request, /): yield request\n"
    )  # fmt: skip
    text = re.sub(r"response = \[.*?\]\n", "", reordered(*USUAL), flags=re.DOTALL)
    loaded = config.read(text.replace('["replay-thinking"]', '["asking_stages:Ask"]'), tmp_path / "stages.toml", {})
    for route in loaded.routes:
        assert [spec.name for spec in route.request] == ["asking_stages:Ask"]
        assert [spec.name for spec in route.response] == USUAL
