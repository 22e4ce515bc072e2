"""The `[pipeline]` and `[stages]` sections: lists of stages, each with its options, in an order that works."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from trioproxy import pipeline, registry, toml
from trioproxy.config.model import StageSpec
from trioproxy.config.table import MISSING, Table
from trioproxy.errors import Problem
from trioproxy.items import Request

__all__ = [
    "DEFAULT_REQUEST",
    "DEFAULT_RESPONSE",
    "Chain",
    "Chains",
    "Given",
    "Stages",
    "Usual",
    "check_answers",
    "read_chain",
]

# By the upstream's dialect. What no stage is about, because of the client's dialect, is not read without need.
DEFAULT_REQUEST: Mapping[str, tuple[str, ...]] = {
    "anthropic": ("replay-thinking",),
    "openai-chat": ("billing-nonce",),
    "openai-responses": ("billing-nonce", "replay-thinking"),
}
DEFAULT_RESPONSE = ("deframe", "parse", "signature-filter", "remember-thinking", "keepalive", "translate", "reframe")

Chain = list[StageSpec] | None
"""The stages of one direction; None if a problem with them is noted."""
Chains = tuple[Chain, Chain]
"""The request and the response stages."""
Given = registry.StageClass | StageSpec | None
"""A stage of a program: a class, whose options are in `[stages]`, or all there is to know; None if it is no good, and
that is noted."""


class Stages:
    """The stages that the file names, each with the options of its `[stages]` table. A problem is noted once.

    Those that are `given` were made by the program that embeds the proxy, and go by these names.
    """

    def __init__(self, section: Table, directory: Path, given: Mapping[str, Given]) -> None:
        self._section, self._directory, self._given = section, directory, given
        self._specs: dict[str, StageSpec | None] = {
            name: each for name, each in given.items() if not isinstance(each, type)
        }
        for name in section.raw:
            self.find(name, section, (name,))

    def find(self, name: str, table: Table, below: toml.Path) -> StageSpec | None:
        """The stage `name`, which `table` names at `below`; None if a problem with it is noted."""
        if name not in self._specs:
            self._specs[name] = self._read(name, table, below)
        return self._specs[name]

    def _read(self, name: str, table: Table, below: toml.Path) -> StageSpec | None:
        own = self._section.table(name)
        use = own.get("use", str, None if "use" in own.raw else name)
        if own.broken or use is None:
            return None
        try:
            cls = self._find(use)
        except registry.Unusable as exc:
            if "use" in own.raw:
                own.problem(("use",), exc.problem)
            else:
                table.problem(below, exc.problem, at_key=table is self._section)
            return None
        known = {option.name for option in registry.options(cls)}
        resolved = {key: own.resolve(key) for key in own.raw if key != "use"}
        values = {key: None if value is MISSING else (value, strict) for key, (value, strict) in resolved.items()}

        def report(option: toml.Path, problem: Problem) -> None:
            if name in self._section.raw:
                own.problem(option, problem, at_key=not option or option[0] not in known)
            else:  # a stage without a table of its own: what is wrong is that it is listed
                table.problem(below, problem)

        # With wrong options there will be no configuration, but the order can be judged all the same.
        make = registry.read_options(name, cls, values, report) or partial(cls)
        return StageSpec(name, cls, make, make.keywords)

    def _find(self, use: str) -> registry.StageClass:
        given = self._given.get(use)
        return given if isinstance(given, type) else registry.find(use, self._directory)


def read_chain(table: Table, direction: str, stages: Stages, default: Sequence[str]) -> Chain:
    """The list `direction` of `table`, its order checked."""
    listed = table.array(direction, str, list(default))
    named = [(index, name) for index, name in enumerate(listed) if name is not MISSING]
    found = [spec for index, name in named if (spec := stages.find(name, table, (direction, index)))]
    if len(found) < len(listed):
        return None  # what is missing is noted, and its neighbours cannot be judged
    problems, _ = pipeline.check(direction, _classes(found), {})
    if problems:  # to be told again, with hints: which need every stage there is, and most are not used
        problems, _ = pipeline.check(direction, _classes(found), registry.built_in())
    for index, problem in problems:
        table.problem((direction, min(index, len(listed) - 1)), problem)
    return None if problems else found


class Usual:
    """The `[pipeline]` section: the stages of the routes that have no lists of their own."""

    def __init__(self, section: Table, stages: Stages) -> None:
        self.stages, self._section = stages, section
        self._request = read_chain(section, "request", stages, ()) if "request" in section.raw else None
        self._given = "request" in section.raw
        self._response = read_chain(section, "response", stages, DEFAULT_RESPONSE)
        where = "response" if "response" in section.raw else "request"
        check_answers(section, (where,), self._request, self._response)
        section.known("request")
        section.done()

    def chains(self, dialect: str) -> Chains:
        """The stages in front of an upstream that speaks `dialect`."""
        usual = DEFAULT_REQUEST.get(dialect, ())
        request = self._request if self._given else read_chain(self._section, "request", self.stages, usual)
        return request, self._response

    def every(self) -> dict[str, tuple[tuple[StageSpec, ...], tuple[StageSpec, ...]]]:
        """The same for each dialect: for targets that are registered while running."""
        chains = {dialect: self.chains(dialect) for dialect in DEFAULT_REQUEST}
        return {name: (tuple(request or ()), tuple(response or ())) for name, (request, response) in chains.items()}


def check_answers(table: Table, below: toml.Path, request: Chain, response: Chain) -> bool:
    """Whether what `request` stages answer themselves can reach the client; if not, it is noted of `table`."""
    if request is None or response is None:
        return True
    _, flows = pipeline.check("request", _classes(request), {})
    answers = tuple(item for item in flows[-1] if not issubclass(item, Request))
    if left := pipeline.reaches_client(answers, _classes(response)):
        given = " or ".join(item.__name__ for item in left)
        message = f"the request stages may answer with {given}, but the response stages do not make bytes of it"
        table.problem(below, Problem(message, "'translate' then 'reframe' turn Event into bytes"))
    return not left


def _classes(specs: Sequence[StageSpec]) -> list[tuple[str, registry.StageClass]]:
    return [(spec.name, spec.cls) for spec in specs]
