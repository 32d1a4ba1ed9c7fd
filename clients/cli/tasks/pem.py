"""Keys that sign and verify policy bundles: PEM files, certificates and parties' cards."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    load_pem_private_key,
    load_pem_public_key,
)

from clients.cli.errors import Refused, SignInError, UsageError
from clients.cli.files import read_bytes
from clients.cli.identity import read_card
from clients.cli.keystore import PASSPHRASE_VARIABLE, ask_passphrase
from policies.signing import PrivateKey, PublicKey

MAX_KEY_BYTES = 64 * 1024


def read_private_key(path: Path) -> PrivateKey:
    """Return the private key in a PEM file that its owner alone can read.

    Raises:
        NotFoundError: when it is not there.
        Refused: when others can read it.
        SignInError: when it is encrypted and the passphrase is missing or wrong.
        UsageError: when it holds something else than an elliptic-curve or RSA key.
    """
    data = read_bytes(path, what="key", limit=MAX_KEY_BYTES)
    if path.stat().st_mode & 0o077:
        raise Refused(f"key: {path} can be read by others", hint=f"chmod 600 {path}")
    key: object
    try:
        key = load_pem_private_key(data, None)
    except TypeError:
        key = _decrypted(path, data)
    except (ValueError, UnsupportedAlgorithm):
        raise UsageError(f"key: {path} holds no private key in PEM") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise UsageError(f"key: {path} holds neither an elliptic-curve nor an RSA key")
    return key


def _decrypted(path: Path, data: bytes) -> object:
    passphrase = ask_passphrase(environment=os.environ)
    try:
        return load_pem_private_key(data, passphrase.encode())
    except ValueError:
        raise SignInError(
            f"key: the passphrase does not open {path}", hint=f"check {PASSPHRASE_VARIABLE}"
        ) from None


def read_public_key(path: Path) -> tuple[PublicKey, str]:
    """Return a public key, and the name that signatures by it have to give; empty for any.

    Args:
        path: PEM file of a public key or certificate, or a party's card.

    Raises:
        NotFoundError: when it is not there.
        UsageError: when it holds something else.
        DocumentError: when it is a malformed card.
    """
    data = read_bytes(path, what="key", limit=MAX_KEY_BYTES)
    if data.lstrip().startswith(b"{"):
        card = read_card(path)
        return _supported(card.chain[0].public_key(), path), card.id
    try:
        if b"BEGIN CERTIFICATE" in data:
            return _supported(x509.load_pem_x509_certificate(data).public_key(), path), ""
        return _supported(load_pem_public_key(data), path), ""
    except (ValueError, UnsupportedAlgorithm):
        raise UsageError(
            f"key: {path} holds no public key or certificate in PEM, and is no party's card",
            hint="openssl pkey -in KEY.pem -pubout writes the public half of a key",
        ) from None


def _supported(key: object, path: Path) -> PublicKey:
    if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        raise UsageError(f"key: {path} holds neither an elliptic-curve nor an RSA key")
    return key
