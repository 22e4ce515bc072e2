import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioproxy import models
from trioproxy.dialects.models import Model
from trioproxy.models import Models

A, B = Model("claude-a", "Claude A", context=200_000), Model("claude-b")


def ids(listed: list[Model]) -> list[str]:
    return [model.id for model in listed]


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("gpt-4o", "claude-sonnet-4-6"),  # the whole name comes first
        ("gpt-4o-mini", "small"),  # then the longest pattern
        ("gpt-5", "large-5"),
        ("gpt-", "gpt-"),  # a * is one character or more
        ("tools/x/y", "x/y"),  # a prefix, taken off
        ("x-latest", "v/x"),
        ("GPT-4o", "GPT-4o"),  # case counts
        ("", ""),
        ("*", "*"),
    ],
)
def test_what_the_upstream_is_asked_for(name: str, asked: str) -> None:
    aliases = {
        "gpt-*": "large-*",
        "gpt-4o-*": "small",
        "gpt-4o": "claude-sonnet-4-6",
        "tools/*": "*",
        "*-latest": "v/*",
    }
    assert Models(aliases).upstream(name) == asked


def test_any_model_at_all() -> None:
    anything = Models({"*": "qwen3-coder", "opus": "big"})
    assert (anything.upstream("opus"), anything.upstream("x")) == ("big", "qwen3-coder")
    assert (anything.upstream("qwen3-coder"), anything.upstream("")) == ("qwen3-coder", "")


def test_of_patterns_of_one_length_the_first_counts() -> None:
    assert Models({"a*": "x", "*b": "y"}).upstream("ab") == "x"


def test_the_parts_around_a_star_do_not_overlap() -> None:
    assert Models({"aba*aba": "x"}).upstream("ababa") == "ababa"
    assert Models({"aba*aba": "x"}).upstream("aba-aba") == "x"


def test_without_aliases_the_list_is_the_upstreams() -> None:
    assert Models().listed([A, B]) == [A, B]
    assert Models().listed([]) == []


def test_an_alias_is_listed_with_what_is_known_of_its_model() -> None:
    listed = Models({"gpt-4o": "claude-a", "old": "gone"}).listed([A])
    assert listed == [Model("gpt-4o", "Claude A", context=200_000), Model("old"), A]


def test_with_a_prefix_the_models_are_listed_under_it_only() -> None:
    listed = Models({"claude-openai-tools/*": "*", "best": "claude-b"}).listed([A, B])
    assert ids(listed) == ["best", "claude-openai-tools/claude-a", "claude-openai-tools/claude-b"]
    assert listed[1].name == "Claude A"


def test_a_model_that_no_pattern_reaches_is_not_listed() -> None:
    assert ids(Models({"mine/*": "claude-*"}).listed([A, Model("other")])) == ["mine/a"]


def test_a_name_that_leads_elsewhere_is_not_listed() -> None:
    assert ids(Models({"claude-*": "qwen"}).listed([A, Model("qwen")])) == ["qwen"]
    assert ids(Models({"m/*": "*", "m/x*": "y"}).listed([Model("xa"), Model("a")])) == ["m/a"]


def test_nothing_is_listed_twice_and_not_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ids(Models({"claude-a": "claude-b"}).listed([A, B, B])) == ["claude-a", "claude-b"]
    monkeypatch.setattr(models, "_LISTED", 3)
    assert ids(Models({"b": "a"}).listed([Model(str(number)) for number in range(9)])) == ["b", "0", "1"]


parts = st.text("ab/*", max_size=4)


@given(st.dictionaries(parts.filter(lambda alias: alias.count("*") < 2), parts), st.lists(parts))
def test_every_listed_name_leads_to_a_model(aliases: dict[str, str], names: list[str]) -> None:
    names = [name.replace("*", "x") for name in names]
    aliases = {alias: name.replace("*", "", name.count("*") - ("*" in alias)) for alias, name in aliases.items()}
    made = Models(aliases)
    listed = ids(made.listed([Model(name) for name in names]))
    assert len(listed) == len(set(listed))
    for name in listed:
        assert name in aliases or made.upstream(name) in names
