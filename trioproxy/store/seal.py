"""Encryption of what leaves the process: whoever reads the file or the server without the key learns how long it is."""

from __future__ import annotations

import os
from hashlib import blake2b

from trioproxy.store import KEY_LENGTH, StoreError

__all__ = ["Seal"]

_NONCE, _TAG = 12, 16  # bytes, as AES-GCM is specified (NIST SP 800-38D)
_VERSION = b"\x01"  # of what `seal` gives


class Seal:
    """AES-256-GCM with a key made from the operator's text.

    Each value gets a nonce by chance, which one key may do 2^32 times (NIST SP 800-38D, 8.3): at a hundred values a
    second it lasts a year. A value is bound to the key of its entry, so it does not open under another one.
    """

    def __init__(self, key: str) -> None:
        """Raises `ValueError` if the text is too short to be a secret, `StoreError` if `cryptography` is missing."""
        if len(key) < KEY_LENGTH:
            raise ValueError(
                f"expected a key of at least {KEY_LENGTH} characters, got {len(key)}: openssl rand -base64 32 makes one"
            )
        try:
            from cryptography.exceptions import InvalidTag  # noqa: PLC0415  # an extra: only who names a key needs it
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415  # as above
        except ImportError as exc:
            raise StoreError("encryption needs cryptography: pip install '.[encryption]' in a checkout") from exc
        # One fast hash; the slow ones (scrypt, PBKDF2) make up for passwords that can be guessed, and what 32 random
        # bytes are cannot be. With a purpose of its own (`person`) BLAKE2b gives keys that nothing else is given:
        # docs.python.org/3/library/hashlib.html#personalization
        secret = blake2b(key.encode(errors="surrogatepass"), digest_size=32, person=b"trioproxy seal 1").digest()
        self.mark = blake2b(secret, digest_size=8, person=b"trioproxy mark").hexdigest()
        """Which key it is, without telling it."""
        self._cipher = AESGCM(secret)
        self._invalid = InvalidTag

    def seal(self, key: bytes, value: bytes) -> bytes:
        """The value, for whoever has the same text; `key` is the entry's. 28 bytes longer, and different each time."""
        nonce = os.urandom(_NONCE)
        return nonce + self._cipher.encrypt(nonce, value, _VERSION + key)

    def open(self, key: bytes, sealed: bytes) -> bytes | None:
        """The value; None if it was sealed with another text or for another entry, or is damaged."""
        if len(sealed) < _NONCE + _TAG:
            return None
        try:
            return self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], _VERSION + key)
        except self._invalid:
            return None
