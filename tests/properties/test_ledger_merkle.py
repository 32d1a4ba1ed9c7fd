"""The tree against the recursive definitions of RFC 9162, for every size up to 64."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.errors import VerificationError
from ledger.merkle import Tree, leaf_hash, verify_consistency, verify_inclusion

_SIZE = 64
_LEAVES = [leaf_hash(b"leaf %d" % number) for number in range(_SIZE)]


def _split(width: int) -> int:
    half = 1
    while half * 2 < width:
        half *= 2
    return half


def _root(leaves: list[bytes]) -> bytes:
    if len(leaves) == 1:
        return leaves[0]
    half = _split(len(leaves))
    return hashlib.sha256(b"\x01" + _root(leaves[:half]) + _root(leaves[half:])).digest()


def _path(index: int, leaves: list[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    half = _split(len(leaves))
    if index < half:
        return [*_path(index, leaves[:half]), _root(leaves[half:])]
    return [*_path(index - half, leaves[half:]), _root(leaves[:half])]


def _subproof(first: int, leaves: list[bytes], *, whole: bool) -> list[bytes]:
    if first == len(leaves):
        return [] if whole else [_root(leaves)]
    half = _split(len(leaves))
    if first <= half:
        return [*_subproof(first, leaves[:half], whole=whole), _root(leaves[half:])]
    return [*_subproof(first - half, leaves[half:], whole=False), _root(leaves[:half])]


@pytest.fixture(scope="module")
def tree() -> Tree:
    tree = Tree()
    for leaf in _LEAVES:
        tree.append(leaf)
    return tree


@pytest.fixture(scope="module")
def roots() -> dict[int, bytes]:
    return {size: _root(_LEAVES[:size]) for size in range(1, _SIZE + 1)}


def test_every_root_is_the_recursive_one(tree: Tree, roots: dict[int, bytes]) -> None:
    growing = Tree()
    for size in range(1, _SIZE + 1):
        growing.append(_LEAVES[size - 1])
        assert growing.root() == tree.root(size=size) == roots[size]


def test_every_inclusion_path_is_the_recursive_one(tree: Tree, roots: dict[int, bytes]) -> None:
    for size in range(1, _SIZE + 1):
        for index in range(size):
            path = tree.inclusion(index, size=size)
            assert list(path) == _path(index, _LEAVES[:size])
            verify_inclusion(_LEAVES[index], index=index, size=size, path=path, root=roots[size])


def test_every_consistency_path_is_the_recursive_one(tree: Tree, roots: dict[int, bytes]) -> None:
    for second in range(1, _SIZE + 1):
        for first in range(1, second + 1):
            path = tree.consistency(first, second=second)
            assert list(path) == _subproof(first, _LEAVES[:second], whole=True)
            verify_consistency(
                first=first,
                second=second,
                first_root=roots[first],
                second_root=roots[second],
                path=path,
            )


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_path_proves_no_other_leaf_place_or_size(data: st.DataObject) -> None:
    tree = Tree()
    size = data.draw(st.integers(2, _SIZE))
    for leaf in _LEAVES[:size]:
        tree.append(leaf)
    index = data.draw(st.integers(0, size - 1))
    path, root = tree.inclusion(index), tree.root()
    other = data.draw(st.integers(0, size - 1).filter(lambda each: each != index))
    for leaf, place in ((_LEAVES[other], index), (_LEAVES[index], other)):
        with pytest.raises(VerificationError):
            verify_inclusion(leaf, index=place, size=size, path=path, root=root)
    position = data.draw(st.integers(0, len(path) - 1))
    for changed in (
        path[:position],
        (*path, path[position]),
        (*path[:position], root, *path[position + 1 :]),
    ):
        with pytest.raises(VerificationError):
            verify_inclusion(_LEAVES[index], index=index, size=size, path=changed, root=root)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_rewritten_log_has_no_consistency_proof(data: st.DataObject) -> None:
    second = data.draw(st.integers(2, _SIZE))
    first = data.draw(st.integers(1, second))
    changed = data.draw(st.integers(0, first - 1))
    before, after = Tree(), Tree()
    for number, leaf in enumerate(_LEAVES[:second]):
        if number < first:
            before.append(leaf)
        after.append(leaf_hash(b"rewritten") if number == changed else leaf)
    with pytest.raises(VerificationError):
        verify_consistency(
            first=first,
            second=second,
            first_root=before.root(),
            second_root=after.root(),
            path=after.consistency(first),
        )
