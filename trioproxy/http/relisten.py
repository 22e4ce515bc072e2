"""The listeners of a reload: those in both files stay open, new ones are opened before anything else is changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from trioproxy.http.listen import Listen, Listener, open_listeners, tls_of

__all__ = ["Turn", "turn"]


class Turn(NamedTuple):
    """What becomes of the listeners."""

    now: list[Listener]
    opened: list[Listener]
    gone: list[Listener]
    """No longer wanted: the caller's to close."""


async def turn(
    listeners: Sequence[Listener], listens: Iterable[Listen], check: Callable[[Sequence[Listener]], None]
) -> Turn:
    """Open what is missing of `listens`, and read the certificates of the others anew.

    Raises `OSError` if that fails, and what `check` raises of those that are there then: nothing was opened in that
    case.
    """
    before: dict[Listen, list[Listener]] = {}  # one address may have given several
    for listener in listeners:
        before.setdefault(listener.listen, []).append(listener)
    wanted = {listen: before.pop(listen, []) for listen in listens}
    for listen in [listen for listen, found in wanted.items() if not found]:  # the same place, listened on otherwise
        if same := next((other for other in before if other.address == listen.address), None):
            wanted[listen] = before.pop(same)
    kept = [(listener, listen) for listen, found in wanted.items() for listener in found]
    opened = await open_listeners([listen for listen, found in wanted.items() if not found])
    now = [*(listener for listener, _ in kept), *opened]
    try:
        check(now)
        contexts = [tls_of(listen) for _, listen in kept]
    except BaseException:
        for listener in opened:
            listener.close()
        raise
    for (listener, listen), tls in zip(kept, contexts, strict=True):  # nothing is changed before all can be
        listener.listen, listener.tls = listen, tls
    return Turn(now, opened, [listener for found in before.values() for listener in found])
