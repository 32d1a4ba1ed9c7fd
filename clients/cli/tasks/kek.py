"""The keys that open this party's sealed files, until its vault holds them too."""

from __future__ import annotations

import secrets
from enum import StrEnum

from cryptography.hazmat.primitives.asymmetric import rsa

from clients.cli.errors import Refused
from clients.cli.keystore import Keystore
from trainer.sealed import OctKek, RsaPublicKek, SealingKek

RSA_BITS = 3072


class KekKind(StrEnum):
    """Kind of the key in the vault."""

    RSA = "rsa"
    """RSA-3072, for an RSA-HSM key."""
    OCT = "oct"
    """256 bits, for an oct-HSM key of a managed HSM."""


def own_kek(keystore: Keystore, name: str, *, kind: KekKind) -> SealingKek:
    """Return the key of this name, made on first use.

    Raises:
        Refused: when there is one of another kind.
    """
    stored = f"kek-{kind}-{name}"
    other = f"kek-{KekKind.OCT if kind is KekKind.RSA else KekKind.RSA}-{name}"
    if keystore.has(other):
        raise Refused(f"key {name}: expected {kind}, got another kind", hint="use another id")
    if kind is KekKind.OCT:
        if not keystore.has(stored):
            keystore.write(stored, secrets.token_bytes(32))
        return OctKek(name, keystore.read(stored))
    if not keystore.has(stored):
        keystore.write_private_key(stored, rsa.generate_private_key(65537, RSA_BITS))
    return RsaPublicKek(name, keystore.read_rsa_key(stored).public_key())


def own_private_kek(keystore: Keystore, name: str) -> bytes | rsa.RSAPrivateKey:
    """Return the secret of a key that this party has sealed with.

    Raises:
        NotFoundError: when this home holds no such key.
    """
    if keystore.has(f"kek-{KekKind.OCT}-{name}"):
        return keystore.read(f"kek-{KekKind.OCT}-{name}")
    return keystore.read_rsa_key(f"kek-{KekKind.RSA}-{name}")
