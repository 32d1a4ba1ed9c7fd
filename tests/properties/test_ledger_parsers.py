"""Whatever bytes come, a parser of the log either returns or raises an error of the log."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.bundle import Bundle
from ledger.checkpoint import Checkpoint, parse_checkpoint, sign_checkpoint
from ledger.did import resolve_did
from ledger.errors import LedgerError
from ledger.merkle import Tree, leaf_hash
from ledger.receipt import TrustedKeys, issue_receipt, sign_root, verify_receipt
from ledger.statement import attach_receipts, verify_statement
from ledger.trust import TrustedLog
from tests.unit.ledger.makers import NOW, ORIGIN, log_keys, party, signed

_KEYS, _TRUSTED = log_keys()
_PARTY = party()
_STATEMENT = attach_receipts(signed(_PARTY), receipts=[b"receipt"])
_TREE = Tree()
for _number in range(5):
    _TREE.append(leaf_hash(b"%d" % _number))
_ROOT = sign_root(_TREE.root(), tree_size=5, origin=ORIGIN, key=_KEYS.receipt_key, issued_at=NOW)
_RECEIPT = issue_receipt(_ROOT, leaf_index=2, path=_TREE.inclusion(2))
_NOTE = sign_checkpoint(Checkpoint(ORIGIN, 5, _TREE.root()), key=_KEYS.checkpoint_key)
_BUNDLE = Bundle.of(trust=_KEYS.document, checkpoint=_NOTE, entries=[], documents=[b"x"]).encode()


def _read_receipt(data: bytes) -> object:
    keys: TrustedKeys = _TRUSTED.keys
    return verify_receipt(data, leaf_hash=_TREE.leaf(2), keys=keys)


def _read_trust(data: bytes) -> object:
    return TrustedLog.from_document(data, root_fingerprint=_TRUSTED.root_fingerprint, at=NOW)


def _read_did(data: bytes) -> object:
    return resolve_did(data.decode("latin-1"), x5chain=_PARTY.chain)


def _read_certificate(data: bytes) -> object:
    return resolve_did(_PARTY.did, x5chain=(data, _PARTY.chain[1]))


_PARSERS = [
    pytest.param(verify_statement, _STATEMENT, id="statement"),
    pytest.param(_read_receipt, _RECEIPT, id="receipt"),
    pytest.param(parse_checkpoint, _NOTE, id="checkpoint"),
    pytest.param(Bundle.parse, _BUNDLE, id="bundle"),
    pytest.param(_read_trust, _KEYS.document, id="trust"),
    pytest.param(_read_did, _PARTY.did.encode(), id="did"),
    pytest.param(_read_certificate, _PARTY.chain[0], id="certificate"),
]


@pytest.mark.parametrize(("parse", "good"), _PARSERS)
def test_good_bytes_are_parsed(parse: Callable[[bytes], object], good: bytes) -> None:
    assert parse(good) is not None


@pytest.mark.parametrize(("parse", "good"), _PARSERS)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_parser_raises_errors_of_the_log_only(
    parse: Callable[[bytes], object], good: bytes, data: st.DataObject
) -> None:
    changed = bytearray(good)
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, max(len(changed) - 1, 0)))
        length = data.draw(st.integers(0, 4))
        changed[start : start + length] = data.draw(st.binary(max_size=4))
    with suppress(LedgerError):
        parse(bytes(changed))


@pytest.mark.parametrize(("parse", "good"), _PARSERS)
@settings(max_examples=50, deadline=None)
@given(noise=st.binary(max_size=200))
def test_noise_is_refused(parse: Callable[[bytes], object], good: bytes, noise: bytes) -> None:
    assert noise != good
    with pytest.raises(LedgerError):
        parse(noise)
