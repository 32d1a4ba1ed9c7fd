"""Keys at rest: nobody reads or bends them without the passphrase, and no change is half done."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.local.vault.errors import VaultError
from deploy.local.vault.keys import KeyVersion
from deploy.local.vault.store import KeyStore, SealedStoreError

SECRET = b"sixteen byte key" * 2
COST = 1 << 10


def key(name: str = "alpha", version: str = "0" * 32, **changes: object) -> KeyVersion:
    values = {"kty": "oct-HSM", "created": 1, "updated": 1, "exportable": True, **changes}
    return KeyVersion(name=name, version=version, **values)  # type: ignore[arg-type]


def opened(path: Path, passphrase: bytes = b"correct horse") -> KeyStore:
    return KeyStore(path, passphrase=passphrase, cost=COST)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "vault" / "keys.db"


@pytest.fixture
def store(path: Path) -> Iterator[KeyStore]:
    found = opened(path)
    yield found
    found.close()


def everything(path: Path) -> bytes:
    return b"".join(item.read_bytes() for item in path.parent.iterdir())


def test_a_key_is_there_after_a_restart(path: Path) -> None:
    first = opened(path)
    first.add(key(tags={"a": "b"}, key_ops=("wrapKey",)), material=SECRET)
    first.close()
    second = opened(path)
    found = second.get("alpha")
    assert found == key(tags={"a": "b"}, key_ops=("wrapKey",))
    assert second.material(found) == SECRET
    second.close()


def test_no_secret_is_on_disk(path: Path, store: KeyStore) -> None:
    store.add(key(), material=SECRET)
    assert SECRET not in everything(path)
    assert SECRET.hex().encode() not in everything(path)
    assert b"correct horse" not in everything(path)
    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0


def test_another_passphrase_opens_nothing(path: Path, store: KeyStore) -> None:
    store.add(key(), material=SECRET)
    for passphrase in (b"", b"correct horse ", b"Correct horse"):
        with pytest.raises(SealedStoreError, match="another passphrase"):
            opened(path, passphrase)


@pytest.mark.parametrize(
    "change",
    [
        "update key set description = replace(description, '\"exportable\":true', "
        "'\"exportable\":false')",
        'update key set description = replace(description, \'"policy":"strict"\', '
        '\'"policy":"loose"\')',
        "update key set sealed = zeroblob(length(sealed))",
        "update key set position = 9",
        "update key set name = 'beta', description = replace(description, 'alpha', 'beta')",
    ],
)
def test_a_key_that_was_bent_on_disk_is_refused(path: Path, change: str) -> None:
    store = opened(path)
    store.add(key(policy="strict"), material=SECRET)
    store.close()
    database = sqlite3.connect(path)
    assert database.execute(change).rowcount == 1
    database.commit()
    database.close()
    store = opened(path)
    [name] = ["beta" if "beta" in change else "alpha"]
    with pytest.raises(SealedStoreError, match="changed on disk"):
        store.get(name)
    with pytest.raises(SealedStoreError, match="changed on disk"):
        store.newest()
    store.close()


def test_an_old_version_cannot_be_made_the_newest(path: Path) -> None:
    store = opened(path)
    store.add(key(version="a" * 32), material=SECRET)
    store.add(key(version="b" * 32), material=SECRET)
    store.close()
    database = sqlite3.connect(path)
    database.execute("update key set position = 3 where position = 1")
    database.commit()
    database.close()
    store = opened(path)
    with pytest.raises(SealedStoreError):
        store.get("alpha")
    store.close()


def test_a_name_in_use_gets_a_new_version_and_keeps_the_old_one(store: KeyStore) -> None:
    store.add(key(version="a" * 32), material=SECRET)
    store.add(key(version="b" * 32), material=SECRET[::-1])
    assert store.get("alpha").version == "b" * 32
    assert store.material(store.get("alpha", "a" * 32)) == SECRET
    assert [item.version for item in store.versions("alpha")] == ["a" * 32, "b" * 32]
    assert [item.version for item in store.newest()] == ["b" * 32]


def test_a_description_is_replaced_and_the_secret_kept(store: KeyStore) -> None:
    store.add(key(), material=SECRET)
    store.replace(replace(store.get("alpha"), enabled=False))
    assert not store.get("alpha").enabled
    assert store.material(store.get("alpha")) == SECRET


def test_what_is_not_there_is_not_found(store: KeyStore) -> None:
    for action in (
        lambda: store.get("alpha"),
        lambda: store.get("alpha", "0" * 32),
        lambda: store.versions("alpha"),
        lambda: store.material(key()),
        lambda: store.replace(key()),
        lambda: store.delete("alpha", at=1),
        lambda: store.recover("alpha"),
        lambda: store.purge("alpha"),
    ):
        with pytest.raises(VaultError) as caught:
            action()
        assert caught.value.status == 404


def test_a_deleted_key_is_gone_until_it_is_recovered(store: KeyStore) -> None:
    store.add(key(), material=SECRET)
    store.delete("alpha", at=5)
    with pytest.raises(VaultError):
        store.get("alpha")
    with pytest.raises(VaultError) as caught:
        store.add(key(version="b" * 32), material=SECRET)
    assert caught.value.status == 409
    assert store.newest() == []
    assert [item.name for item in store.newest(deleted=True)] == ["alpha"]
    assert store.deleted_at("alpha") == 5
    store.recover("alpha")
    assert store.material(store.get("alpha")) == SECRET


def test_a_purged_key_is_gone_for_good(path: Path, store: KeyStore) -> None:
    store.add(key(), material=SECRET)
    store.delete("alpha", at=5)
    store.purge("alpha")
    assert store.newest(deleted=True) == []
    store.add(key(version="b" * 32), material=SECRET[::-1])
    assert [item.version for item in store.versions("alpha")] == ["b" * 32]


def test_a_token_is_used_once_even_after_a_restart(path: Path) -> None:
    store = opened(path)
    assert store.use_token("digest", expires=100, now=1)
    assert not store.use_token("digest", expires=100, now=2)
    store.close()
    store = opened(path)
    assert not store.use_token("digest", expires=100, now=3)
    assert store.use_token("other", expires=200, now=101)
    store.close()


WRITER = """
import sys
from pathlib import Path
from deploy.local.vault.store import KeyStore
from tests.unit.deploy.local.vault.test_store import COST, SECRET, key
store = KeyStore(Path(sys.argv[1]), passphrase=b"correct horse", cost=COST)
for number in range(10_000):
    store.add(key(version=f"{number:032x}"), material=SECRET)
    print(number, flush=True)
"""


def test_what_was_acknowledged_survives_a_kill(path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, env=dict(os.environ)
    )
    assert process.stdout is not None
    with process.stdout as output:
        for line in output:
            if int(line) >= 20:
                process.send_signal(signal.SIGKILL)
                break
        last = int([line, *output][-1])
    process.wait(timeout=60)
    store = opened(path)
    versions = store.versions("alpha")
    assert len(versions) >= last + 1
    assert all(store.material(item) == SECRET for item in versions[-3:])
    store.close()
