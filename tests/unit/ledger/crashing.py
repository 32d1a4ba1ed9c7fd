"""A log in a process of its own, registering from several threads until somebody kills it.

Each line on stdout is an acknowledgement: index and leaf hash.
"""

from __future__ import annotations

import itertools
import sys
import threading
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.identity import Identity, PrivateKey
from ledger.sequencer import Sequencer
from ledger.store import Store
from ledger.trust import LogKeys
from tests.unit.ledger.makers import NOW, signed

_THREADS = 4


def write_keys(folder: Path, *, keys: LogKeys) -> None:
    for name, key in (
        ("statement", keys.identity.private_key),
        ("receipt", keys.receipt_key),
        ("checkpoint", keys.checkpoint_key),
    ):
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        (folder / f"{name}.pem").write_bytes(pem)
    (folder / "trust.json").write_bytes(keys.document)
    (folder / "names").write_text(f"{keys.origin}\n{keys.identity.did}")
    for position, der in enumerate(keys.identity.chain):
        (folder / f"{position}.der").write_bytes(der)


def _read_key(path: Path) -> PrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey | Ed25519PrivateKey)
    return key


def _read_keys(folder: Path) -> LogKeys:
    origin, did = (folder / "names").read_text().split("\n")
    chain = tuple((folder / f"{position}.der").read_bytes() for position in range(2))
    receipt, checkpoint = _read_key(folder / "receipt.pem"), _read_key(folder / "checkpoint.pem")
    assert isinstance(receipt, ec.EllipticCurvePrivateKey)
    assert isinstance(checkpoint, Ed25519PrivateKey)
    identity = Identity(did, chain, _read_key(folder / "statement.pem"))
    return LogKeys(origin, identity, receipt, checkpoint, (folder / "trust.json").read_bytes())


def _run(folder: Path, url: str) -> None:
    keys = _read_keys(folder)
    sequencer = Sequencer(Store(url), keys=keys, clock=lambda: NOW)

    def register() -> None:
        for number in itertools.count():
            document = f"{threading.get_ident()} {number}".encode()
            done = sequencer.register(signed(keys.identity, document=document))
            sys.stdout.write(f"{done.index} {done.leaf_hash.hex()}\n")
            sys.stdout.flush()

    for _ in range(_THREADS):
        threading.Thread(target=register, daemon=True).start()
    threading.Event().wait()


if __name__ == "__main__":
    _run(Path(sys.argv[1]), sys.argv[2])
