"""What of somebody else's reasoning is in an item of ours, for the client to give back: see `dialects.carried`."""

from trioproxy.dialects.carried import TAG, carried, opened
from trioproxy.dialects.openai_responses.ladder import Reasoning, Wire
from trioproxy.stage import Exchange

__all__ = ["sealed"]

_OURS = ("content", "encrypted_content")  # the fields of OpenAI's own item that have to come back


def sealed(item: Reasoning, exchange: Exchange, *, same: bool) -> Wire:
    """The fields of `item` that carry what the upstream thought; none if that has no use for it.

    They are there whether the client asked for `reasoning.encrypted_content` or not: nobody here keeps it for those who
    did not, and Claude takes no tool's result back without what it thought before the call.
    """
    secret = item.redacted or "".join(item.signature)
    known = opened(secret) if secret.startswith(TAG) else None
    if same:
        return {key: known.block[key] for key in _OURS if key in known.block} if known else {}
    if known:
        return {"encrypted_content": secret}
    if exchange.answered_here or not (secret or item.text.strip()):
        return {}
    if item.redacted:
        block: Wire = {"type": "redacted_thinking", "data": secret}
    else:
        block = {"type": "thinking", "thinking": item.text} | ({"signature": secret} if secret else {})
    return {"encrypted_content": carried(exchange.upstream_dialect, exchange.provenance, block)}
