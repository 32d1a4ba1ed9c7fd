"""TLS certificates for servers on loopback: one authority a home, one leaf a server."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from deploy.local.keyfile import read_key, write_key, write_private

HOSTS: Final = ("127.0.0.1", "localhost")
_AUTHORITY_DAYS: Final = 3650
_LEAF_DAYS: Final = 365
_RENEW_DAYS: Final = 30


class KeyKind(Enum):
    """What a leaf's key is for."""

    TLS = "tls"
    """P-256: small and fast handshakes."""
    RELEASE = "release"
    """RSA-2048: clients of a key vault expect RS256 under the released key."""


@dataclass(frozen=True)
class TlsFiles:
    """Where a server finds its certificate, and its clients their root."""

    authority: Path
    """PEM of the certificate authority, for clients."""
    certificate: Path
    """PEM of leaf and authority, in this order."""
    key: Path


def server_certificate(
    home: Path,
    *,
    name: str,
    now: datetime,
    kind: KeyKind = KeyKind.TLS,
    hosts: tuple[str, ...] = HOSTS,
) -> TlsFiles:
    """Return a server's certificate files, made or renewed as needed.

    Args:
        home: Folder of the authority; made with mode 0700.
        name: What the leaf is called, and its files.
        now: Start of validity of what is made.
        kind: Kind of the leaf's key.
        hosts: DNS names and IP addresses of the server.
    """
    files = TlsFiles(home / "ca.pem", home / f"{name}.pem", home / f"{name}-key.pem")
    if not files.authority.exists():
        _make_authority(home, now=now)
    if not _is_good(files, now=now):
        _make_leaf(files, home=home, name=name, now=now, kind=kind, hosts=hosts)
    return files


def _make_authority(home: Path, *, now: datetime) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name("depa local TLS authority")
    certificate = (
        _builder(subject, issuer=subject, key=key.public_key(), now=now, days=_AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, SHA256())
    )
    # The certificate is written last: its presence says that the key is there.
    write_key(home / "ca-key.pem", key)
    write_private(home / "ca.pem", certificate.public_bytes(Encoding.PEM))


def _is_good(files: TlsFiles, *, now: datetime) -> bool:
    if not files.certificate.exists() or not files.key.exists():
        return False
    leaf, root = x509.load_pem_x509_certificates(files.certificate.read_bytes())
    current = root == x509.load_pem_x509_certificate(files.authority.read_bytes())
    return current and leaf.not_valid_after_utc > now + timedelta(days=_RENEW_DAYS)


def _make_leaf(
    files: TlsFiles,
    *,
    home: Path,
    name: str,
    now: datetime,
    kind: KeyKind,
    hosts: tuple[str, ...],
) -> None:
    authority = x509.load_pem_x509_certificate(files.authority.read_bytes())
    signer = read_key(home / "ca-key.pem")
    if not isinstance(signer, ec.EllipticCurvePrivateKey):
        raise TypeError("the key of a local authority is an elliptic curve key")
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey = (
        rsa.generate_private_key(65537, 2048)
        if kind is KeyKind.RELEASE
        else ec.generate_private_key(ec.SECP256R1())
    )
    identifier = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    leaf = (
        _builder(
            _name(name), issuer=authority.subject, key=key.public_key(), now=now, days=_LEAF_DAYS
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier),
            critical=False,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(signer, SHA256())
    )
    write_key(files.key, key)
    write_private(
        files.certificate, leaf.public_bytes(Encoding.PEM) + authority.public_bytes(Encoding.PEM)
    )


def _builder(
    subject: x509.Name,
    *,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey,
    now: datetime,
    days: int,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=days))
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
