"""The service's home: a root certificate, three keys under it, and the document that names them.

The home is a folder that only its owner can read. Private keys are PKCS #8, encrypted under the
operator's passphrase. The root's key is needed again only to certify new keys; it should be taken
off the machine.
"""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from contract_service.errors import HomeError
from ledger.document import from_base64
from ledger.errors import LedgerError
from ledger.identity import Identity, PrivateKey
from ledger.trust import LogKeys, TrustedLog, issue_log_keys, issue_root, root_fingerprint

TRUST_FILE: Final = "log.json"
ROOT_KEY: Final = "root.key.pem"
STATEMENT_KEY: Final = "statement.key.pem"
RECEIPT_KEY: Final = "receipt.key.pem"
CHECKPOINT_KEY: Final = "checkpoint.key.pem"
MIN_PASSPHRASE: Final = 12
_MAX_FILE: Final = 256 * 1024
_SKEW: Final = 300
_DAY: Final = 86_400
_ROOT_DAYS: Final = 3650
_LEAF_DAYS: Final = 825


@dataclass(frozen=True)
class Home:
    """What a service signs with."""

    keys: LogKeys
    fingerprint: str
    """SHA-256 of the root certificate, 64 hexadecimal digits."""

    @property
    def identity(self) -> Identity:
        """Who signs the service's statements."""
        return self.keys.identity


def init_home(home: Path, *, passphrase: str, origin: str, organization: str, now: int) -> str:
    """Create the home of a new service and return its root's fingerprint.

    Args:
        home: Folder to create; an existing one must be empty.
        passphrase: Encrypts the private keys; at least 12 characters.
        origin: Name of the log, such as `depa.example/log`; no spaces, no plus sign.
        organization: Name of the operator, for the certificates.
        now: Unix seconds.

    Raises:
        HomeError: If there is something in the folder, or the passphrase is too short.
        LedgerError: If the origin cannot name a log.
    """
    if len(passphrase) < MIN_PASSPHRASE:
        raise HomeError(f"the passphrase has fewer than {MIN_PASSPHRASE} characters")
    if home.exists() and any(home.iterdir()):
        raise HomeError(f"{home} is not empty", hint="a log is begun once; choose another folder")
    root_key = ec.generate_private_key(ec.SECP256R1())
    root = issue_root(
        root_key,
        organization=organization,
        not_before=now - _SKEW,
        not_after=now + _ROOT_DAYS * _DAY,
    )
    keys = issue_log_keys(
        root_key,
        root=root,
        origin=origin,
        not_before=now - _SKEW,
        not_after=now + _LEAF_DAYS * _DAY,
    )
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    home.chmod(0o700)
    for name, key in (
        (ROOT_KEY, root_key),
        (STATEMENT_KEY, keys.identity.private_key),
        (RECEIPT_KEY, keys.receipt_key),
        (CHECKPOINT_KEY, keys.checkpoint_key),
    ):
        _write(home / name, _encrypted(key, passphrase))
    # Last, so that a home is either whole or not there.
    _write(home / TRUST_FILE, keys.document)
    return root_fingerprint(root)


def load_home(home: Path, *, passphrase: str, now: int) -> Home:
    """Open the keys of a service.

    Args:
        home: Folder that `init_home` made.
        passphrase: What the keys are encrypted under.
        now: Unix seconds; the certificates must be valid.

    Raises:
        HomeError: If a file is missing or wrong, or the passphrase is.
    """
    document = _read(home / TRUST_FILE)
    statement = _load(home / STATEMENT_KEY, passphrase)
    receipt, checkpoint = (_load(home / name, passphrase) for name in (RECEIPT_KEY, CHECKPOINT_KEY))
    if not isinstance(receipt, ec.EllipticCurvePrivateKey) or not isinstance(
        checkpoint, Ed25519PrivateKey
    ):
        raise HomeError(f"{home}: a key is not of its kind")
    try:
        root, leaf = _certificates(document)
        fingerprint = root_fingerprint(root)
        trusted = TrustedLog.from_document(document, root_fingerprint=fingerprint, at=now)
        identity = Identity(did=trusted.service, chain=(leaf, root), private_key=statement)
    except (LedgerError, ValueError, KeyError, IndexError, TypeError) as error:
        raise HomeError(f"{home / TRUST_FILE}: {error}") from error
    keys = LogKeys(trusted.origin, identity, receipt, checkpoint, document)
    return Home(keys=keys, fingerprint=fingerprint)


def _certificates(document: bytes) -> tuple[bytes, bytes]:
    value = json.loads(document)
    return (
        from_base64(value["root"], what="root", limit=_MAX_FILE),
        from_base64(value["statement"][0], what="statement", limit=_MAX_FILE),
    )


def _encrypted(key: PrivateKey, passphrase: str) -> bytes:
    encryption = BestAvailableEncryption(passphrase.encode())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def _load(path: Path, passphrase: str) -> PrivateKey:
    try:
        key = load_pem_private_key(_read(path), passphrase.encode())
    except (ValueError, TypeError):
        raise HomeError(
            f"{path} does not open", hint="is DEPA_PASSPHRASE the one it was made with?"
        ) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey | Ed25519PrivateKey):
        raise HomeError(f"{path} is a key of another kind")
    return key


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            if os.fstat(stream.fileno()).st_mode & 0o077:
                raise HomeError(f"{path} can be read by others", hint=f"chmod 600 {path}")
            return stream.read(_MAX_FILE)
    except OSError as error:
        raise HomeError(
            f"{path}: {error.strerror}", hint="make a home with: depa log init"
        ) from error


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.rename(path)
