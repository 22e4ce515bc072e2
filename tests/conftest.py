"""After each test: nothing that it heard from a proxy has a token in it. And how long laws are tried."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests import told

# Each run looks elsewhere; who hunts says `--hypothesis-profile=hunt`.
settings.register_profile("suite", max_examples=40)
settings.register_profile("hunt", max_examples=1000, deadline=None)
settings.load_profile("suite")


@pytest.fixture(autouse=True)
def _no_token_is_told(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    told.now.clear()
    caplog.set_level("INFO", "trioproxy")
    yield
    told.now.logs(caplog.get_records("call"))
    found = list(told.now.found())
    if request.node.get_closest_marker("tells_a_token") is None:
        assert found == []


def pytest_configure() -> None:
    heard = pytest.CaptureFixture.readouterr

    def readouterr(self: pytest.CaptureFixture[str]) -> object:
        said = heard(self)
        told.now.says("the output", said.out)
        told.now.says("the error output", said.err)
        return said

    pytest.CaptureFixture.readouterr = readouterr  # type: ignore[method-assign,assignment]  # the same, overheard


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: some tests wait for clocks and processes."""
    return (os.cpu_count() or 1) + 1
