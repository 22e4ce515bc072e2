"""What is known of a target that was registered, what of it is told to whom, and what makes two the same."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import msgspec

from trioproxy.config import Client, Secret

__all__ = ["Change", "Entry", "Registered", "Target", "identity"]

_KEY, _TOKEN = 16, 32  # random bytes; each three of them are four characters


class Registered(msgspec.Struct, frozen=True):
    """What whoever registers a target is told."""

    key: str
    token: Secret | None
    """Its clients'. None if only its digest is known, which the file says."""
    path: str
    """Where it is, below the proxy's own address."""
    new: bool
    """Whether it was not there before."""
    durable: bool
    """Whether it will be there after a restart."""


class Target(msgspec.Struct, frozen=True):
    """A target as it may be shown."""

    key: str | None
    """None of one in the file that nobody has asked for: it gets a key when somebody does."""
    name: str
    """In the file; empty if it was registered."""
    provider: str
    model: str
    mode: str
    upstream: str
    """Its URL, without a query: that may hold a key."""


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is kept of a target, and what workers are told."""

    key: str
    token: str
    name: str = ""
    """Of a target in the file; empty: what was `said` is all there is."""
    said: dict[str, Any] = {}

    @classmethod
    def made(cls, *, name: str = "", said: dict[str, Any] | None = None) -> Entry:
        """A new one, with a key and a token by chance."""
        return cls(secrets.token_urlsafe(_KEY), f"tp-{secrets.token_urlsafe(_TOKEN)}", name, said or {})

    @property
    def client(self) -> Client:
        """Whoever has its token."""
        return Client(self.name or self.key, sha256(self.token.encode()).digest())

    @property
    def identity(self) -> tuple[str, ...]:
        """What another one that is the same has too."""
        return (self.name,) if self.name else identity(self.said)


class Change(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is new to workers."""

    kept: list[Entry] = []
    gone: list[str] = []
    whole: bool = False
    """Whether there is nothing else."""


def identity(said: Mapping[str, Any]) -> tuple[str, ...]:
    """What makes a target that was registered the same, of what was `said`."""
    return tuple(str(said.get(word, "")) for word in ("provider", "model", "url", "mode", "token"))
