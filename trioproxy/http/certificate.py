"""Certificates, to show and to trust, and keys: read from PEM files, or refused in words that name the file."""

from __future__ import annotations

import errno
import ssl
from pathlib import Path
from typing import Literal

__all__ = ["BadCertificate", "add_authorities", "add_certificate", "server_tls"]

_Part = Literal["certificate", "key", "ca"]

_CERTIFICATE, _KEY, _ENCRYPTED = b"-----BEGIN CERTIFICATE-----", b"PRIVATE KEY-----", b"ENCRYPTED"


class BadCertificate(OSError):
    """A certificate or key that cannot be used. `part` is which of them; `strerror` says the file and why."""

    def __init__(self, part: _Part, file: Path, reason: str) -> None:
        self.part = part
        super().__init__(errno.EINVAL, f"{file} {reason}")


def server_tls(certificate: Path, key: Path | None = None) -> ssl.SSLContext:
    """What a listener needs for TLS 1.2 and newer. A `certificate` file holds those of the authorities between too.

    Raises `BadCertificate`.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION  # of TLS 1.2: it costs us ten times what it costs a client
    context.set_alpn_protocols(["http/1.1"])
    add_certificate(context, certificate, key)
    return context


def add_certificate(context: ssl.SSLContext, certificate: Path, key: Path | None = None) -> None:
    """Let `context` show a certificate, with its key in a file of its own or the same. Raises `BadCertificate`."""
    if _CERTIFICATE not in _read("certificate", certificate):
        raise BadCertificate("certificate", certificate, "has no certificate in PEM form")
    text = _read("key", key or certificate)
    if _KEY not in text:
        raise BadCertificate("key", key or certificate, "has no private key in PEM form")
    if _ENCRYPTED in text:  # OpenSSL would ask for the password on the terminal
        raise BadCertificate("key", key or certificate, "is encrypted: there is nobody to ask for its password")
    try:
        context.load_cert_chain(certificate, key)
    except ssl.SSLError as exc:
        if exc.reason == "KEY_VALUES_MISMATCH":
            raise BadCertificate("key", key or certificate, f"is not the key of {certificate}") from exc
        # OpenSSL says no more than "PEM lib" of either file.
        what = f"or {key} cannot be read by OpenSSL" if key else "cannot be read by OpenSSL"
        raise BadCertificate("certificate", certificate, f"{what}: {exc.reason or exc}") from exc


def add_authorities(context: ssl.SSLContext, file: Path) -> None:
    """Let `context` trust the certificates in `file` too. Raises `BadCertificate`."""
    if _CERTIFICATE not in _read("ca", file):
        raise BadCertificate("ca", file, "has no certificate in PEM form")
    try:
        context.load_verify_locations(file)
    except ssl.SSLError as exc:
        raise BadCertificate("ca", file, f"cannot be read by OpenSSL: {exc.reason or exc}") from exc


def _read(part: _Part, file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as exc:
        raise BadCertificate(part, file, f"cannot be read: {exc.strerror}") from exc
    except ValueError as exc:  # a NUL in the name
        raise BadCertificate(part, file, f"cannot be read: {exc}") from exc
