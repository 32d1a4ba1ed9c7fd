"""Who this role is: its certificate authority, its signing certificate, its DID, its card.

The card (`party.json`) is public. The private halves are in the keystore under the names below.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import ClassVar, Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from pydantic import Field

from clients.api.transport import PartyCredential
from clients.cli.errors import NotFoundError, UsageError
from clients.cli.files import read_bytes, write_new
from clients.cli.keystore import Keystore
from ledger.did import did_x509_for, resolve_did
from ledger.identity import Identity as Signer
from policies.wire.base import Did, Document, Name
from policies.wire.contract import Party

AUTHORITY_KEY = "authority"
SIGNING_KEY = "signing"
OUTPUT_KEY = "output"
CARD = "party.json"
Role = Literal["tdp", "tdc", "ccrp"]

_MAX_ORGANIZATION = 64
_AUTHORITY_YEARS, _LEAF_YEARS = 10, 2
_BACKDATED = timedelta(minutes=5)


class Card(Document):
    """What others need to know of a party; nothing in it is secret."""

    kind: ClassVar[str] = "party card"

    id: Did
    name: Name
    role: Role
    certificates: tuple[str, ...] = Field(min_length=2, max_length=8)
    """Base64 DER, leaf first, root last."""
    output_key: str | None = None
    """X25519 public key that results are sealed to, base64url; a consumer's only."""

    @property
    def party(self) -> Party:
        """The party as contracts name it."""
        return Party(id=self.id, name=self.name)

    @property
    def chain(self) -> tuple[x509.Certificate, ...]:
        """The certificates, leaf first."""
        return tuple(x509.load_der_x509_certificate(der) for der in self.chain_der)

    @property
    def chain_der(self) -> tuple[bytes, ...]:
        """The certificates' DER, leaf first."""
        try:
            return tuple(base64.b64decode(text, validate=True) for text in self.certificates)
        except binascii.Error:
            raise UsageError("party card: a certificate is not base64") from None


@dataclass(frozen=True)
class Identity:
    """A party that can sign: its card and its open keystore."""

    card: Card
    keystore: Keystore

    @property
    def credential(self) -> PartyCredential:
        """What authorises this party's calls to the service."""
        return PartyCredential(
            did=self.card.id, key=self.keystore.read_ec_key(SIGNING_KEY), chain=self.card.chain
        )

    @property
    def signer(self) -> Signer:
        """What signs this party's statements."""
        key = self.keystore.read_ec_key(SIGNING_KEY)
        return Signer(did=self.card.id, chain=self.card.chain_der, private_key=key)


def create_identity(
    home: Path, keystore: Keystore, *, name: str, role: Role, now: datetime
) -> Identity:
    """Make a party's authority, signing key and card, and for a consumer the key for results.

    Raises:
        UsageError: when the name is too long or the home has a party already.
    """
    if not 0 < len(name) <= _MAX_ORGANIZATION:
        raise UsageError(f"a party's name has 1 to {_MAX_ORGANIZATION} characters")
    authority_key = ec.generate_private_key(ec.SECP256R1())
    signing_key = ec.generate_private_key(ec.SECP256R1())
    authority = _authority(authority_key, name=name, now=now)
    leaf = _leaf(signing_key, authority, authority_key, name=name, now=now)
    chain = [leaf.public_bytes(Encoding.DER), authority.public_bytes(Encoding.DER)]
    output = x25519.X25519PrivateKey.generate() if role == "tdc" else None
    card = Card(
        id=did_x509_for(chain),
        name=name,
        role=role,
        certificates=tuple(base64.b64encode(der).decode() for der in chain),
        output_key=None if output is None else _base64url(output.public_key().public_bytes_raw()),
    )
    keystore.write_private_key(AUTHORITY_KEY, authority_key)
    keystore.write_private_key(SIGNING_KEY, signing_key)
    if output is not None:
        keystore.write(OUTPUT_KEY, output.private_bytes_raw())
    write_new(home / CARD, card.canonical())
    return Identity(card, keystore)


def read_card(path: Path) -> Card:
    """Read a party's card and check that its certificates are those of its DID.

    Raises:
        NotFoundError: when the file is not there.
        DocumentError: when it is not a card.
        IdentityError: when the certificates do not belong to the DID.
    """
    card = Card.parse(read_bytes(path, what="party card"))
    resolve_did(card.id, x5chain=card.chain_der)
    return card


def own_card(home: Path) -> Card:
    """Read this role's card.

    Raises:
        NotFoundError: when the role has no identity yet.
    """
    if not (home / CARD).exists():
        raise NotFoundError(f"{home} holds no party yet", hint="depa party init makes one")
    return read_card(home / CARD)


def _authority(key: ec.EllipticCurvePrivateKey, *, name: str, now: datetime) -> x509.Certificate:
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, name),
            x509.NameAttribute(NameOID.COMMON_NAME, "depa authority"),
        ]
    )
    usage = _usage(key_cert_sign=True)
    return (
        _builder(subject, subject, key.public_key(), now=now, years=_AUTHORITY_YEARS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )


def _leaf(
    key: ec.EllipticCurvePrivateKey,
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
    *,
    name: str,
    now: datetime,
) -> x509.Certificate:
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, name),
            x509.NameAttribute(NameOID.COMMON_NAME, "depa signer"),
        ]
    )
    return (
        _builder(subject, authority.subject, key.public_key(), now=now, years=_LEAF_YEARS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .sign(authority_key, hashes.SHA256())
    )


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    *,
    now: datetime,
    years: int,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + timedelta(days=365 * years))
    )


def _usage(*, digital_signature: bool = False, key_cert_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=key_cert_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
