"""Certificates on loopback: one root a home, leaves that are kept, renewed and private."""

from __future__ import annotations

import ipaddress
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from deploy.local.keyfile import read_key, write_private
from deploy.local.tls import KeyKind, TlsFiles, server_certificate
from tests.simulator import NOW


def chain(files: TlsFiles) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(files.certificate.read_bytes())


def verify(files: TlsFiles, subject: x509.GeneralName, authority: Path | None = None) -> None:
    root = x509.load_pem_x509_certificate((authority or files.authority).read_bytes())
    policy = PolicyBuilder().store(Store([root])).time(NOW)
    leaf, *others = chain(files)
    policy.build_server_verifier(subject).verify(leaf, others)  # type: ignore[arg-type]


def test_a_leaf_is_good_for_loopback_only(tmp_path: Path) -> None:
    files = server_certificate(tmp_path, name="server", now=NOW)
    verify(files, x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
    verify(files, x509.DNSName("localhost"))
    with pytest.raises(VerificationError):
        verify(files, x509.DNSName("example.com"))


def test_a_leaf_of_another_home_is_not_believed(tmp_path: Path) -> None:
    mine, theirs = (server_certificate(tmp_path / name, name="a", now=NOW) for name in "ab")
    with pytest.raises(VerificationError):
        verify(mine, x509.DNSName("localhost"), theirs.authority)


def test_certificates_are_kept_until_they_have_to_be_renewed(tmp_path: Path) -> None:
    first = chain(server_certificate(tmp_path, name="server", now=NOW))
    assert chain(server_certificate(tmp_path, name="server", now=NOW)) == first
    later = chain(server_certificate(tmp_path, name="server", now=NOW + timedelta(days=340)))
    assert later[0] != first[0]
    assert later[1] == first[1]


def test_a_leaf_of_a_former_root_is_made_again(tmp_path: Path) -> None:
    first = chain(server_certificate(tmp_path, name="server", now=NOW))
    for path in (tmp_path / "ca.pem", tmp_path / "ca-key.pem"):
        path.unlink()
    second = chain(server_certificate(tmp_path, name="server", now=NOW))
    assert second[1] != first[1]
    assert second[0] != first[0]


def test_keys_are_private_and_of_the_asked_kind(tmp_path: Path) -> None:
    tls = server_certificate(tmp_path, name="server", now=NOW)
    release = server_certificate(tmp_path, name="release", now=NOW, kind=KeyKind.RELEASE)
    assert isinstance(read_key(tls.key), ec.EllipticCurvePrivateKey)
    assert isinstance(read_key(release.key), rsa.RSAPrivateKey)
    assert (tmp_path / "ca-key.pem").stat().st_mode & 0o777 == 0o600


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    target.mkdir()
    with pytest.raises(OSError, match="folder"):
        write_private(target, b"data")
    assert list(tmp_path.iterdir()) == [target]


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "key"
    write_private(path, b"old")
    path.chmod(0o644)
    write_private(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
