from pathlib import Path

import msgspec
import pytest

from trioproxy import config
from trioproxy.http.limits import Limits

# What the documentation promises; a change of these is a change for every user.
DEFAULTS = {
    "head": 64 * 1024,
    "head-lines": 100,
    "body": 64 * 1024 * 1024,
    "head-timeout": 15,
    "body-timeout": 60,
    "body-total": 600,
    "keep-alive": 75,
    "write-timeout": 300,
    "connections": 4096,
    "event": 16 * 1024 * 1024,
}
FILE = '[upstreams.up]\nurl = "http://127.0.0.1:1"\n[limits]\n'


def test_the_defaults() -> None:
    limits = Limits()
    found = {field.encode_name: getattr(limits, field.name) for field in msgspec.structs.fields(Limits)}
    assert found == DEFAULTS


@pytest.mark.parametrize("name", DEFAULTS)
def test_every_bound_can_be_set_in_the_file(name: str) -> None:
    limits = config.read(f"{FILE}{name} = 7", Path("stages.toml"), {}).limits
    assert getattr(limits, name.replace("-", "_")) == 7


def test_units() -> None:
    limits = config.read(f'{FILE}body = "2 MiB"\nhead-timeout = "200ms"', Path("stages.toml"), {}).limits
    assert (limits.body, limits.head_timeout) == (2 * 1024 * 1024, 0.2)
