import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from trioproxy.notify import Notify


@contextmanager
def manager(name: str) -> Iterator[socket.socket]:
    """A service manager's end."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(name)
        sock.settimeout(5)
        yield sock


@pytest.fixture(params=["a file", "an abstract name"])
def names(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """Where the manager listens, and how the environment spells it."""
    if request.param == "a file":
        return f"{tmp_path}/notify", f"{tmp_path}/notify"
    return f"\0trioproxy-{os.getpid()}", f"@trioproxy-{os.getpid()}"


def test_what_is_said(names: tuple[str, str]) -> None:
    with manager(names[0]) as sock:
        notify = Notify({"NOTIFY_SOCKET": names[1]})
        notify.ready("serving 2 routes\nof 3")
        notify.ready()
        before = time.monotonic_ns() // 1000
        notify.reloading()
        notify.status("busy")
        notify.alive()
        notify.stopping()
        said = [sock.recv(4096).decode() for _ in range(6)]
    assert said[:2] == ["READY=1\nSTATUS=serving 2 routes of 3", "READY=1"]
    assert said[3:] == ["STATUS=busy", "WATCHDOG=1", "STOPPING=1"]
    first, _, since = said[2].partition("\nMONOTONIC_USEC=")
    assert first == "RELOADING=1"
    assert before <= int(since) <= time.monotonic_ns() // 1000


def test_nobody_is_told_where_nobody_asked(tmp_path: Path) -> None:
    Notify({}).ready()
    Notify({"NOTIFY_SOCKET": "vsock:2:1234"}).ready()
    Notify({"NOTIFY_SOCKET": f"{tmp_path}/gone"}).ready()


def test_a_manager_that_does_not_read_holds_nobody_up(tmp_path: Path) -> None:
    with manager(f"{tmp_path}/notify") as sock:
        notify = Notify({"NOTIFY_SOCKET": f"{tmp_path}/notify"})
        for _ in range(2000):  # more than any queue of datagrams holds
            notify.alive()
        assert sock.recv(100) == b"WATCHDOG=1"


def test_the_watchdog_is_asked_for_in_half_its_time(tmp_path: Path) -> None:
    there = {"NOTIFY_SOCKET": f"{tmp_path}/notify"}
    assert Notify(there).watchdog is None
    assert Notify(there | {"WATCHDOG_USEC": "3000000"}).watchdog == 1.5
    assert Notify(there | {"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}).watchdog == 1.5
    assert Notify(there | {"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}).watchdog is None
    assert Notify({"WATCHDOG_USEC": "3000000"}).watchdog is None
