"""Frames of server-sent events, as clients of OpenAI's dialects take them."""

from trioproxy.items import Frame

__all__ = ["KEEPALIVE", "is_plain"]

KEEPALIVE = Frame(b"", raw=b": keepalive\n\n")
"""A sign of life: some clients choke on keepalives that are events (hazard H036)."""


def is_plain(raw: bytes) -> bool:
    """Whether a frame has no `id:` or `retry:` line, after which the OpenAI SDK for Python fails on empty blocks."""
    if raw.startswith((b"data:", b"event:")) and b"\nid" not in raw and b"\nretry" not in raw and b"\r" not in raw:
        return True
    lines = raw.replace(b"\r", b"\n").split(b"\n")
    return not any(line.partition(b":")[0] in (b"id", b"retry") for line in lines)
