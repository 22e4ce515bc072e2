from __future__ import annotations

import os
from pathlib import Path

import pytest
import trustme

from trioproxy.http import tls
from trioproxy.http.certificate import BadCertificate
from trioproxy.http.reach import Proxy, Reach
from trioproxy.http.tls import Contexts

CA = trustme.CA()


def write(file: Path, authority: trustme.CA, nanoseconds: int = 0) -> Path:
    authority.cert_pem.write_to_path(str(file))
    os.utime(file, ns=(nanoseconds, nanoseconds))  # two tests of a clock's tick are the same time
    return file


def test_a_context_is_made_once_for_all_who_need_the_same(tmp_path: Path) -> None:
    contexts, ca = Contexts(), write(tmp_path / "ca.pem", CA)
    plain = contexts.upstream(Reach())
    assert contexts.upstream(Reach(proxy=Proxy.read("http://x"), socket=tmp_path)) is plain
    own = contexts.upstream(Reach(ca=ca))
    assert own is not plain
    assert contexts.upstream(Reach(ca=ca)) is own
    assert contexts.upstream(Reach(ca=ca, insecure=True)) is not own


def test_a_proxy_is_shown_no_certificate_and_must_be_who_it_says(tmp_path: Path) -> None:
    contexts, ca = Contexts(), write(tmp_path / "ca.pem", CA)
    assert contexts.proxy(Reach(ca=ca, insecure=True, certificate=tmp_path / "none")) is contexts.upstream(Reach(ca=ca))


def test_a_file_that_has_changed_is_read_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    contexts, ca = Contexts(), write(tmp_path / "ca.pem", CA)
    first = contexts.upstream(Reach(ca=ca))
    write(ca, trustme.CA(), 1)
    second = contexts.upstream(Reach(ca=ca))
    assert second is not first
    ca.write_text("half a certif")
    assert contexts.upstream(Reach(ca=ca)) is second
    assert contexts.upstream(Reach(ca=ca)) is second
    assert caplog.text.count(f"{ca} has no certificate in PEM form; what was there before is still used") == 1
    write(ca, CA, 2)
    assert contexts.upstream(Reach(ca=ca)) not in (first, second)


def test_a_file_that_was_never_right_is_an_error_each_time(tmp_path: Path) -> None:
    contexts = Contexts()
    for _ in range(2):
        with pytest.raises(BadCertificate, match="cannot be read"):
            contexts.upstream(Reach(certificate=tmp_path / "none"))


def test_one_that_is_made_anew_takes_nobodys_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls, "_CONTEXTS", 2)
    contexts, ca = Contexts(), write(tmp_path / "ca.pem", CA)
    plain, first = contexts.upstream(Reach()), contexts.upstream(Reach(ca=ca))
    write(ca, CA, 1)
    assert contexts.upstream(Reach(ca=ca)) is not first
    assert contexts.upstream(Reach()) is plain
