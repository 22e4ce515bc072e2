"""Sockets that come from another process: systemd's, as a real process gets them, and one that two processes share."""

import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from trioproxy.http.listen import Address

pytestmark = pytest.mark.skipif(os.name != "posix", reason="only there are descriptors inherited")

# What systemd does between fork and exec: the sockets from 3 on, and who they are for.
LAUNCH = """
import fcntl, os, sys
for at, fd in enumerate([fcntl.fcntl(int(fd), fcntl.F_DUPFD_CLOEXEC, 50) for fd in sys.argv[1].split(",")]):
    os.dup2(fd, 3 + at)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""

SHOW = """
import os, sys, trio
from trioproxy.http.listen import Address, Listen, open_listeners

async def main():
    for text in sys.argv[1:]:
        try:
            print(*(each.address for each in await open_listeners([Listen(Address(text))])))
        except OSError as exc:
            print(exc.strerror)
    print(any(map(os.get_inheritable, (3, 4))))

trio.run(main)
"""


@contextmanager
def python(*arguments: str, inherits: Sequence[socket.socket], **environ: str) -> Iterator[subprocess.Popen[str]]:
    """A Python process, killed at the end if it still runs."""
    with subprocess.Popen(
        [sys.executable, *arguments],
        env=os.environ | environ,
        pass_fds=[sock.fileno() for sock in inherits],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def activated(sockets: Sequence[socket.socket], *command: str, names: str) -> Iterator[subprocess.Popen[str]]:
    """A Python process that is started as systemd starts it."""
    far = ",".join(str(sock.fileno()) for sock in sockets)
    environ = {"LISTEN_FDS": str(len(sockets)), "LISTEN_FDNAMES": names}
    with python("-c", LAUNCH, far, *command, inherits=sockets, **environ) as process:
        yield process


@contextmanager
def bound(number: int) -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        yield [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(number)]


def test_the_sockets_of_systemd_by_name() -> None:
    with bound(2) as sockets:
        texts = ["systemd", "systemd:web", "systemd:web", "systemd:admin", "systemd:x", "fd:4"]
        assert all(Address.read(text).inherited for text in texts)
        with activated(sockets, "-c", SHOW, *texts, names="web:admin") as process:
            said, complaints = process.communicate(timeout=30)
        web, admin = (f"127.0.0.1:{sock.getsockname()[1]}" for sock in sockets)
    assert complaints == ""
    unknown = "systemd has passed no socket of that name (FileDescriptorName=), but admin, web"
    expected = [f"{web} {admin}", web, web, admin, f"cannot listen on systemd:x: {unknown}", admin, "False"]
    assert said.splitlines() == expected


def test_a_socket_of_systemd_outlives_the_process(tmp_path: Path) -> None:
    file = tmp_path / "stages.toml"
    file.write_text('listen = "systemd:web"\n[upstreams.up]\nurl = "replay:recordings/metadata-then-answer.sse"\n')
    with bound(1) as sockets:
        address = sockets[0].getsockname()
        client = socket.create_connection(address)  # before anything runs: that is what activation is for
        client.sendall(b"GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        with activated(sockets, "-m", "trioproxy", "--config", str(file), names="web") as process:
            client.settimeout(30)
            assert client.recv(1000).startswith(b"HTTP/1.1 ")
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=30)
        client.close()
        assert f"on http://127.0.0.1:{address[1]}" in said
        assert process.returncode == 0
        socket.create_connection(address).close()  # it waits for the next process


WORKER = """
import os, sys, trio
from trioproxy.http.limits import Limits
from trioproxy.http.listen import Address, Listen, listeners_from
from trioproxy.http.server import Server

async def handle(incoming, listener):
    await trio.sleep(0.002)
    await incoming.respond(200, [], str(os.getpid()).encode())

async def main():
    listeners = listeners_from([(int(sys.argv[1]), Listen(Address("127.0.0.1:0")))])
    print("ready", flush=True)
    await Server(handle, lambda exc, peer: ([], b""), Limits()).serve(listeners)

trio.run(main)
"""


def ask(address: tuple[str, int]) -> str:
    """The body of one answer: who gave it."""
    with socket.create_connection(address, timeout=30) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = b""
        while piece := client.recv(1000):
            answer += piece
    return answer.rpartition(b"\r\n")[2].decode()


def test_what_waits_for_a_process_that_is_killed_goes_to_another() -> None:
    with bound(1) as [sock], ExitStack() as stack:
        address, fd = sock.getsockname(), str(sock.fileno())
        one, other = (stack.enter_context(python("-c", WORKER, fd, inherits=[sock])) for _ in range(2))
        for process in (one, other):
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
        one.send_signal(signal.SIGSTOP)  # so that it takes nothing more
        assert Counter(ask(address) for _ in range(20)) == {str(other.pid): 20}
        other.send_signal(signal.SIGSTOP)
        waiting = [socket.create_connection(address, timeout=30) for _ in range(20)]
        for client in waiting:
            stack.enter_context(client).sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        one.kill()
        other.send_signal(signal.SIGCONT)
        assert all(client.recv(1000).startswith(b"HTTP/1.1 200 OK") for client in waiting)
