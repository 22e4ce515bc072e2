"""A vendor's signed or encrypted reasoning on its way through a client of another dialect, which gives it back.

Each dialect has one field for something opaque that has to come back with the reasoning it belongs to: Anthropic's
`signature`, OpenAI Responses' `encrypted_content`. What stands in it here is the vendor's whole block, and where it is
from, so that it reaches nobody else: another vendor, model or account would refuse the request (hazards H075, H150g).
"""

import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import blake2b
from typing import Any

import msgspec

from trioproxy.dialects.peek import BAD_JSON

__all__ = ["TAG", "Carried", "carried", "opened", "provenance"]

TAG = "trioproxy1."
"""What every carried text begins with; none of a vendor's own does, as they have no dot."""
# A text becomes no more than so many times as long when it is unpacked, and so much more: a request may have many.
_RATIO, _MORE = 20, 16 * 1024


class Carried(msgspec.Struct, frozen=True):
    """A block, and where it is from."""

    dialect: str
    """The dialect of the upstream that made it."""
    provenance: str
    """See `Exchange.provenance`."""
    block: dict[str, Any]
    """The block as it is on that dialect's wire; `Any` because its inside is the provider's."""


def provenance(*whose: str) -> str:
    """A name for an upstream, its model and the account it is asked with, that tells nothing of them."""
    digest = blake2b(digest_size=8, person=b"trioproxy origin")
    for word in whose:
        text = word.encode(errors="surrogatepass")
        digest.update(len(text).to_bytes(8, "big") + text)
    return digest.hexdigest()


def carried(dialect: str, provenance: str, block: dict[str, Any]) -> str:
    """`block` as a text of `[A-Za-z0-9._-]` that `opened` takes back."""
    raw = msgspec.json.encode(block)
    packed = zlib.compress(raw)
    if len(raw) > _most(packed):
        packed = zlib.compress(raw, 0)  # a model may say the same for ever
    return f"{TAG}{dialect}.{provenance}.{urlsafe_b64encode(packed).decode().rstrip('=')}"


def opened(text: str) -> Carried | None:
    """What `carried` made `text` of; None if it did not, or the client has changed it."""
    if not text.startswith(TAG):
        return None
    try:
        dialect, provenance, packed = text.removeprefix(TAG).split(".")
        unpacking, data = zlib.decompressobj(), urlsafe_b64decode(packed + "=" * (-len(packed) % 4))
        raw = unpacking.decompress(data, _most(data))
        if not unpacking.eof:
            return None
        return Carried(dialect, provenance, msgspec.json.decode(raw, type=dict[str, Any]))
    except (ValueError, zlib.error, *BAD_JSON):
        return None


def _most(packed: bytes) -> int:
    return _RATIO * len(packed) + _MORE
