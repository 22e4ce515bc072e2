"""`init`: the file of a case, what it says comes next, and that nothing is ever overwritten."""

from __future__ import annotations

import re
import tomllib
import zipfile
from pathlib import Path

import pytest

from trioproxy import config
from trioproxy.cli import main
from trioproxy.cli.init import CASES

ROOT = Path(__file__).parent.parent.parent
WITHOUT_FILES = [case for case in CASES if case != "team"]  # whose certificate must be there


@pytest.fixture(autouse=True)
def _empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err


def test_every_example_is_a_case() -> None:
    assert sorted(CASES.values()) == sorted(file.name for file in (ROOT / "examples").glob("*.toml"))


@pytest.mark.parametrize("case", CASES)
def test_the_file_of_a_case_is_the_example_and_names_itself(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", "mine.toml", "--for", case]) == 0
    written, example = (tmp_path / "mine.toml").read_text(), (ROOT / "examples" / CASES[case]).read_text()
    assert tomllib.loads(written) == tomllib.loads(example)
    assert "examples/" not in written
    told = said(capsys)
    assert told.startswith("wrote mine.toml\n\n")
    assert "  python -m trioproxy --config mine.toml\n" in told
    for variable in re.findall(r'env = "(\w+)" }', written):  # what has no default
        assert re.search(rf"^  export .*\b{variable}=", told, re.MULTILINE)


@pytest.mark.parametrize("case", WITHOUT_FILES)
def test_the_file_of_a_case_can_be_served(case: str, tmp_path: Path) -> None:
    assert main(["init", "--for", case]) == 0
    keys = dict.fromkeys(("ANTHROPIC_API_KEY", "OPENAI_API_KEY"), "sk-0123456789abcdef")
    assert config.load(tmp_path / "stages.toml", keys).routes


def test_without_a_case_it_is_the_shipped_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init"]) == 0
    assert (tmp_path / "stages.toml").read_text() == (ROOT / "stages.toml").read_text()
    told = said(capsys)
    assert "serve: python -m trioproxy --config stages.toml" in told
    for case in CASES:
        assert re.search(rf"^  {case} +\S", told, re.MULTILINE)


def test_what_is_there_stays_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "stages.toml").write_text("mine")
    assert main(["init", "--for", "filter"]) == 2
    assert (tmp_path / "stages.toml").read_text() == "mine"
    hint = "name another one: python -m trioproxy init FILE"
    assert said(capsys) == f"error: stages.toml is already there, and stays as it is; {hint}\n"


def test_a_case_that_is_none_lists_those_there_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "--for", "clode-code-openai"]) == 2
    told = said(capsys)
    assert told.startswith("error: there is no case 'clode-code-openai'; did you mean 'claude-code-openai'?\n\n")
    lines = told.splitlines()[2:]
    assert [line.split()[0] for line in lines] == list(CASES)
    assert max(map(len, lines)) <= 120
    assert not (tmp_path / "stages.toml").exists()


def test_a_place_that_is_none_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "none/stages.toml"]) == 1
    assert said(capsys) == "error: No such file or directory\n"


def test_the_wheel_has_every_case(tmp_path: Path) -> None:
    builders = pytest.importorskip("hatchling.builders.wheel", reason="hatchling is not installed (the extra dev)")
    [wheel] = builders.WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(wheel) as packed:
        files = {name.rpartition("/")[2]: packed.read(name) for name in packed.namelist() if "/cases/" in name}
    assert files.keys() == {*CASES.values(), "stages.toml"}
    assert files["stages.toml"] == (ROOT / "stages.toml").read_bytes()
    assert files["team.toml"] == (ROOT / "examples/team.toml").read_bytes()
