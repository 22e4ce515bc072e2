from pathlib import Path

import pytest

from trioproxy import config
from trioproxy.cli.discover import read_config, read_settings
from trioproxy.errors import ConfigError
from trioproxy.http.listen import Address, Listen

UP = '[upstreams.up]\nurl = "http://{}"\n'


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three files to choose from."""
    for name in ("stages", "told", "environ"):
        (tmp_path / f"{name}.toml").write_text(UP.format(name))
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("file", "environ", "chosen"),
    [
        (None, {}, "stages"),
        (None, {"TRIOPROXY_CONFIG": ""}, "stages"),
        (None, {"TRIOPROXY_CONFIG": "environ.toml"}, "environ"),
        (Path("told.toml"), {"TRIOPROXY_CONFIG": "environ.toml"}, "told"),
    ],
)
def test_which_file(file: Path | None, environ: dict[str, str], chosen: str) -> None:
    loaded = read_config(file, environ=environ)
    assert str(loaded.upstreams["up"]) == f"http://{chosen}"
    assert loaded.file == Path(f"{chosen}.toml")


def test_the_environment_reaches_the_file(tmp_path: Path) -> None:
    (tmp_path / "stages.toml").write_text('[upstreams.up]\nurl = { env = "UP" }')
    assert str(read_config(None, environ={"UP": "http://e"}).upstreams["up"]) == "http://e"


def test_the_command_line_wins_over_the_file() -> None:
    loaded = read_config(None, listen=["127.0.0.1:1", "[::1]:2"], log_level="debug", environ={})
    assert loaded.listen == (Listen(Address("127.0.0.1:1")), Listen(Address("[::1]:2")))
    assert loaded.log.level == "debug"
    assert read_config(None, environ={}).log.level == "info"


def test_who_names_a_level_wants_a_log() -> None:
    Path("stages.toml").write_text('[upstreams.up]\nurl = "http://up"\n[log]\nenabled = false')
    assert not read_config(None, environ={}).log.enabled
    assert read_config(None, log_level="info", environ={}).log.enabled


@pytest.mark.parametrize(
    ("file", "environ", "message"),
    [
        (None, {"TRIOPROXY_CONFIG": "none.toml"}, "there is no none.toml (from $TRIOPROXY_CONFIG)"),
        (Path("none.toml"), {}, "there is no none.toml"),
        (Path(), {}, ". cannot be read: Is a directory"),
    ],
)
def test_no_such_file(file: Path | None, environ: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_config(file, environ=environ)
    assert caught.value.problems[0].message == message


def test_no_file_here(tmp_path: Path) -> None:
    (tmp_path / "stages.toml").unlink()
    with pytest.raises(ConfigError, match=r"^there is no stages.toml here\n = give one with --config FILE"):
        read_config(None, environ={})


def test_the_smallest_file_is_shown_where_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "stages.toml").unlink()
    with pytest.raises(ConfigError) as caught:
        read_config(None, environ={})
    first, *smallest = caught.value.problems[0].hint.splitlines()
    assert first.endswith("python -m trioproxy demo; this is enough:")
    assert len(smallest) == 3
    assert config.read("\n".join(smallest), Path("stages.toml"), {}).upstreams


def test_what_the_file_says_of_a_stage(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "mine.toml").write_text('[stages.slow]\nuse = "keepalive"\n')
    assert read_settings("slow", Path("sub/mine.toml"), environ={}) == (tmp_path / "sub", {"use": "keepalive"})
    assert read_settings("slow", None, environ={"TRIOPROXY_CONFIG": "sub/mine.toml"})[1] == {"use": "keepalive"}
    assert read_settings("slow", None, environ={}) == (tmp_path, {})
    (tmp_path / "stages.toml").unlink()
    assert read_settings("slow", None, environ={}) == (tmp_path, {})
    with pytest.raises(ConfigError, match=r"^there is no none\.toml\n"):
        read_settings("slow", Path("none.toml"), environ={})


def test_the_wrong_one_of_two_addresses_is_named() -> None:
    with pytest.raises(ConfigError, match=r"--listen: Expected an address .*, got '4567'$"):
        read_config(None, listen=["127.0.0.1:1", "4567"], environ={})
