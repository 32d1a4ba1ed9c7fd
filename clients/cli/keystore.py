"""The secrets of one role, each encrypted in its own file in the role's home.

One scrypt run over the passphrase opens the store; each secret is AES-256-GCM under the derived
key, with its name as associated data, so that files cannot be exchanged. Folders are 0700, files
0600; a store that others may read is refused. The passphrase comes from the terminal or from
DEPA_PASSPHRASE, never from the command line.
"""

from __future__ import annotations

import base64
import getpass
import json
import os
import re
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from clients.cli.errors import NotFoundError, Refused, SignInError, UsageError

PASSPHRASE_VARIABLE = "DEPA_PASSPHRASE"  # noqa: S105
MIN_PASSPHRASE = 12
_SCRYPT_N, _SCRYPT_R, _SCRYPT_P = 2**16, 8, 1
_MAX_SCRYPT_N = 2**20
_NAME = re.compile(r"\A[a-z0-9][a-z0-9._-]{0,126}\Z")
_STORE = "store.json"
_CHECK = "check"

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True)
class Keystore:
    """An open keystore."""

    folder: Path
    _key: bytes = field(repr=False)

    def write(self, name: str, secret: bytes) -> None:
        """Store a secret under a new name.

        Raises:
            UsageError: when the name is taken or not a name.
        """
        sealed = _encrypt(self._key, name, secret)
        _write_new(_path(self.folder, name), json.dumps(sealed).encode())

    def read(self, name: str) -> bytes:
        """Return a secret.

        Raises:
            NotFoundError: when there is none of this name.
            Refused: when the file was changed, or others may read it.
        """
        return _decrypt(self._key, name, _read_private(_path(self.folder, name)))

    def has(self, name: str) -> bool:
        """Tell whether there is a secret of this name."""
        return _path(self.folder, name).exists()

    def names(self) -> list[str]:
        """Return the names of all secrets."""
        return sorted(p.stem for p in self.folder.glob("*.key"))

    def write_private_key(self, name: str, key: PrivateKey) -> None:
        """Store an asymmetric private key.

        Raises:
            UsageError: when the name is taken.
        """
        encoded = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        self.write(name, encoded)

    def read_ec_key(self, name: str) -> ec.EllipticCurvePrivateKey:
        """Return an elliptic-curve private key.

        Raises:
            NotFoundError: when there is none of this name.
            Refused: when it is of another kind.
        """
        key = load_der_private_key(self.read(name), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise Refused(f"key {name}: expected an elliptic-curve key")
        return key

    def read_rsa_key(self, name: str) -> rsa.RSAPrivateKey:
        """Return an RSA private key.

        Raises:
            NotFoundError: when there is none of this name.
            Refused: when it is of another kind.
        """
        key = load_der_private_key(self.read(name), None)
        if not isinstance(key, rsa.RSAPrivateKey):
            raise Refused(f"key {name}: expected an RSA key")
        return key


def create_keystore(folder: Path, *, passphrase: str) -> Keystore:
    """Create an empty keystore.

    Raises:
        UsageError: when there is one, or the passphrase is too short.
    """
    if len(passphrase) < MIN_PASSPHRASE:
        raise UsageError(
            f"the passphrase has {len(passphrase)} characters, at least {MIN_PASSPHRASE} are needed"
        )
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    salt = secrets.token_bytes(16)
    kdf = {"name": "scrypt", "n": _SCRYPT_N, "r": _SCRYPT_R, "p": _SCRYPT_P, "salt": _b64(salt)}
    key = _derive(passphrase, kdf)
    store = {"version": 1, "kdf": kdf, _CHECK: _encrypt(key, _CHECK, b"")}
    _write_new(folder / _STORE, json.dumps(store).encode())
    return Keystore(folder, key)


def open_keystore(folder: Path, *, passphrase: str) -> Keystore:
    """Open a keystore.

    Raises:
        NotFoundError: when there is none.
        SignInError: when the passphrase is wrong.
        Refused: when its files are damaged, or others may read them.
    """
    store = _read_private(folder / _STORE)
    key = _derive(passphrase, store.get("kdf"))
    try:
        _decrypt(key, _CHECK, store.get(_CHECK))
    except Refused:
        raise SignInError(
            f"the passphrase does not open {folder}", hint="check DEPA_HOME and the passphrase"
        ) from None
    return Keystore(folder, key)


def ask_passphrase(*, environment: Mapping[str, str], confirm: bool = False) -> str:
    """Return the passphrase from the environment or from the person at the terminal.

    Raises:
        SignInError: when there is neither, or the two entries differ.
    """
    given = environment.get(PASSPHRASE_VARIABLE)
    if given:
        return given
    if not sys.stdin.isatty():
        raise SignInError(
            "no passphrase for the keystore",
            hint=f"run it in a terminal, or set {PASSPHRASE_VARIABLE}",
        )
    passphrase = getpass.getpass("Passphrase: ")
    if confirm and getpass.getpass("Again: ") != passphrase:
        raise SignInError("the two passphrases differ")
    return passphrase


def _derive(passphrase: str, kdf: object) -> bytes:
    if not isinstance(kdf, dict) or kdf.get("name") != "scrypt":
        raise Refused("keystore: expected scrypt")
    n, r, p = (kdf.get(name) for name in ("n", "r", "p"))
    # Bounded, so that a changed file can neither weaken the derivation nor eat the memory.
    if not (isinstance(n, int) and _SCRYPT_N <= n <= _MAX_SCRYPT_N and (r, p) == (8, 1)):
        raise Refused("keystore: the scrypt parameters are out of bounds")
    salt = _unb64(kdf.get("salt"))
    return Scrypt(salt=salt, length=32, n=n, r=_SCRYPT_R, p=_SCRYPT_P).derive(passphrase.encode())


def _encrypt(key: bytes, name: str, secret: bytes) -> dict[str, str]:
    nonce = secrets.token_bytes(12)
    sealed = AESGCM(key).encrypt(nonce, secret, _associated(name))
    return {"name": name, "nonce": _b64(nonce), "sealed": _b64(sealed)}


def _decrypt(key: bytes, name: str, value: object) -> bytes:
    if not isinstance(value, dict):
        raise Refused(f"secret {name}: the file is damaged")
    try:
        return AESGCM(key).decrypt(
            _unb64(value.get("nonce")), _unb64(value.get("sealed")), _associated(name)
        )
    except (InvalidTag, ValueError):
        raise Refused(f"secret {name}: the file was changed or is not of this keystore") from None


def _associated(name: str) -> bytes:
    return b"depa keystore 1\0" + name.encode()


def _path(folder: Path, name: str) -> Path:
    if not _NAME.match(name):
        raise UsageError(f"{name!r} is not a key name", hint="use a-z, 0-9, '.', '_' and '-'")
    return folder / f"{name}.key"


def _write_new(path: Path, data: bytes) -> None:
    """Create a file of mode 0600, whole or not at all, and never over another one."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)
        except FileExistsError:
            raise UsageError(f"{path} exists already") from None
    finally:
        temporary.unlink()


def _read_private(path: Path) -> dict[str, Any]:
    try:
        mode = path.stat().st_mode
        data = path.read_bytes()
    except FileNotFoundError:
        raise NotFoundError(f"{path} is not there", hint="depa party init makes a home") from None
    if mode & 0o077:
        raise Refused(f"{path} can be read by others", hint=f"chmod 600 {path}")
    try:
        value = json.loads(data)
    except ValueError:
        raise Refused(f"{path} is damaged") from None
    if not isinstance(value, dict):
        raise Refused(f"{path} is damaged")
    return value


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _unb64(value: object) -> bytes:
    try:
        return base64.b64decode(str(value), validate=True)
    except ValueError:
        raise Refused("keystore: a field is not base64") from None
