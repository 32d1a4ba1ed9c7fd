from __future__ import annotations

from dataclasses import replace

import pytest

from ledger.bundle import Bundle, BundleEntry, ConsistencyProof
from ledger.checkpoint import Checkpoint, parse_checkpoint, sign_checkpoint
from ledger.errors import IdentityError, LedgerError, VerificationError
from ledger.identity import Identity
from ledger.merkle import Tree, leaf_hash
from ledger.receipt import issue_receipt, sign_root
from ledger.sequencer import Sequencer
from ledger.trust import LogKeys, TrustedLog
from ledger.verify import VerifiedLog, verify_bundle
from tests.unit.ledger.makers import NOW, ORIGIN, YEAR, enclave, log_keys, party, signed


@pytest.fixture
def bundle(sequencer: Sequencer, hospital: Identity, keys: LogKeys) -> Bundle:
    """Seven entries, of which five are in the bundle, in no order."""
    for number, kind in enumerate(
        ("contract", "signature", "signature", "executed", "approval", "run-report")
    ):
        signer = keys.identity if kind in ("executed", "approval") else hospital
        sequencer.register(signed(signer, document=b"%d" % number, kind=kind))
    made = sequencer.bundle([5, 0, 2, 1, 4], documents=[b"0", b"1", b"loose"], inputs={"a": b"b"})
    return replace(made, entries=made.entries[::-1])


def _verify(bundle: Bundle, trusted: TrustedLog, *, at: int = NOW) -> VerifiedLog:
    return verify_bundle(bundle, root_fingerprint=trusted.root_fingerprint, at=at)


def test_bundle_proves_entries_in_the_order_of_the_log(
    bundle: Bundle, trusted: TrustedLog, hospital: Identity
) -> None:
    proven = _verify(Bundle.parse(bundle.encode()), trusted)
    assert proven.log.origin == ORIGIN
    assert proven.checkpoint.tree_size == 7
    assert [each.index for each in proven.entries] == [0, 1, 2, 4, 5]
    assert [each.statement.kind for each in proven.entries] == [
        "trust-anchor",
        "contract",
        "signature",
        "executed",
        "approval",
    ]
    assert [each.document for each in proven.entries] == [None, b"0", b"1", None, None]
    assert {b"0", b"1", b"loose"} == set(proven.documents.values())
    assert proven.inputs == {"a": b"b"}
    assert [each.index for each in proven.of_kind("signature", issuer=hospital.did)] == [2]
    assert list(proven.of_kind("signature", issuer=trusted.service)) == []


def test_bundle_without_the_first_entry_is_accepted(bundle: Bundle, trusted: TrustedLog) -> None:
    rest = tuple(each for each in bundle.entries if each.index)
    assert len(_verify(replace(bundle, entries=rest), trusted).entries) == 4


def test_another_root_is_refused(bundle: Bundle) -> None:
    _, other = log_keys()
    with pytest.raises(IdentityError, match="root fingerprint"):
        _verify(bundle, other)


def test_certificates_must_be_valid_at_the_time_asked_for(
    bundle: Bundle, trusted: TrustedLog
) -> None:
    with pytest.raises(IdentityError, match="validity"):
        _verify(bundle, trusted, at=NOW + YEAR + 1)


def test_log_of_another_root_with_the_same_origin_is_refused(
    bundle: Bundle, trusted: TrustedLog
) -> None:
    impostor, other = log_keys()
    with pytest.raises(VerificationError, match="checkpoint: signature"):
        _verify(replace(bundle, trust=impostor.document), other)


def _change_entry(bundle: Bundle, place: int, **change: object) -> Bundle:
    entries = tuple(
        replace(each, **change) if each.index == place else each  # type: ignore[arg-type]
        for each in bundle.entries
    )
    return replace(bundle, entries=entries)


def _entry(bundle: Bundle, index: int) -> BundleEntry:
    return next(each for each in bundle.entries if each.index == index)


def test_receipt_of_another_entry_is_refused(bundle: Bundle, trusted: TrustedLog) -> None:
    swapped = _change_entry(bundle, 1, receipt=_entry(bundle, 2).receipt)
    with pytest.raises(VerificationError, match="receipt"):
        _verify(swapped, trusted)


def test_statement_in_anothers_place_is_refused(bundle: Bundle, trusted: TrustedLog) -> None:
    swapped = _change_entry(bundle, 1, statement=_entry(bundle, 2).statement)
    with pytest.raises(VerificationError, match="receipt"):
        _verify(swapped, trusted)


def test_order_of_events_cannot_be_changed(bundle: Bundle, trusted: TrustedLog) -> None:
    with pytest.raises(VerificationError, match="receipt: index"):
        _verify(_change_entry(bundle, 4, index=3), trusted)


def test_entry_is_there_once(bundle: Bundle, trusted: TrustedLog) -> None:
    twice = replace(bundle, entries=(*bundle.entries, bundle.entries[0]))
    with pytest.raises(VerificationError, match="each once"):
        _verify(twice, trusted)


def test_statement_that_was_never_registered_is_refused(
    bundle: Bundle, trusted: TrustedLog, hospital: Identity
) -> None:
    forged = signed(hospital, document=b"forged", kind="approval")
    with pytest.raises(VerificationError, match="receipt"):
        _verify(_change_entry(bundle, 5, statement=forged), trusted)


def test_statement_with_a_changed_byte_is_refused(bundle: Bundle, trusted: TrustedLog) -> None:
    data = bytearray(_entry(bundle, 1).statement)
    data[-1] ^= 1
    with pytest.raises(LedgerError):
        _verify(_change_entry(bundle, 1, statement=bytes(data)), trusted)


def test_document_is_the_one_that_was_signed(bundle: Bundle, trusted: TrustedLog) -> None:
    # Another document has another digest, and so is no statement's.
    other = Bundle.of(
        trust=bundle.trust,
        checkpoint=bundle.checkpoint,
        entries=bundle.entries,
        documents=[b"another contract"],
    )
    assert [each.document for each in _verify(other, trusted).entries] == [None] * 5


def test_checkpoint_of_another_state_is_refused(
    bundle: Bundle, trusted: TrustedLog, keys: LogKeys
) -> None:
    state = parse_checkpoint(bundle.checkpoint)
    for size, root in ((state.tree_size, bytes(32)), (state.tree_size - 1, state.root)):
        note = sign_checkpoint(Checkpoint(ORIGIN, size, root), key=keys.checkpoint_key)
        with pytest.raises(VerificationError, match=r"root|size"):
            _verify(replace(bundle, checkpoint=note), trusted)


def test_checkpoint_by_another_key_is_refused(bundle: Bundle, trusted: TrustedLog) -> None:
    other, _ = log_keys()
    note = sign_checkpoint(parse_checkpoint(bundle.checkpoint), key=other.checkpoint_key)
    with pytest.raises(VerificationError, match="checkpoint: signature"):
        _verify(replace(bundle, checkpoint=note), trusted)


def test_earlier_receipt_needs_a_consistency_proof(
    sequencer: Sequencer, hospital: Identity, trusted: TrustedLog
) -> None:
    done = [sequencer.register(signed(hospital, document=b"%d" % number)) for number in range(5)]
    early = done[1]
    made = _change_entry(sequencer.bundle([early.index, 4]), early.index, receipt=early.receipt)
    with pytest.raises(VerificationError, match="a proof from 3 to 6"):
        _verify(made, trusted)
    proof = ConsistencyProof(3, 6, sequencer.consistency(3))
    assert len(_verify(replace(made, consistency=(proof,)), trusted).entries) == 2
    for wrong in (
        replace(proof, path=proof.path[:-1]),
        replace(proof, path=proof.path[::-1]),
        replace(proof, second=5),
        ConsistencyProof(2, 6, sequencer.consistency(2)),
    ):
        with pytest.raises(VerificationError):
            _verify(replace(made, consistency=(wrong,)), trusted)


def test_log_that_shows_two_histories_is_caught(
    bundle: Bundle, trusted: TrustedLog, keys: LogKeys, hospital: Identity
) -> None:
    """The log itself signs a receipt for a tree that its checkpoint does not know."""
    data = signed(hospital, document=b"behind your back")
    tree = Tree()
    for number in range(7):
        tree.append(leaf_hash(data if number == 1 else b"%d" % number))
    root = sign_root(tree.root(), tree_size=7, origin=ORIGIN, key=keys.receipt_key, issued_at=NOW)
    receipt = issue_receipt(root, leaf_index=1, path=tree.inclusion(1))
    with pytest.raises(VerificationError, match="root of the"):
        _verify(_change_entry(bundle, 1, statement=data, receipt=receipt), trusted)


def _genesis(keys: LogKeys, signer: Identity, **change: str) -> Bundle:
    """A log whose first entry is by `signer`."""
    tree = Tree()
    data = signed(signer, **{"kind": "trust-anchor", "subject": f"urn:depa:log:{ORIGIN}"} | change)  # type: ignore[arg-type]
    tree.append(leaf_hash(data))
    tree.append(leaf_hash(b"second"))
    root = sign_root(tree.root(), tree_size=2, origin=ORIGIN, key=keys.receipt_key, issued_at=NOW)
    receipt = issue_receipt(root, leaf_index=0, path=tree.inclusion(0))
    note = sign_checkpoint(Checkpoint(ORIGIN, 2, tree.root()), key=keys.checkpoint_key)
    entries = [BundleEntry(0, data, receipt)]
    return Bundle.of(trust=keys.document, checkpoint=note, entries=entries)


def test_first_entry_must_be_the_services(keys: LogKeys, trusted: TrustedLog) -> None:
    _verify(_genesis(keys, keys.identity), trusted)
    for signer in (party("Operator"), enclave()):
        with pytest.raises(VerificationError, match="first entry"):
            _verify(_genesis(keys, signer), trusted)
    for change in ({"kind": "contract"}, {"subject": "urn:depa:log:other"}):
        with pytest.raises(VerificationError, match="first entry"):
            _verify(_genesis(keys, keys.identity, **change), trusted)
