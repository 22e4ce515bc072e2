import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, Optional

import pytest

from trioproxy import registry
from trioproxy.errors import Problem
from trioproxy.items import Event
from trioproxy.stage import Stage
from trioproxy.stages import BUILT_IN
from trioproxy.units import Seconds, Size

STAGE = "from trioproxy import *\nclass {name}(Stage[Event, Event]):\n    def feed(self, event, /): yield event\n"


@pytest.fixture(autouse=True)
def _imports() -> Iterator[None]:
    """What a test imports, and from where, is forgotten after it."""
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def unusable(name: str, directory: Path) -> tuple[str, str]:
    """Why a stage cannot be used, and the hint."""
    with pytest.raises(registry.Unusable) as caught:
        registry.find(name, directory)
    assert str(caught.value) == caught.value.problem.message
    return caught.value.problem.message, caught.value.problem.hint


# ── built-in stages ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_built_in_stage_is_found_and_has_a_docstring(name: str, tmp_path: Path) -> None:
    cls = registry.find(name, tmp_path)
    assert cls is registry.built_in()[name]
    assert cls.__doc__
    assert cls.takes
    assert name in registry.names()


def test_a_wrong_name_brings_the_nearest_one(tmp_path: Path) -> None:
    message = ("there is no stage 'sigature-filter'", "did you mean 'signature-filter'?")
    assert unusable("sigature-filter", tmp_path) == message
    assert "python -m trioproxy stages" in unusable("zzz", tmp_path)[1]


# ── entry points ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Install a package that offers stages: a name each, and the class behind it."""

    def install(package: str, **stages: str) -> None:
        site = tmp_path / package
        info = site / f"{package}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = [f"{name.replace('_', '-')} = {where}" for name, where in stages.items()]
        (info / "entry_points.txt").write_text("\n".join(["[trioproxy.stages]", *lines]))
        (site / f"{package}.py").write_text(STAGE.format(name="Shout"))
        monkeypatch.syspath_prepend(str(site))

    return install


def test_an_installed_package_offers_a_stage(install: Callable[..., None], tmp_path: Path) -> None:
    install("loud", be_loud="loud:Shout")
    assert registry.find("be-loud", tmp_path).__name__ == "Shout"
    assert registry.names()[: len(BUILT_IN)] == [*BUILT_IN]  # in the order of a pipeline
    assert "be-loud" in registry.names()[len(BUILT_IN) :]
    assert unusable("be-lout", tmp_path)[1] == "did you mean 'be-loud'?"


def test_two_packages_that_claim_a_name_are_both_named(install: Callable[..., None], tmp_path: Path) -> None:
    install("loud", yell="loud:Shout")
    install("noisy", yell="noisy:Shout")
    message = "two packages offer a stage 'yell': loud and noisy"
    assert unusable("yell", tmp_path) == (message, "uninstall one, or name its class: 'module:Class'")
    assert registry.find("noisy:Shout", tmp_path).__module__ == "noisy"


def test_a_built_in_name_cannot_be_taken_over(install: Callable[..., None], tmp_path: Path) -> None:
    install("loud", deframe="loud:Shout")
    assert registry.find("deframe", tmp_path).__module__ == "trioproxy.stages.deframe"


def test_a_broken_package_harms_nobody_who_does_not_use_it(install: Callable[..., None], tmp_path: Path) -> None:
    install("loud", yell="loud:Shout", gone="missing_module:Gone")
    assert registry.find("yell", tmp_path)
    message, hint = unusable("gone", tmp_path)
    assert message == "stage 'gone': there is no module 'missing_module'"
    assert "install it again" in hint


# ── module:Class ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_class_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "mine_beside.py").write_text(STAGE.format(name="Mine"))
    assert registry.find("mine_beside:Mine", tmp_path).__name__ == "Mine"


def test_the_file_beside_wins_over_an_installed_module(tmp_path: Path) -> None:
    (tmp_path / "this.py").write_text(STAGE.format(name="Mine"))  # `this` is a module of the standard library
    assert registry.find("this:Mine", tmp_path).__name__ == "Mine"


@pytest.mark.parametrize(
    ("module", "what"),
    [("queue", "a module of Python"), ("time", "a module of Python"), ("pytest", "an installed module")],
)
def test_a_file_that_another_module_hides_has_to_be_renamed(module: str, what: str, tmp_path: Path) -> None:
    importlib.import_module(module)
    (tmp_path / f"{module}.py").write_text(STAGE.format(name="Mine"))
    message = f"stage '{module}:Mine': '{module}' is also {what}"
    assert unusable(f"{module}:Mine", tmp_path) == (message, f"rename {module}.py")


def test_a_class_in_a_package_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "mine_package").mkdir()
    (tmp_path / "mine_package" / "inner.py").write_text(STAGE.format(name="Mine"))
    assert registry.find("mine_package.inner:Mine", tmp_path).__name__ == "Mine"


@pytest.mark.parametrize(
    ("code", "message", "hint"),
    [
        (None, "stage 'm:Mine': there is no module 'm'", "put m.py beside the TOML file"),
        ("1 / 0", "stage 'm:Mine' cannot be imported: ZeroDivisionError: division by zero (m.py, line 1)", ""),
        (
            "def f():\n  import json\n  json.loads(3)\n\nf()",
            "stage 'm:Mine' cannot be imported: TypeError: the JSON object must be str, bytes or bytearray, not int"
            " (m.py, line 3)",
            "",
        ),
        (
            "\nimport no_such_library",
            "stage 'm:Mine' cannot be imported: ModuleNotFoundError: No module named 'no_such_library' (m.py, line 2)",
            "",
        ),
        ("\ndef:", "stage 'm:Mine' cannot be imported: SyntaxError: invalid syntax (m.py, line 2)", ""),
        ("raise SystemExit('no')", "stage 'm:Mine' cannot be imported: SystemExit: no (m.py, line 1)", ""),
        (STAGE.format(name="Mime"), "stage 'm:Mine': module 'm' has no 'Mine'", "did you mean 'Mime'?"),
        (STAGE.format(name="Other"), "stage 'm:Mine': module 'm' has no 'Mine'", "it has: Other"),
        ("", "stage 'm:Mine': module 'm' has no 'Mine'", "class Mine(Stage[Event, Event]): …"),
        (
            "class Mine: ...",
            "stage 'm:Mine' is not a subclass of trioproxy.Stage",
            "class Mine(Stage[Event, Event]): …",
        ),
        (
            "from trioproxy import *\nclass Mine(Stage): ...",
            "stage 'm:Mine' does not say what it takes and gives",
            "class Mine(Stage[Event, Event]): …",
        ),
        (
            "from trioproxy import *\nclass Mine(Stage[Event, Event]): ...",
            "stage 'm:Mine' has no feed()",
            "def feed(self, item, /): yield item",
        ),
        (
            STAGE.format(name="Mine") + "    def __init__(self, *, x: 'Nope'): ...",
            "stage 'm:Mine': the options of its constructor cannot be read: name 'Nope' is not defined",
            "",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_module_of_ones_own(code: str | None, message: str, hint: str, tmp_path: Path) -> None:
    if code is not None:
        (tmp_path / "m.py").write_text(code)
    assert unusable("m:Mine", tmp_path) == (message, hint)


def test_a_missing_library_with_a_name_alike_is_not_the_module(tmp_path: Path) -> None:
    (tmp_path / "libx_stages.py").write_text("import libx")
    assert "No module named 'libx' (libx_stages.py, line 1)" in unusable("libx_stages:Mine", tmp_path)[0]


@pytest.mark.parametrize("name", ["my.py:", ":Mine", "a b:C", "a-b/c d:C", "..mine:Mine", "mine", "mine.Mine", ""])
def test_what_is_no_module_and_class_is_explained(name: str, tmp_path: Path) -> None:
    message, hint = unusable(name, tmp_path)
    assert message == f"there is no stage '{name}'"
    assert "'module:Class'" in hint


@pytest.mark.parametrize(
    ("name", "better", "file"),
    [
        ("my-stages:X", "my_stages:X", "my_stages.py"),
        ("sub/x.py:Y", "sub.x:Y", "sub/x.py"),
        ("./mine.py:Mine", "mine:Mine", "mine.py"),
        ("mine.py:Mine", "mine:Mine", "mine.py"),
    ],
)
def test_a_file_in_place_of_a_module_is_understood(name: str, better: str, file: str, tmp_path: Path) -> None:
    class_name = better.partition(":")[2]
    hint = f"a module's name has no '-', '/' or '.py': '{better}' is {class_name} of {file}"
    assert unusable(name, tmp_path)[1] == hint


# ── options ─────────────────────────────────────────────────────────────────────────────────────────────────────────


ONE_SECOND = Seconds(1)


class Sample(Stage[Event, Event]):
    def __init__(
        self,
        *,
        must: str,
        how_often: int = 3,
        after: Seconds = ONE_SECOND,
        room: Size | None = None,
        mode: Literal["soft", "hard"] = "soft",
        words: tuple[str, ...] = (),
    ) -> None:
        if how_often == 13:
            raise ValueError("how-often must not be 13")
        if how_often == 14:
            raise RuntimeError("no")
        self.given = (must, how_often, after, room, mode, words)


def read(**values: Any) -> tuple[Callable[[], Stage[Any, Any]] | None, list[tuple[tuple[str | int, ...], Problem]]]:
    problems: list[tuple[tuple[str | int, ...], Problem]] = []
    pairs = {name.replace("_", "-"): (value, True) for name, value in values.items()}
    make = registry.read_options("sample", Sample, pairs, lambda below, problem: problems.append((below, problem)))
    return make, problems


def test_options_are_the_keyword_arguments() -> None:
    found = {option.name: option.default for option in registry.options(Sample)}
    assert list(found) == ["must", "how-often", "after", "room", "mode", "words"]
    assert found["must"] is registry.REQUIRED
    assert found["how-often"] == 3


def test_every_exchange_gets_a_fresh_stage() -> None:
    make, problems = read(must="a", how_often=5, after="2s", room="1 KiB", mode="hard", words=["x", "y"])
    assert not problems
    assert make
    first, second = make(), make()
    assert first is not second
    assert isinstance(first, Sample)
    assert first.given == ("a", 5, 2.0, 1024, "hard", ("x", "y"))


@pytest.mark.parametrize(
    ("values", "below", "message", "hint"),
    [
        ({}, (), "stage 'sample' needs the option 'must'", "for instance:\n[stages.sample]\nmust = …"),
        ({"must": 1}, ("must",), "must: Expected `str`, got `int`", ""),
        ({"must": {"a": 1}}, ("must",), "must: Expected `str`, got `table`", ""),
        ({"how_often": "x"}, ("how-often",), "how-often: Expected `int`, got `str`", ""),
        ({"how_oftn": 1}, ("how-oftn",), "stage 'sample' has no option 'how-oftn'", "did you mean 'how-often'?"),
        (
            {"zzz": 1},
            ("zzz",),
            "stage 'sample' has no option 'zzz'",
            "its options: must, how-often, after, room, mode, words",
        ),
        (
            {"after": "soon"},
            ("after",),
            "after: Expected a time such as \"10s\", \"40ms\" or \"2m\", got 'soon'",
            "",
        ),
        ({"room": 0}, ("room",), "room: Expected a size of 1 byte or more, got 0", ""),
        ({"mode": "sofd"}, ("mode",), "mode: Expected 'soft' or 'hard', got 'sofd'", "did you mean 'soft'?"),
        ({"mode": 1}, ("mode",), "mode: Expected `str`, got `int`", ""),
        ({"words": ["a", 2]}, ("words", 1), "words: Expected `str`, got `int`", ""),
        ({"how_often": 13}, ("how-often",), "stage 'sample': how-often must not be 13", ""),
        ({"how_often": 14}, (), "stage 'sample': RuntimeError: no (test_registry.py, line ", ""),
    ],
)  # fmt: skip
def test_wrong_options(values: dict[str, Any], below: tuple[str | int, ...], message: str, hint: str) -> None:
    make, [(found, problem)] = read(**({"must": "a"} | values if values else {}))
    assert make is None
    assert (found, problem.hint) == (below, hint)
    assert problem.message.startswith(message)


def test_all_wrong_options_at_once() -> None:
    _, problems = read(how_often="x", mode="y")
    assert [below for below, _ in problems] == [("how-often",), ("mode",), ()]


def test_what_the_constructor_refuses_is_told_along_with_the_rest() -> None:
    make, problems = read(must="a", how_often=13, mode="y", zzz=1)
    assert make is None
    assert [below for below, _ in problems] == [("mode",), ("zzz",), ("how-often",)]
    assert problems[-1][1].message == "stage 'sample': how-often must not be 13"


def test_text_of_the_environment_may_spell_a_number() -> None:
    assert registry.convert("5", int, strict=False) == 5
    assert registry.convert("5", Seconds, strict=False) == 5
    assert registry.convert("5", Size, strict=False) == 5
    with pytest.raises(registry.Misfit, match=r"^Expected `int`, got `str`$"):
        registry.convert("5", int)


@pytest.mark.parametrize("kind", [bool, bool | None, Optional[bool]])  # noqa: UP045  # a plugin may write it so
@pytest.mark.parametrize(
    ("words", "meant"), [("true True TRUE yes Yes on ON 1", True), ("false no NO off Off 0", False)]
)
def test_text_of_the_environment_may_spell_a_truth_value(words: str, meant: bool, kind: Any) -> None:
    for word in words.split():
        assert registry.convert(f" {word}\n", kind, strict=False) is meant
        with pytest.raises(registry.Misfit):
            registry.convert(word, kind)
    for wrong in ("maybe", "", " ", "2"):
        with pytest.raises(registry.Misfit, match=r"^Expected true or false \(or yes, no, on, off, 1, 0\), got "):
            registry.convert(wrong, kind, strict=False)


@pytest.mark.parametrize("kind", [Literal["soft", "hard"], Literal["soft", "hard"] | None])
def test_a_choice_may_be_named_in_capitals(kind: Any) -> None:
    for strict in (True, False):
        assert registry.convert(" SOFT", kind, strict=strict) == "soft"
        with pytest.raises(registry.Misfit, match=r"^Expected 'soft' or 'hard', got 'SOFD'"):
            registry.convert("SOFD", kind, strict=strict)
    assert registry.convert("HARD", str, strict=False) == "HARD"


def test_a_value_the_type_has_no_words_for() -> None:
    with pytest.raises(registry.Misfit, match="its type, Path, cannot stand in a TOML file"):
        registry.convert("x", Path)
