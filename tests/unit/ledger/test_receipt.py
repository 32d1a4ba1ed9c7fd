from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from ledger import cose
from ledger.errors import FormatError, VerificationError
from ledger.merkle import Tree, leaf_hash
from ledger.receipt import (
    Consistency,
    Inclusion,
    TrustedKeys,
    issue_receipt,
    parse_receipt,
    sign_root,
    verify_receipt,
)
from tests.unit.ledger.makers import NOW, ORIGIN, P256, VECTORS

_KEY = ec.generate_private_key(P256)
_TRUSTED = TrustedKeys.of(ORIGIN, _KEY.public_key())
_LEAVES = [leaf_hash(b"%d" % number) for number in range(5)]


@pytest.fixture(scope="module")
def tree() -> Tree:
    tree = Tree()
    for leaf in _LEAVES:
        tree.append(leaf)
    return tree


def _receipt(
    tree: Tree, index: int, *, key: ec.EllipticCurvePrivateKey = _KEY, origin: str = ORIGIN
) -> bytes:
    signed = sign_root(tree.root(), tree_size=len(tree), origin=origin, key=key, issued_at=NOW)
    return issue_receipt(signed, leaf_index=index, path=tree.inclusion(index))


def test_receipt_proves_every_place(tree: Tree) -> None:
    for index, leaf in enumerate(_LEAVES):
        claims = verify_receipt(_receipt(tree, index), leaf_hash=leaf, keys=_TRUSTED)
        assert (claims.origin, claims.leaf_index, claims.tree_size) == (ORIGIN, index, 5)
        assert (claims.root, claims.issued_at) == (tree.root(), NOW)


def test_receipts_of_one_size_share_their_signature(tree: Tree) -> None:
    signed = sign_root(tree.root(), tree_size=5, origin=ORIGIN, key=_KEY, issued_at=NOW)
    first, second = (
        issue_receipt(signed, leaf_index=index, path=tree.inclusion(index)) for index in (0, 1)
    )
    assert cbor2.loads(first).value[3] == cbor2.loads(second).value[3]


def test_receipt_is_shaped_as_rfc_9942_says(tree: Tree) -> None:
    message = cbor2.loads(_receipt(tree, 3))
    assert message.tag == 18
    protected, unprotected, payload, _ = message.value
    header = cbor2.loads(protected)
    assert header == {
        1: -7,
        4: cose.thumbprint(_KEY.public_key()),
        15: {1: ORIGIN, 6: NOW},
        395: 1,
    }
    assert payload is None
    assert list(unprotected) == [396]
    assert list(unprotected[396]) == [-1]
    [proof] = unprotected[396][-1]
    assert cbor2.loads(proof) == [5, 3, list(tree.inclusion(3))]


def test_example_receipts_of_rfc_9942_are_parsed() -> None:
    inclusion = parse_receipt((VECTORS / "receipts/inclusion-receipt.cbor").read_bytes())
    assert isinstance(inclusion.proof, Inclusion)
    assert (inclusion.proof.tree_size, inclusion.proof.leaf_index) == (5, 3)
    assert [item.hex()[:8] for item in inclusion.proof.path] == ["3d06455d", "33a52117", "4d75742d"]
    assert inclusion.issuer == "https://transparency-service.example.com"
    assert inclusion.key_id == b"test-key-1"
    consistency = parse_receipt((VECTORS / "receipts/consistency-receipt.cbor").read_bytes())
    assert isinstance(consistency.proof, Consistency)
    assert (consistency.proof.first, consistency.proof.second) == (3, 5)
    assert len(consistency.proof.path) == 4


def test_receipt_of_consistency_proves_no_inclusion() -> None:
    data = (VECTORS / "receipts/consistency-receipt.cbor").read_bytes()
    with pytest.raises(FormatError, match="consistency"):
        verify_receipt(data, leaf_hash=_LEAVES[0], keys=_TRUSTED)


def test_receipt_of_another_statement_is_refused(tree: Tree) -> None:
    for index, leaf in enumerate(_LEAVES):
        with pytest.raises(VerificationError):
            verify_receipt(_receipt(tree, (index + 1) % 5), leaf_hash=leaf, keys=_TRUSTED)
    with pytest.raises(VerificationError, match="receipt: signature"):
        verify_receipt(_receipt(tree, 0), leaf_hash=leaf_hash(b"other"), keys=_TRUSTED)


def test_receipt_by_another_key_is_refused(tree: Tree) -> None:
    other = ec.generate_private_key(P256)
    with pytest.raises(VerificationError, match="receipt: key"):
        verify_receipt(_receipt(tree, 0, key=other), leaf_hash=_LEAVES[0], keys=_TRUSTED)
    # With the key id of the trusted key, the signature is what is wrong.
    forged = TrustedKeys(ORIGIN, {cose.thumbprint(other.public_key()): _KEY.public_key()})
    with pytest.raises(VerificationError, match="receipt: signature"):
        verify_receipt(_receipt(tree, 0, key=other), leaf_hash=_LEAVES[0], keys=forged)


def test_receipt_of_another_log_is_refused_even_with_the_same_key(tree: Tree) -> None:
    with pytest.raises(VerificationError, match="origin"):
        verify_receipt(
            _receipt(tree, 0, origin="other.example"), leaf_hash=_LEAVES[0], keys=_TRUSTED
        )


def test_receipt_of_a_rewritten_tree_is_refused(tree: Tree) -> None:
    rewritten = Tree()
    for leaf in (*_LEAVES[:4], leaf_hash(b"other")):
        rewritten.append(leaf)
    message = cbor2.loads(_receipt(tree, 0))
    protected, _, _, signature = message.value
    proof = cbor2.dumps([5, 0, list(rewritten.inclusion(0))])
    forged = cbor2.CBORTag(18, [protected, {396: {-1: [proof]}}, None, signature])
    with pytest.raises(VerificationError, match="receipt: signature"):
        verify_receipt(cbor2.dumps(forged), leaf_hash=_LEAVES[0], keys=_TRUSTED)


def test_index_and_size_of_a_receipt_cannot_be_changed(tree: Tree) -> None:
    for index in range(5):
        protected, unprotected, _, signature = cbor2.loads(_receipt(tree, index)).value
        size, _, path = cbor2.loads(unprotected[396][-1][0])
        for other in [(size, each) for each in range(9) if each != index] + [
            (9, index),
            (0, index),
        ]:
            proof = cbor2.dumps([*other, path])
            forged = cbor2.CBORTag(18, [protected, {396: {-1: [proof]}}, None, signature])
            with pytest.raises(VerificationError):
                verify_receipt(cbor2.dumps(forged), leaf_hash=_LEAVES[index], keys=_TRUSTED)


def test_only_leaf_has_no_receipt() -> None:
    signed = sign_root(_LEAVES[0], tree_size=1, origin=ORIGIN, key=_KEY, issued_at=NOW)
    with pytest.raises(FormatError, match="one leaf"):
        issue_receipt(signed, leaf_index=0, path=[])


def _forge(tree: Tree, change: Callable[[dict[Any, Any], list[Any]], object]) -> bytes:
    """A receipt whose header and body are changed, and then signed as they are."""
    protected, unprotected, payload, _ = cbor2.loads(_receipt(tree, 3)).value
    header: dict[Any, Any] = dict(cbor2.loads(protected))
    body: list[Any] = [b"", {396: {-1: list(unprotected[396][-1])}}, payload, b""]
    change(header, body)
    body[0] = cbor2.dumps(header)
    tbs = cbor2.dumps(["Signature1", body[0], b"", tree.root()])
    body[3] = cose.sign(tbs, key=_KEY)
    return cbor2.dumps(cbor2.CBORTag(18, body))


def test_unchanged_forgery_is_a_receipt(tree: Tree) -> None:
    data = _forge(tree, lambda _, __: None)
    verify_receipt(data, leaf_hash=_LEAVES[3], keys=_TRUSTED)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param(lambda h, _: h.update({395: 2}), "vds", id="tree of another kind"),
        pytest.param(lambda h, _: h.pop(395), "protected", id="no kind of tree"),
        pytest.param(lambda h, _: h.pop(4), "protected", id="no key id"),
        pytest.param(lambda h, _: h.pop(15), "protected", id="no issuer"),
        pytest.param(lambda h, _: h.update({15: {}}), "claims", id="empty claims"),
        pytest.param(lambda h, _: h.update({15: {1: 1}}), "claims", id="issuer is a number"),
        pytest.param(lambda h, _: h.update({15: {1: "a", 2: "b"}}), "claims", id="another claim"),
        pytest.param(lambda h, _: h.update({15: {1: "a", 6: -1}}), "claims", id="negative time"),
        pytest.param(lambda h, _: h.update({1: "x"}), "alg", id="algorithm as text"),
        pytest.param(lambda h, _: h.update({2: [1]}), "critical", id="critical header"),
        pytest.param(lambda h, _: h.update({99: 1}), "protected", id="unknown header"),
        pytest.param(lambda _, b: b.__setitem__(2, b"root"), "detached", id="payload inside"),
        pytest.param(lambda _, b: b.__setitem__(1, {}), "unprotected", id="no proofs"),
        pytest.param(lambda _, b: b[1].update({399: 1}), "unprotected", id="unknown unprotected"),
        pytest.param(lambda _, b: b[1].update({396: [1]}), "proofs", id="proofs are no map"),
        pytest.param(lambda _, b: b[1].update({396: {-1: []}}), "exactly one", id="no proof"),
        pytest.param(
            lambda _, b: b[1].update({396: {-1: b[1][396][-1] * 2}}), "exactly one", id="two proofs"
        ),
        pytest.param(
            lambda _, b: b[1].update({396: {-1: [b"\x80"]}}), "proof is not", id="empty proof"
        ),
        pytest.param(
            lambda _, b: b[1].update({396: {-1: [b"\x83\x05\x03\x80"]}}),
            "one hash",
            id="empty path",
        ),
        pytest.param(
            lambda _, b: b[1].update({396: {-1: [b"\x83\xf5\x03\x81\x40"]}}),
            "proof",
            id="size true",
        ),
        pytest.param(
            lambda _, b: b[1].update({396: {-1: [b"\x83\x05\x03\x81\x40"]}}),
            "32 bytes",
            id="no hash",
        ),
        pytest.param(
            lambda _, b: b[1].update({396: {-7: b[1][396][-1]}}), "kind", id="kind of proof"
        ),
        pytest.param(
            lambda _, b: b[1].update({396: {-1: [b[1][396][-1][0] + b"\0"]}}),
            "after the end",
            id="trailing byte in the proof",
        ),
    ],
)
def test_malformed_receipt_is_refused(tree: Tree, change: Any, reason: str) -> None:
    with pytest.raises(FormatError, match=reason):
        verify_receipt(_forge(tree, change), leaf_hash=_LEAVES[3], keys=_TRUSTED)


def test_receipt_with_another_algorithm_is_refused(tree: Tree) -> None:
    data = _forge(tree, lambda h, _: h.update({1: -35}))
    with pytest.raises(VerificationError, match="algorithm"):
        verify_receipt(data, leaf_hash=_LEAVES[3], keys=_TRUSTED)


def test_bytes_around_a_receipt_are_refused(tree: Tree) -> None:
    data = _receipt(tree, 0)
    for each in (data + b"\0", data[:-1], data[1:], b""):
        with pytest.raises(FormatError):
            verify_receipt(each, leaf_hash=_LEAVES[0], keys=_TRUSTED)
