"""What a dialect has to know of an upstream to write requests that it takes."""

from collections.abc import Mapping
from typing import Literal

import msgspec
from msgspec.structs import replace

__all__ = ["Target", "Written"]


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """An upstream's ways. None: as the dialect's own table says for the host and the model."""

    host: str = ""
    """The host name of the upstream's URL, in lower case."""
    version: Literal["2023-06-01", "2026-10-21"] | None = None
    """The Anthropic API version to speak; None: the client's, or 2023-06-01 for clients of other dialects."""
    reasoning: Literal["drop", "replay"] | None = None
    """Whether thinking of earlier turns goes back as a text, in `reasoning_content` or in a reasoning item."""
    effort: Literal["send", "drop"] | None = None
    """Whether how hard to think is passed on."""
    system_messages: Literal["keep", "hoist", "user"] | None = None
    """What becomes of system messages in mid-conversation: left in place, moved to the front, or wrapped as a user's
    `<system-reminder>`."""
    max_tokens: int | None = None
    """The most tokens the model can answer with: more is clamped; also what is asked for if the client did not say."""
    cache_key: Literal["session"] | None = None
    """What requests are told to have in common, so that they come to where their beginning is cached."""
    session: str = ""
    """The session of the one request that is to be written, where that is its cache key."""
    provenance: str = ""
    """Whoever answers that one request: see `Exchange.provenance`."""

    @property
    def ways(self) -> "Target":
        """The target without what is of the one request alone: the key that knowledge of its ways is kept under."""
        return replace(self, session="", provenance="") if self.session or self.provenance else self


class Written(msgspec.Struct, frozen=True):
    """A request for an upstream."""

    body: bytes
    renamed: Mapping[str, str] = {}
    """The tools that go by another name there: its name → the client's."""
    thinking: bool = False
    """Whether it asks for thinking that will be signed."""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    """Header fields that the body needs."""
