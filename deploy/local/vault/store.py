"""Keys at rest: SQLite, every secret sealed under a key that the passphrase gives.

A secret is sealed together with its description, so that whoever can write the file can neither
read
a key nor loosen its release policy. Each change is one transaction, durable before it is answered.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from deploy.local.vault.errors import conflict, not_found
from deploy.local.vault.keys import KeyVersion
from policies.errors import DepaError
from policies.wire.base import canonical_json

SCRYPT_COST: Final = 1 << 15
"""RFC 7914 N; with r = 8 this takes 32 MiB."""
_CHECK: Final = b"depa vault 1"
_NONCE_BYTES: Final = 12
_SCHEMA: Final = """
create table if not exists vault (one integer primary key check (one = 1), salt blob not null,
    cost integer not null, sealed_check blob not null);
create table if not exists key (name text not null, position integer not null, version text not
null unique,
    description text not null, sealed blob not null, primary key (name, position));
create table if not exists deleted (name text primary key, at integer not null);
create table if not exists used_token (digest text primary key, expires integer not null);
"""
_SELECT: Final = """
select description, position, sealed from key
where name = ? and (? is null or version = ?) and name not in (select name from deleted)
order by position desc limit 1
"""


class SealedStoreError(DepaError):
    """The vault's file cannot be opened: another passphrase, or it was changed."""

    code = "vault-sealed"
    exit_code = 4


class KeyStore:
    """The vault's keys.

    Args:
        path: SQLite file; made if missing.
        passphrase: What unseals it; not kept.
        cost: scrypt cost of a new file, see `SCRYPT_COST`.

    Raises:
        SealedStoreError: if the passphrase is not the one the file was made with.
    """

    def __init__(self, path: Path, *, passphrase: bytes, cost: int = SCRYPT_COST) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600, exist_ok=True)
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        try:
            self._db.execute("pragma journal_mode = wal")
            self._db.execute("pragma synchronous = full")
            self._db.executescript(_SCHEMA)
            self._cipher = self._unseal(passphrase, cost=cost)
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def add(self, key: KeyVersion, *, material: bytes) -> None:
        """Add the newest version of a key; older ones stay.

        Raises:
            VaultError: if a key of this name is deleted and not purged.
        """
        with self._transaction() as db:
            if db.execute("select 1 from deleted where name = ?", (key.name,)).fetchone():
                raise conflict(
                    f"key {key.name} is deleted and can be recovered; purge it first",
                    reason="ObjectIsDeletedButRecoverable",
                )
            [position] = db.execute(
                "select coalesce(max(position), 0) + 1 from key where name = ?", (key.name,)
            ).fetchone()
            description = _describe(key)
            sealed = self._seal(material, description, position)
            db.execute(
                "insert into key values (?, ?, ?, ?, ?)",
                (key.name, position, key.version, description, sealed),
            )

    def replace(self, key: KeyVersion) -> None:
        """Change the description of a version; its secret stays.

        Raises:
            VaultError: if there is no such version.
        """
        old, position, sealed = self._row(key.name, key.version)
        material, new = self._open(sealed, old, position), _describe(key)
        with self._transaction() as db:
            db.execute(
                "update key set description = ?, sealed = ? where version = ?",
                (new, self._seal(material, new, position), key.version),
            )

    def get(self, name: str, version: str | None = None) -> KeyVersion:
        """Return a version, or the newest one.

        Raises:
            VaultError: if there is none, or it is deleted.
        """
        description, position, sealed = self._row(name, version)
        self._open(sealed, description, position)
        return _read(description)

    def material(self, key: KeyVersion) -> bytes:
        """Return the secret of a version.

        Raises:
            VaultError: if there is no such version.
            SealedStoreError: if secret or description were changed on disk.
        """
        description, position, sealed = self._row(key.name, key.version)
        return self._open(sealed, description, position)

    def versions(self, name: str) -> list[KeyVersion]:
        """Return all versions of a key, oldest first.

        Raises:
            VaultError: if there is none.
        """
        found = [key for key in self._all(deleted=False) if key.name == name]
        if not found:
            raise not_found(name)
        return found

    def newest(self, *, deleted: bool = False) -> list[KeyVersion]:
        """Return the newest version of each key by name; of the deleted ones if asked."""
        return list({key.name: key for key in self._all(deleted=deleted)}.values())

    def delete(self, name: str, *, at: int) -> None:
        """Delete a key, so that it can be recovered.

        Raises:
            VaultError: if there is none.
        """
        self.get(name)
        with self._transaction() as db:
            db.execute("insert or ignore into deleted values (?, ?)", (name, at))

    def deleted_at(self, name: str) -> int:
        """Return when a key was deleted.

        Raises:
            VaultError: if it is not.
        """
        with self._lock:
            row = self._db.execute("select at from deleted where name = ?", (name,)).fetchone()
        if row is None:
            raise not_found(name)
        return int(row[0])

    def recover(self, name: str) -> None:
        """Undo a deletion.

        Raises:
            VaultError: if there is nothing to recover.
        """
        self.deleted_at(name)
        with self._transaction() as db:
            db.execute("delete from deleted where name = ?", (name,))

    def purge(self, name: str) -> None:
        """Forget a deleted key for good.

        Raises:
            VaultError: if it is not deleted.
        """
        self.deleted_at(name)
        with self._transaction() as db:
            db.execute("delete from key where name = ?", (name,))
            db.execute("delete from deleted where name = ?", (name,))

    def use_token(self, digest: str, *, expires: int, now: int) -> bool:
        """Mark a token as used and say whether it was new."""
        with self._transaction() as db:
            db.execute("delete from used_token where expires < ?", (now,))
            done = db.execute("insert or ignore into used_token values (?, ?)", (digest, expires))
            return done.rowcount == 1

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._db.execute("begin immediate")
            try:
                yield self._db
            except BaseException:
                self._db.execute("rollback")
                raise
            self._db.execute("commit")

    def _unseal(self, passphrase: bytes, *, cost: int) -> AESGCM:
        row = self._db.execute("select salt, cost, sealed_check from vault").fetchone()
        salt, cost = (secrets.token_bytes(16), cost) if row is None else (row[0], row[1])
        key = Scrypt(salt=salt, length=32, n=cost, r=8, p=1).derive(passphrase)
        cipher = AESGCM(key)
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = nonce + cipher.encrypt(nonce, _CHECK, _CHECK) if row is None else row[2]
        try:
            cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _CHECK)
        except InvalidTag:
            raise SealedStoreError("the vault was sealed with another passphrase") from None
        if row is None:
            self._db.execute("insert into vault values (1, ?, ?, ?)", (salt, cost, sealed))
        return cipher

    def _seal(self, material: bytes, description: str, position: int) -> bytes:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, material, f"{position} {description}".encode())

    def _open(self, sealed: bytes, description: str, position: int) -> bytes:
        # The position is sealed too, or an old version could be made the newest one.
        bound = f"{position} {description}".encode()
        try:
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], bound)
        except InvalidTag:
            raise SealedStoreError("a key, or its description, was changed on disk") from None

    def _row(self, name: str, version: str | None) -> tuple[str, int, bytes]:
        with self._lock:
            row = self._db.execute(_SELECT, (name, version, version)).fetchone()
        if row is None:
            raise not_found(name)
        return row[0], row[1], row[2]

    def _all(self, *, deleted: bool) -> list[KeyVersion]:
        with self._lock:
            rows = self._db.execute(
                "select description, position, sealed from key"
                " where (name in (select name from deleted)) = ? order by name, position",
                (deleted,),
            ).fetchall()
        for description, position, sealed in rows:
            self._open(sealed, description, position)
        return [_read(description) for description, _, _ in rows]


def _describe(key: KeyVersion) -> str:
    return canonical_json(asdict(key)).decode()


def _read(description: str) -> KeyVersion:
    fields: dict[str, Any] = json.loads(description)
    fields["key_ops"] = tuple(fields["key_ops"])
    return KeyVersion(**fields)
