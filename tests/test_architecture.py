"""Which module may import which, where one may await, and that every source file has its test.

The tables are the design: an arrow that is not here does not exist. Widening one is a decision, not a chore.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import pytest

import trioproxy
from trioproxy.dialects import DIALECTS

PACKAGE = Path(trioproxy.__file__).parent
TESTS = Path(__file__).parent


def name_of(file: Path) -> str:
    """A source file's name among the modules: `http.server`; a package has its own, the root package is ``."""
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(file): file for file in sorted(PACKAGE.rglob("*.py"))}


# ── imports ─────────────────────────────────────────────────────────────────────────────────────────────────────────

STAGE = {"stage", "items", "ledger", "units"}

# What of ours a module may import: itself and what is below the names on the right. A pattern further down wins.
OURS: dict[str, set[str]] = {
    "": {"errors", "items", "stage", "units"} | {"config", "embed", "store"},  # these only when they are asked for
    "__main__": {"cli"},
    "items": set(),
    "units": set(),
    "ledger": {"items"},
    "log": set(),
    "record": {"ledger", "metrics", "tracing", "http.headers"},
    "metrics": {"", "exposition", "usage"},
    "exposition": set(),
    "usage": set(),
    "tracing": {"config", "http.headers", "otel"},
    "otel": {"", "config", "tracing", "http.headers"},
    "errors": {"items"},
    "stage": {"items", "ledger"},
    "testing": {"stage", "items"},
    "toml": {"errors"},
    "models": {"dialects.models"},
    "sessions": {"dialects", "endpoints", "http.headers"},
    "notify": set(),
    "stamp": set(),
    "tokens": {"items"},
    "pipeline": {"stage", "items", "errors"},
    "registry": {"stage", "stages", "units", "errors", "toml"},
    "stages": set(),
    "stages.*": STAGE,  # and no stage another stage
    "stages.parse": STAGE | {"dialects"},
    "stages.translate": STAGE | {"dialects"},
    "stages.replay_responses": STAGE | {"dialects.openai_responses.kept"},
    "dialects": {"dialects", "stage", "items", "errors", "ledger"},
    "dialects.*": {"dialects", "stage", "items", "errors", "ledger"},
    "http": set(),
    "http.*": {"http", "errors", "items", "stamp", "units"},  # knows nothing of LLMs
    "store": {"units"},
    "store.breaker": {"store", "units"},
    "store.memory": set(),
    "store.seal": {"store"},
    "store.sqlite": {"store"},
    "store.valkey": {"store", "http.secure", "http.wire"},  # the same rules for what is on a wire
    "store.targets": {"store"},
    "store.vault": {"store"},
    "replay": {"errors", "items", "http.headers"},  # looks like a reply of `http.client`
    "config": {"config", "toml", "errors"},
    "config.*": {"config", "toml", "registry", "pipeline", "dialects", "errors", "items", "stage", "units"}
    | {"models", "sessions", "store", "http.client", "http.limits", "http.reach"}
    | {"http.certificate", "http.forwarded", "http.gate", "http.listen", "http.target", "http.tls"},
    "upstream": {"clients", "config", "dialects", "http", "replay"},
    "clients": {"config", "errors", "items", "http.headers"},
    "command": {"config.sources"},
    "keys": {"command", "config", "errors", "items", "stamp"},
    "registered": {"config"},
    "targets": {"clients", "config", "errors", "items", "models", "registered", "store", "http.headers"},
    "admin": {"clients", "config", "errors", "exposition", "items", "registered", "store", "targets", "units", "http"},
    "guard": {"config", "errors", "items", "units"},
    "choice": {"config", "guard"},
    "shared": {"collector", "config", "guard", "http.client", "keys", "metrics", "store.vault", "targets", "tracing"},
    "attempts": {"config", "errors", "guard", "items", "ledger", "record", "shared", "stage", "tracing", "upstream"}
    | {"http.client", "http.headers", "http.incoming"},
    "ends": {"dialects", "errors", "items", "upstream", "http.coding", "http.headers", "http.incoming"},
    "beside": {
        "answering",
        "attempts",
        "config",
        "dialects",
        "endpoints",
        "ends",
        "errors",
        "items",
        "record",
        "stage",
        "tokens",
    }
    | {"upstream", "http"},
    "endpoints": {"dialects", "items", "http.headers"},
    "translation": {"config", "dialects", "errors", "items", "stage", "tokens"},
    "proxy": {"config", "conversation", "dialects", "errors", "items", "metrics", "record", "shared", "store.vault"}
    | {"targets", "tracing", "http"},
    "conversation": {"pipeline", "answering", "attempts", "beside", "choice", "clients", "config", "dialects", "errors"}
    | {"items", "stage", "record", "shared", "upstream", "ends", "endpoints", "sessions", "translation", "http"},
    "answering": {
        "pipeline",
        "config",
        "dialects",
        "errors",
        "items",
        "stage",
        "record",
        "upstream",
        "ends",
        "endpoints",
    }
    | {"translation", "http"},
    "serving": {"config", "http.listen", "http.relisten", "http.server", "metrics", "proxy", "store.vault", "tracing"}
    | {"admin", "errors", "exposition", "items", "targets"},
    "embed": {"config", "errors", "serving"},
    "collector": set(),
    "reload": {"config", "errors", "notify", "registry", "stamp"},
    "control": {"config.file", "exposition", "http.listen"},
    "worker": {"collector", "config", "control", "errors", "http", "log", "registry", "reload", "serving", "store"},
    "workers": {"config", "control", "exposition", "http"},
    "cli": {"", "cli", "config", "errors", "registry", "store"},
    "cli.*": {"", "cli", "config", "toml", "errors", "registry", "pipeline", "proxy", "http", "items", "stage"}
    | {"units", "embed", "log", "serving", "sessions", "store"}
    | {"admin", "collector", "exposition", "notify", "reload", "targets", "workers"},
}

# Of others': whom each may be imported by. What is not here may not be imported at all.
THEIRS: dict[str, list[str]] = {
    "msgspec": ["*"],
    "trio": [
        "http.*",
        "pipeline",
        "conversation",
        "answering",
        "attempts",
        "guard",
        "shared",
        "beside",
        "ends",
        "replay",
        "command",
        "keys",
        "targets",
        "serving",
        "reload",
        "control",
        "worker",
        "workers",
        "otel",
        "record",
        "stages.keepalive",
        "store.*",
        "embed",
        "cli",
        "cli.*",
    ],
    "h11": ["http.*"],
    "opentelemetry": ["otel"],
    "requests": ["otel"],
    "truststore": ["http.wire"],
    "regex": ["stages.signature_filter"],
    "cyclopts": ["cli"],
    "hypothesis": ["testing"],
    "bpe_openai": ["tokens"],
    "cryptography": ["store.seal"],
}

# Of the standard library: what only these may import; [] is nobody.
STANDARD: dict[str, list[str]] = {
    "json": [],  # msgspec: faster, big integers exact, NaN refused
    "asyncio": [],
    "threading": ["embed"],
    "concurrent": [],
    "pickle": [],
    "logging": [
        "http.*",
        "answering",
        "guard",
        "keys",
        "log",
        "otel",
        "record",
        "store.*",
        "admin",
        "targets",
        "reload",
        "worker",
        "workers",
    ],
    "socket": ["http.*", "store.valkey", "notify", "control", "worker", "workers"],
    "ssl": ["http.*", "store.valkey"],
    "subprocess": ["command", "workers"],
}


@cache
def tree(name: str) -> ast.Module:
    return ast.parse(MODULES[name].read_text())


def imports(name: str) -> Iterator[tuple[str, int]]:
    """Every module that a module imports, by its full name, and the line; in functions and `if TYPE_CHECKING` too."""
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}, line {node.lineno}: a relative import"
            assert node.module
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield (inner if inner.removeprefix("trioproxy.") in MODULES else node.module), node.lineno


def ours(name: str) -> Iterator[tuple[str, int]]:
    """What of trioproxy a module imports, as the tables name it."""
    for imported, line in imports(name):
        if imported.partition(".")[0] == "trioproxy":
            yield imported.removeprefix("trioproxy").removeprefix("."), line


def rule(name: str) -> set[str]:
    matching = [pattern for pattern in OURS if pattern == name or (pattern.endswith("*") and fnmatch(name, pattern))]
    assert matching, f"no line of OURS is about {name}"
    return OURS[name if name in OURS else matching[-1]]


def is_below(name: str, above: str) -> bool:
    return name == above or (above != "" and name.startswith(f"{above}."))


@pytest.mark.parametrize("name", MODULES)
def test_the_arrows_between_our_modules(name: str) -> None:
    wrong = [f"line {line}: {other}" for other, line in ours(name) if not any(is_below(other, up) for up in rule(name))]
    assert not wrong, f"{name or 'trioproxy'} must not import {wrong}"


@pytest.mark.parametrize("name", MODULES)
def test_the_arrows_to_what_others_made(name: str) -> None:
    wrong = []
    for imported, line in imports(name):
        top = imported.partition(".")[0]
        if top == "trioproxy":
            continue
        users = STANDARD.get(top, ["*"]) if top in sys.stdlib_module_names else THEIRS.get(top, [])
        if not any(fnmatch(name, user) for user in users):
            wrong.append(f"line {line}: {imported}")
    assert not wrong, f"{name or 'trioproxy'} must not import {wrong}"


def test_no_dialect_imports_another() -> None:
    homes = {type(dialect).__module__.removeprefix("trioproxy.") for dialect in DIALECTS.values()}
    for name in MODULES:
        mine = next((home for home in homes if is_below(name, home)), None)
        if mine is not None:
            theirs = homes - {mine}
            assert not [other for other, _ in ours(name) if any(is_below(other, home) for home in theirs)], name


def test_only_what_serves_imports_the_proxy() -> None:
    users = {name for name in MODULES for other, _ in ours(name) if other == "proxy"}
    assert {user.partition(".")[0] for user in users} == {"cli", "serving"}


def test_every_line_of_the_tables_is_about_something() -> None:
    for pattern in [*OURS, *(user for users in [*THEIRS.values(), *STANDARD.values()] for user in users)]:
        assert any(fnmatch(name, pattern) for name in MODULES), pattern
    for allowed in OURS.values():
        assert allowed <= MODULES.keys()


# ── awaiting ────────────────────────────────────────────────────────────────────────────────────────────────────────

AWAITING = [
    "http.*",
    "stage",
    "pipeline",
    "proxy",
    "reload",
    "control",
    "worker",
    "workers",
    "serving",
    "embed",
    "conversation",
    "attempts",
    "guard",
    "answering",
    "beside",
    "tracing",
    "otel",
    "ends",
    "upstream",
    "command",
    "keys",
    "replay",
    "cli",
    "cli.*",
    "stages.keepalive",
    "stages.replay_thinking",
    "stages.replay_responses",
    "store",
    "store.sqlite",
    "store.targets",
    "store.valkey",
    "store.vault",
    "admin",
    "targets",
]


@pytest.mark.parametrize("name", [name for name in MODULES if not any(fnmatch(name, user) for user in AWAITING)])
def test_nobody_else_awaits(name: str) -> None:
    awaiting = (ast.Await, ast.AsyncFor, ast.AsyncWith, ast.AsyncFunctionDef)
    assert not [node.lineno for node in ast.walk(tree(name)) if isinstance(node, awaiting)]


# ── what importing does ─────────────────────────────────────────────────────────────────────────────────────────────


def python(code: str) -> list[str]:
    """What code prints in a fresh interpreter, in which a warning is an error."""
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, cwd=PACKAGE.parent, capture_output=True, encoding="utf-8", timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


def test_what_a_plugin_imports_is_light() -> None:
    assert (
        python("import sys, trioproxy; print(*sys.modules.keys() & {'trio', 'cyclopts', 'h11', 'ssl', 'regex'})") == []
    )


def test_importing_does_nothing_else() -> None:
    names = [f"trioproxy.{name}" for name in MODULES if name]
    code = f"""
import importlib, logging, os, signal, sys, threading
environ, handler, path = dict(os.environ), signal.getsignal(signal.SIGTERM), list(sys.path)
for name in {names}:
    importlib.import_module(name)
if logging.root.handlers or logging.getLogger("trioproxy").handlers: print("logging")
if threading.active_count() > 1: print("a thread")
if environ != dict(os.environ): print("the environment")
if handler != signal.getsignal(signal.SIGTERM): print("a signal handler")
if path != sys.path: print("the path")
if "hypothesis" in sys.modules: print("hypothesis")
"""
    assert python(code) == []


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_it_is_for_and_what_it_offers(name: str) -> None:
    assert ast.get_docstring(tree(name))
    exported = [
        node for node in tree(name).body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    ]
    assert exported or len(tree(name).body) == 1  # a docstring alone offers nothing
    module = sys.modules.get(f"trioproxy.{name}".rstrip("."))
    assert module is None or all(hasattr(module, each) for each in getattr(module, "__all__", []))


# ── every source file has its test, and every test its source ───────────────────────────────────────────────────────

TESTED_ELSEWHERE: dict[str, str] = {
    "worker": "tests/test_workers.py and tests/stories run it",
    "cli.running": "tests/test_serve.py: signals, and what systemd is told",
    "cli.supervise": "tests/test_workers.py runs it",
    "collector": "a setting of Python, which changes no answer",
    "http.relisten": "tests/test_reload.py: listeners come and go",
    "record": "tests/test_log.py, test_metrics.py and test_tracing.py: what each makes of it",
    "exposition": "tests/test_metrics.py: what is counted is there to be read",
    "usage": "the same",
    "otel": "tests/test_tracing.py: a collector gets what it sends",
    "": "names only: the tests above import them",
    "__main__": "tests/cli/test_init.py runs it",
    "registered": "tests/test_targets.py: what is registered",
    "stamp": "tests/test_reload.py, test_keys.py and http/test_tls.py: files that have changed",
    "http": "a docstring only",
    "store": "a protocol and a record: the tests of what keeps it, and of the file",
    "dialects": "a table: tests/test_proxy.py and the test of each dialect go through it",
    "dialects.peek": "a record: the test of each dialect peeks",
    "dialects.models": "a record: the test of each dialect lists models",
    "store.breaker": "tests/store/test_vault.py: what a failing store costs who uses it",
    "dialects.target": "records: the tests of requests write for them",
    "dialects.style": "a record: the test of each writer writes in every style",
    "dialects.fold": "the test of each dialect folds",
    "dialects.legal": "tests/dialects/test_anthropic.py and the hazards: streams that are made go through it",
    "dialects.openai": "a docstring only",
    "dialects.openai.models": "tests/dialects/openai_chat/test_init.py: the dialects list models",
    "conversation": "tests/test_proxy.py: an exchange from end to end",
    "shared": "the same",
    "answering": "the same",
    "beside": "tests/test_endpoints.py asks over sockets",
    "dialects.openai_responses.kept": "tests/stages/test_replay_responses.py keeps them",
    "config.*": "tests/test_config.py: only together do its parts tell what is wrong with a file, and where",
    "dialects.openai_chat.read_*": "tests/dialects/openai_chat/test_read_request.py: they read one body together",
    "dialects.openai.frames": "test_writer.py and test_passing.py of both dialects: which frames a client takes",
    "dialects.openai.told": "tests/dialects/openai_chat/test_read_request.py: what it tells is told there",
    "dialects.openai.read_*": "test_read_request.py of both dialects: they read with the same",
    "dialects.openai.hosts": "tests/dialects/*/test_hosts.py: the tables of both dialects are read with it",
    "dialects.openai.write_*": "test_write_*.py of both dialects: they write with the same",
    "dialects.openai_responses.blocks": "tests/dialects/openai_responses/test_told_items.py: what items become",
    "dialects.openai_responses.events": "tests/dialects/openai_responses/test_reader.py reads them",
    "dialects.openai_responses.leaving": "tests/dialects/openai_responses/test_passing.py: what leaves",
    "dialects.openai_responses.ladder": "tests/dialects/openai_responses/test_writer.py: the events that it writes",
    "dialects.openai_responses.making": "the same: what a block becomes",
    "dialects.openai_responses.output": "the same: what each event becomes",
    "dialects.openai_responses.response": "the same: what begins and ends a stream",
    "dialects.openai_responses.sealing": "the same: what reasoning carries",
    "dialects.openai_responses.telling": "the same: the stream",
    "dialects.openai_responses.rewrite_*": "tests/dialects/openai_responses/test_rewrite.py: they rewrite one body",
    "dialects.openai_responses.read_*": "tests/dialects/openai_responses/test_read_request.py: they read one body",
    "dialects.openai_chat.chunks": "tests/dialects/openai_chat/test_reader.py reads them",
    "dialects.openai_chat.chat": "tests/dialects/openai_chat/test_writer.py: what its two writers share",
    "dialects.openai_chat.told_calls": "the same: the calls",
    "dialects.openai.errors": "tests/dialects/test_errors.py writes every dialect's",
    "dialects.anthropic.*": "tests/dialects/test_anthropic*.py: a dialect's parts have no meaning without each other",
}

NOT_ABOUT_ONE_FILE: dict[str, str] = {
    "stories/*": "the whole program, as somebody runs it",
    "test_architecture.py": "about all of them",
    "test_serve.py": "the whole program as a process",
    "test_secrets.py": "about everything that is said",
    "test_m0.py": "stories over the whole program",
    "test_m1.py": "the same",
    "test_examples.py": "the example files",
    "clients/*": "real clients against the whole program",
    "dialects/openai_responses/test_identity.py": "its reader and its writer together",
    "hazards/*": "wire hazards by number, against whatever it takes to show them",
    "dialects/test_malformed.py": "requests of all dialects, written for all upstreams",
    "dialects/openai_responses/test_peers.py": "readers and writers of all dialects, against what others expect",
}


def files_testing(name: str) -> Iterator[Path]:
    """The files that test a module: `http/test_server.py` and `http/test_server_*.py` for `http.server`."""
    *packages, last = name.split(".")
    if MODULES[name].name == "__init__.py":
        yield TESTS.joinpath(*packages, last, "test_init.py")
    yield TESTS.joinpath(*packages, f"test_{last}.py")
    yield from TESTS.joinpath(*packages).glob(f"test_{last}_*.py")


@pytest.mark.parametrize(
    "name", [name for name in MODULES if not any(fnmatch(name, each) for each in TESTED_ELSEWHERE)]
)
def test_every_source_file_has_its_test(name: str) -> None:
    assert any(file.is_file() for file in files_testing(name)), f"{next(files_testing(name))} is missing"


def test_every_test_has_its_source_file() -> None:
    expected = {file for name in MODULES for file in files_testing(name)}
    files = sorted(file for file in TESTS.rglob("test_*.py") if file not in expected)
    strays = [str(file.relative_to(TESTS)) for file in files]
    assert [stray for stray in strays if not any(fnmatch(stray, each) for each in NOT_ABOUT_ONE_FILE)] == []


def test_every_exception_is_about_something() -> None:
    assert not [each for each in TESTED_ELSEWHERE if not any(fnmatch(name, each) for name in MODULES)]
