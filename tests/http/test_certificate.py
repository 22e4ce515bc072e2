import os
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from trioproxy.http.certificate import BadCertificate, server_tls

LEAF = trustme.CA().issue_cert("proxy.test")
OTHER = trustme.CA().issue_cert("other.test")
CERTIFICATE, KEY = LEAF.cert_chain_pems[0].bytes(), LEAF.private_key_pem.bytes()


def encrypted(pem: bytes) -> bytes:
    key = load_pem_private_key(pem, None)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password"))


def broken(pem: bytes) -> bytes:
    return pem.replace(b"\nM", b"\nX", 1)


def test_one_file_or_two(tmp_path: Path) -> None:
    (tmp_path / "both.pem").write_bytes(KEY + CERTIFICATE)
    (tmp_path / "cert.pem").write_bytes(CERTIFICATE)
    (tmp_path / "key.pem").write_bytes(KEY)
    for context in (server_tls(tmp_path / "both.pem"), server_tls(tmp_path / "cert.pem", tmp_path / "key.pem")):
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2
        assert context.verify_mode == ssl.CERT_NONE  # clients show no certificate: they have tokens


@pytest.mark.parametrize(
    ("certificate", "key", "part", "reason"),
    [
        (b"", KEY, "certificate", "cert.pem has no certificate in PEM form"),
        (KEY, KEY, "certificate", "cert.pem has no certificate in PEM form"),
        (CERTIFICATE, CERTIFICATE, "key", "key.pem has no private key in PEM form"),
        (CERTIFICATE, None, "key", "cert.pem has no private key in PEM form"),
        (CERTIFICATE, encrypted(KEY), "key", "key.pem is encrypted: there is nobody to ask for its password"),
        (CERTIFICATE, OTHER.private_key_pem.bytes(), "key", "key.pem is not the key of .*cert.pem"),
        (broken(CERTIFICATE), KEY, "certificate", "cert.pem or .*key.pem cannot be read by OpenSSL: "),
        (CERTIFICATE, broken(KEY), "certificate", "cert.pem or .*key.pem cannot be read by OpenSSL: "),
        (broken(CERTIFICATE) + KEY, None, "certificate", "cert.pem cannot be read by OpenSSL: "),
    ],
)
def test_what_cannot_be_used(tmp_path: Path, certificate: bytes, key: bytes | None, part: str, reason: str) -> None:
    (tmp_path / "cert.pem").write_bytes(certificate)
    if key is not None:
        (tmp_path / "key.pem").write_bytes(key)
    with pytest.raises(BadCertificate, match=reason) as info:
        server_tls(tmp_path / "cert.pem", None if key is None else tmp_path / "key.pem")
    assert info.value.part == part
    assert "PRIVATE KEY-----" not in str(info.value)


@pytest.mark.parametrize("spoil", [Path.unlink, lambda file: (file.unlink(), file.mkdir())])
def test_what_cannot_be_read(tmp_path: Path, spoil: Callable[[Path], object]) -> None:
    for spoilt, part in (("key.pem", "key"), ("cert.pem", "certificate")):
        (tmp_path / "cert.pem").write_bytes(CERTIFICATE)
        (tmp_path / "key.pem").write_bytes(KEY)
        spoil(tmp_path / spoilt)
        with pytest.raises(BadCertificate, match=rf"{spoilt} cannot be read: (No such file|Is a directory)") as info:
            server_tls(tmp_path / "cert.pem", tmp_path / "key.pem")
        assert info.value.part == part
        if (tmp_path / spoilt).is_dir():
            os.rmdir(tmp_path / spoilt)


def test_a_name_that_no_file_has(tmp_path: Path) -> None:
    with pytest.raises(BadCertificate, match="cannot be read: embedded null byte"):
        server_tls(tmp_path / "a\0b")
