import tomllib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioproxy import toml
from trioproxy.errors import ConfigError, Position

# ── every key and value is found where it was written ───────────────────────────────────────────────────────────────

names = st.one_of(
    st.from_regex(r"[A-Za-z0-9_-]{1,6}", fullmatch=True), st.text(st.characters(codec="utf-8"), max_size=4)
)
spaces = st.sampled_from(["", " ", "  ", "\t"])
gaps = st.sampled_from(["", "\n", '# a [comment] = "\'"\n', "\r\n", " \n# }\n"])


def basic(text: str) -> str:
    return (
        '"'
        + "".join(rf"\U{ord(letter):08x}" if letter in '"\\' or not letter.isprintable() else letter for letter in text)
        + '"'
    )


def key(name: str) -> str:
    bare = name and name.isascii() and name.replace("-", "").replace("_", "").isalnum()
    return name if bare else basic(name)


scalars = st.one_of(
    st.integers(-(10**20), 10**20).map(str),
    st.text(st.characters(codec="utf-8"), max_size=8).map(basic),
    st.sampled_from(["true", "-inf", "6.6e-3", "0xff", "1979-05-27 07:32:00", "'it = [1]'", '""', "''"]),
    st.sampled_from(["'''a\n'b'''''", '"""\n "x" \\\n  ]"""', '"""\\""""""']),
)  # fmt: skip


class Writer:
    """Writes TOML and remembers where it put what."""

    def __init__(self) -> None:
        self.text = ""
        self.keys: dict[toml.Path, int] = {}
        self.values: dict[toml.Path, tuple[int, int]] = {}

    def value(self, data: st.DataObject, path: toml.Path, depth: int) -> None:
        start = len(self.text)
        kind = data.draw(st.sampled_from(["scalar", "scalar", "array", "table"])) if depth else "scalar"
        if kind == "scalar":
            self.text += data.draw(scalars)
        elif kind == "array":
            self.text += "["
            for index in range(data.draw(st.integers(0, 3))):
                self.text += data.draw(gaps) + data.draw(spaces)
                self.value(data, (*path, index), depth - 1)
                self.text += data.draw(gaps) + ","
            self.text += data.draw(gaps) + "]"
        else:
            self.text += "{" + data.draw(spaces)
            for index, name in enumerate(data.draw(st.lists(names, max_size=3, unique=True))):
                self.text += ", " if index else ""
                self.pair(data, path, name, depth - 1)
            self.text += data.draw(spaces) + "}"
        self.values[path] = start, len(self.text)

    def pair(self, data: st.DataObject, path: toml.Path, name: str, depth: int) -> None:
        inner = data.draw(st.lists(names, max_size=1)) if depth else []  # a dotted key
        for index, part in enumerate([name, *inner]):
            self.text += (data.draw(spaces) + "." + data.draw(spaces)) if index else ""
            path = (*path, part)
            self.keys.setdefault(path, len(self.text))
            self.text += key(part)
        self.text += data.draw(spaces) + "=" + data.draw(spaces)
        self.value(data, path, depth)

    def document(self, data: st.DataObject) -> None:
        everything = data.draw(st.lists(names, max_size=6, unique=True))
        split = data.draw(st.integers(0, len(everything)))
        for name in everything[:split]:
            self.text += data.draw(gaps)
            self.pair(data, (), name, 2)
            self.text += "\n"
        for name in everything[split:]:
            array = data.draw(st.booleans())
            for number in range(data.draw(st.integers(1, 2)) if array else 1):
                self.text += data.draw(gaps) + ("[[" if array else "[") + data.draw(spaces)
                self.keys.setdefault((name,), len(self.text))
                self.text += key(name) + data.draw(spaces) + ("]]" if array else "]") + data.draw(spaces) + "\n"
                table: toml.Path = (name, number) if array else (name,)
                for inner in data.draw(st.lists(names, max_size=3, unique=True)):
                    self.pair(data, table, inner, 1)
                    self.text += "\r\n"

    def place(self, offset: int) -> tuple[int, int]:
        return self.text.count("\n", 0, offset) + 1, offset - self.text.rfind("\n", 0, offset)


@given(st.data())
def test_every_key_and_value_is_found_where_it_was_written(data: st.DataObject) -> None:
    writer = Writer()
    writer.document(data)
    document = toml.load(writer.text, "x.toml")
    assert document.tables == tomllib.loads(writer.text)
    for path, start in writer.keys.items():
        found = document.key(path)
        assert found is not None
        assert (found.line, found.column, found.width) == (*writer.place(start), len(key(str(path[-1]))))
    for path, (start, end) in writer.values.items():
        first_line = writer.text[start:end].split("\n")[0]
        place = writer.place(start)
        assert document.value(path) == Position(*place, max(1, len(first_line)))


# ── what has no place of its own ────────────────────────────────────────────────────────────────────────────────────

EXAMPLE = """\
a.b = 1
[upstreams.router]
url = "x"
headers = { x-team = "blue" }
[[lists]]
n = 1
[[lists]]
n = 2
[lists.below]
m = 3
"""


@pytest.mark.parametrize(
    ("path", "place"),
    [
        (("a",), (1, 1, 1)),
        (("a", "b"), (1, 3, 1)),
        (("upstreams",), (2, 2, 9)),
        (("upstreams", "router"), (2, 12, 6)),
        (("upstreams", "router", "url"), (3, 1, 3)),
        (("upstreams", "router", "missing"), (2, 12, 6)),
        (("upstreams", "router", "headers", "x-team"), (4, 13, 6)),
        (("lists", 0, "n"), (6, 1, 1)),
        (("lists", 1, "n"), (8, 1, 1)),
        (("lists", 1), (7, 3, 5)),
        (("lists", 1, "below", "m"), (10, 1, 1)),
    ],
)
def test_places_of_keys(path: toml.Path, place: tuple[int, int, int]) -> None:
    assert toml.load(EXAMPLE, "x.toml").key(path) == Position(*place)


def test_a_value_without_a_place_is_at_its_key() -> None:
    document = toml.load(EXAMPLE, "x.toml")
    assert document.value(("upstreams", "router")) == document.key(("upstreams", "router"))
    assert document.value(("upstreams", "router", "url")) == Position(3, 7, 3)
    assert document.value(("nowhere",)) is None


# ── bad syntax ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "place", "line"),
    [
        ("a = 1\nb = \n", (2, 5), "b ="),
        ("a = 1\na = 2\n", (2, 6), "a = 2"),
        ('a = "open\n', (1, 10), 'a = "open'),
        ("a = [1,\n", (2, 1), None),
        ("[a]\n[a]\n", (2, 3), "[a]"),
        ("token = sk-secret\n", (1, 9), "token = *********"),
    ],
)
def test_bad_syntax_is_shown_where_it_is(text: str, place: tuple[int, int], line: str | None) -> None:
    with pytest.raises(ConfigError, match="this is not valid TOML: ") as caught:
        toml.load(text, "x.toml")
    assert str(caught.value).startswith(f"x.toml:{place[0]}:{place[1]}: ")
    assert line is None or f"{place[0]} | {line}\n" in str(caught.value)


@pytest.mark.parametrize("text", ["a = " + "[" * 5000, "a = " + "9" * 5000, "a" + ".a" * 5000 + " = 1"])
def test_absurd_files_are_refused_without_a_traceback(text: str) -> None:
    # Whether nesting is too deep depends on the interpreter; another exception than ConfigError would be the traceback.
    with suppress(ConfigError):
        assert toml.load(text, "x.toml").key(("a",)) == Position(1, 1, 1)


@pytest.mark.parametrize("part", ["a", "a1-_ ", '"a.\\"b" ', "'a.b'"])
@pytest.mark.parametrize("form", ["[{}]", "[[{}]]", "{} = 1", "x = {{ {} = 1 }}", "x = 'a' # b\n[{}]"])
def test_a_key_of_very_many_parts_is_refused_before_it_takes_time(form: str, part: str) -> None:
    assert toml.load(form.format(".".join([part] * 100)), "x.toml").tables
    with pytest.raises(ConfigError, match=r"x\.toml: a key of the file has more than 100 parts"):
        toml.load(form.format(".".join([part] * 101)), "x.toml")


@pytest.mark.parametrize("quotes", ['"', "'", '"""', "'''", '"""\n', "'''\n"])
def test_a_text_may_have_as_many_as_it_likes(quotes: str) -> None:
    text = f"{quotes}{'a.' * 300}{quotes.strip()}"
    assert toml.load(f"x = {text} # {'a.' * 300}\n", "x.toml").tables == {"x": "a." * 300}


def test_places_are_found_behind_texts_of_several_lines() -> None:
    document = toml.load("".join(f"[a{number}]\nx = '''\n\n'''\n" for number in range(1000)), "x.toml")
    assert document.value(("a999", "x")) == Position(3998, 5, 3)
    assert document.key(("a999",)) == Position(3997, 2, 4)


@given(names)
def test_a_name_as_a_key(name: str) -> None:
    assert tomllib.loads(f"{toml.key(name)} = 1") == {name: 1}


def test_a_key_is_quoted_only_where_it_must_be() -> None:
    assert (toml.key("signature-filter"), toml.key("mine:Class")) == ("signature-filter", '"mine:Class"')
