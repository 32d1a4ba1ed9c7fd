from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest

from ledger.errors import VerificationError
from ledger.merkle import (
    EMPTY_ROOT,
    Tree,
    leaf_hash,
    node_hash,
    verify_consistency,
    verify_inclusion,
)
from tests.unit.ledger.makers import VECTORS

_CASES: dict[str, list[dict[str, Any]]] = json.loads((VECTORS / "merkle/proofs.json").read_bytes())[
    "cases"
]


def _decode(case: dict[str, Any], name: str) -> bytes:
    return base64.b64decode(case[name])


def _path(case: dict[str, Any]) -> list[bytes]:
    return [base64.b64decode(item) for item in case["proof"] or []]


def _check_inclusion(case: dict[str, Any]) -> None:
    verify_inclusion(
        _decode(case, "leafHash"),
        index=case["leafIdx"],
        size=case["treeSize"],
        path=_path(case),
        root=_decode(case, "root"),
    )


def _check_consistency(case: dict[str, Any]) -> None:
    verify_consistency(
        first=case["size1"],
        second=case["size2"],
        first_root=_decode(case, "root1"),
        second_root=_decode(case, "root2"),
        path=_path(case),
    )


_CHECKS = {"inclusion": _check_inclusion, "consistency": _check_consistency}


@pytest.mark.parametrize(
    ("check", "case"),
    [
        pytest.param(_CHECKS[k], c, id=c["name"])
        for k in _CHECKS
        for c in _CASES[k]
        if not c["wantErr"]
    ],
)
def test_good_vector_is_accepted(check: Any, case: dict[str, Any]) -> None:
    check(case)


@pytest.mark.parametrize(
    ("check", "case"),
    [pytest.param(_CHECKS[k], c, id=c["name"]) for k in _CHECKS for c in _CASES[k] if c["wantErr"]],
)
def test_bad_vector_is_refused(check: Any, case: dict[str, Any]) -> None:
    with pytest.raises(VerificationError):
        check(case)


def test_vectors_are_all_there() -> None:
    assert (len(_CASES["inclusion"]), len(_CASES["consistency"])) == (49, 49)


def test_hashes_are_those_of_rfc_9162() -> None:
    assert hashlib.sha256().digest() == EMPTY_ROOT
    assert leaf_hash(b"x") == hashlib.sha256(b"\x00x").digest()
    assert (
        node_hash(b"l" * 32, b"r" * 32) == hashlib.sha256(b"\x01" + b"l" * 32 + b"r" * 32).digest()
    )


def test_leaf_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Tree().append(b"short")
    with pytest.raises(VerificationError, match="hash length"):
        verify_inclusion(b"short", index=0, size=1, path=[], root=b"short")


def test_truncated_tree_is_the_earlier_tree() -> None:
    tree, earlier = Tree(), Tree()
    for number in range(21):
        tree.append(leaf_hash(b"%d" % number))
        if number < 13:
            earlier.append(leaf_hash(b"%d" % number))
    tree.truncate(13)
    assert len(tree) == 13
    assert tree.root() == earlier.root()
    tree.append(leaf_hash(b"other"))
    earlier.append(leaf_hash(b"other"))
    assert tree.root() == earlier.root()


@pytest.mark.parametrize(("index", "size"), [(-1, 3), (3, 3), (0, 4), (0, -1)])
def test_no_proof_for_what_is_not_in_the_tree(index: int, size: int) -> None:
    tree = Tree()
    for number in range(3):
        tree.append(leaf_hash(b"%d" % number))
    with pytest.raises(ValueError, match="no "):
        tree.inclusion(index, size=size)


@pytest.mark.parametrize(("first", "second"), [(0, 3), (-1, 2), (3, 2), (1, 4)])
def test_no_consistency_proof_for_other_sizes(first: int, second: int) -> None:
    tree = Tree()
    for number in range(3):
        tree.append(leaf_hash(b"%d" % number))
    with pytest.raises(ValueError, match="no "):
        tree.consistency(first, second=second)


def test_leaf_is_what_was_appended() -> None:
    tree = Tree()
    tree.append(leaf_hash(b"a"))
    assert tree.append(leaf_hash(b"b")) == 1
    assert tree.leaf(1) == leaf_hash(b"b")
