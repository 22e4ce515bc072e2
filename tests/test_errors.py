import pytest

from trioproxy.errors import ConfigError, Position, Problem, ProxyError
from trioproxy.items import Error

SOURCE = 'listen = "x"\n\turl = 1\n'


def show(problem: Problem, source: str = SOURCE) -> str:
    return str(ConfigError([problem], file="stages.toml", source=source))


def quoted(line: str) -> str:
    """How a line of the file is shown."""
    return show(Problem("wrong", at=Position(1, 1)), line).splitlines()[2].removeprefix("1 | ")


def test_a_problem_is_shown_with_its_place_its_line_and_a_caret() -> None:
    assert show(Problem("listen: wrong", "did you mean 'y'?", Position(1, 10, 3))) == (
        "stages.toml:1:10: listen: wrong\n"
        "  |\n"
        '1 | listen = "x"\n'
        "  |          ^^^\n"
        "  = did you mean 'y'?"
    )  # fmt: skip


def test_the_gutter_is_as_wide_as_the_line_number() -> None:
    assert show(Problem("wrong", "a\nb", Position(12, 3, 2)), "\n" * 11 + "  ab").splitlines() == [
        "stages.toml:12:3: wrong",
        "   |",
        "12 |   ab",
        "   |   ^^",
        "   = a",
        "     b",
    ]


def test_a_tab_is_one_column() -> None:
    assert show(Problem("wrong", at=Position(2, 2, 3))).splitlines()[2:] == ["2 |  url = 1", "  |  ^^^"]


def test_the_caret_ends_with_the_line() -> None:
    assert show(Problem("wrong", at=Position(1, 10, 99))).splitlines()[-1] == "  |          ^^^"
    assert show(Problem("wrong", at=Position(1, 13))).splitlines()[-1] == "  |             ^"


def test_without_a_place_the_file_is_named() -> None:
    assert show(Problem("wrong", "try")) == "stages.toml: wrong\n = try"
    assert str(ConfigError([Problem("wrong")])) == "wrong"


def test_an_empty_line_is_not_quoted() -> None:
    assert show(Problem("wrong", "try", Position(1, 1)), "") == "stages.toml:1:1: wrong\n = try"


def test_all_problems_are_shown_in_the_order_of_the_file() -> None:
    error = ConfigError([Problem("b", at=Position(2, 1)), Problem("a", at=Position(1, 1)), Problem("0")], source=SOURCE)
    assert [problem.message for problem in error.problems] == ["0", "a", "b"]
    assert str(error).count("\n\n") == 2


def test_only_lf_ends_a_line() -> None:
    # U+2028 and form feed may stand in a comment; str.splitlines() would count them.
    assert "2 | b = 1" in show(Problem("wrong", at=Position(2, 1)), "# \u2028 \x85\r\nb = 1\r\n")


def test_control_characters_do_not_reach_the_terminal() -> None:
    assert quoted("a = '\x1b[31m'") == "a = ' [31m'"


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ('token = "sk-abc def"  # mine', "token = ************  # mine"),
        ("token = 'sk'", "token = ****"),
        ("token = sk-1, x", "token = ****, x"),
        ('token = "sk-unclosed', "token = ************"),
        ('token = { env = "T", default = "sk" }', 'token = { env = "T", default = **** }'),
        ('headers = { x-api-key = "k", Authorization = "z" }', "headers = { x-api-key = ***, Authorization = *** }"),
        ('"Cookie" = "a=b"', '"Cookie" = *****'),
        ('url = "http://me:pw@host/x"', 'url = "http://*****@host/x"'),
        ('tokn = "sk-ant-api03-abcdef"', 'tokn = "*******************"'),
        ('url = { env = "UPSTREAM_URL_NUMBER_1", default = "http://127.0.0.1:3456" }', None),
        ('response = ["deframe", "signature-filter"]', None),
        ('url = "replay:recordings/metadata-then-answer-2.sse"', None),
        ('token = { env = "ROUTER_TOKEN" }', None),
    ],
)  # fmt: skip
def test_secrets_are_blotted_out_in_their_columns(line: str, shown: str | None) -> None:
    assert quoted(line) == (shown or line)
    assert len(quoted(line)) == len(line)


def test_where_the_admin_listener_is_is_no_secret() -> None:
    source = '[admin]\nlisten = "127.0.0.1"\ntoken = { file = "/run/admin" }\ntokn = "sk-1"'
    shown = str(ConfigError([Problem("no", at=Position(line, 1)) for line in (2, 3, 4)], file="f", source=source))
    assert [line for line in shown.splitlines() if " | " in line and "^" not in line] == [
        '2 | listen = "127.0.0.1"',
        '3 | token = { file = "/run/admin" }',
        '4 | tokn = "****"',
    ]


def test_a_proxy_error_says_what_the_client_is_told() -> None:
    assert str(ProxyError(Error("overloaded", "busy", 529))) == "529 overloaded: busy"


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ('tokn = "sk-1"', 'tokn = "****"'),
        ('token = { env = "NAME", defualt = "sk-1" }', 'token = { env = "NAME", defualt = "****" }'),
        ("headers = { \"X A\" = 'sk-1' }", "headers = { \"***\" = '****' }"),
        ('headers.authorization.x = "sk-1"', 'headers.authorization.x = "****"'),
        ('tokn = "sk-1', 'tokn = "****'),
        ('url = "http://127.0.0.1:1"', 'url = "http://127.0.0.1:1"'),
        ('idle-timeout = "soon"', 'idle-timeout = "soon"'),
        ('insecure = "yes"', 'insecure = "yes"'),
        ('retries = "many"', 'retries = "many"'),
        ('token = { file = "/run/secrets/up" }', 'token = { file = "/run/secrets/up" }'),
        ('token = { file = "../up.key" }', 'token = { file = "../up.key" }'),
        ('token = { file = "sk-1" }', 'token = { file = "****" }'),
    ],
)
@pytest.mark.parametrize("table", ["[upstreams.a]", "[upstream.a]", '["upstreams".a]'])
def test_in_an_upstreams_table_any_text_may_be_a_token(table: str, line: str, shown: str) -> None:
    error = ConfigError([Problem("no", at=Position(2, 1))], file="f", source=f"{table}\n{line}")
    assert f"2 | {shown}" in str(error).splitlines()
