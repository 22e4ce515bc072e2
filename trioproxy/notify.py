"""What systemd is told, and whoever else speaks its protocol: sd_notify(3), without its library.

Without `$NOTIFY_SOCKET` nothing is said. What is said is one datagram that nobody waits for.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping

__all__ = ["Notify"]


class Notify:
    """Tells the service manager of `environ` how we are."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        path = environ.get("NOTIFY_SOCKET", "")
        # "@" stands for the zero byte of Linux's abstract names. Other kinds (vsock:) are for virtual machines.
        self._path = "\0" + path[1:] if path.startswith("@") else path if path.startswith("/") else ""
        microseconds, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
        asked = microseconds.isdecimal() and pid in ("", str(os.getpid()))
        self.watchdog = int(microseconds) / 1_000_000 / 2 if self._path and asked else None
        """Seconds after which `alive` is to be said again, half of what is waited for; None: nobody asks."""

    def ready(self, status: str = "") -> None:
        """Listening; also after a reload, whether or not it was one."""
        self._say("READY=1", f"STATUS={status}" if status else "")

    def reloading(self) -> None:
        """The configuration is being read again; `ready` ends it."""
        self._say("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self, status: str = "") -> None:
        """Nothing more is accepted."""
        self._say("STOPPING=1", f"STATUS={status}" if status else "")

    def status(self, text: str) -> None:
        """A line for `systemctl status`."""
        self._say(f"STATUS={text}")

    def alive(self) -> None:
        """Still there: see `watchdog`."""
        self._say("WATCHDOG=1")

    def _say(self, *lines: str) -> None:
        if not self._path:
            return
        message = "\n".join(line.replace("\n", " ") for line in lines if line)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.setblocking(False)
                sock.sendto(message.encode(), self._path)
        except OSError:
            pass  # a manager that is gone, or too busy to listen, is no reason to stop serving
