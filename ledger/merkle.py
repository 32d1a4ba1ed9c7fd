"""The Merkle tree of RFC 9162 with SHA-256: hashes, and proofs of inclusion and consistency.

A verifier needs only the functions; a log keeps a `Tree`. What a leaf contains is no business of
this module.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from ledger.errors import VerificationError

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()


def leaf_hash(entry: bytes) -> bytes:
    """Return the 32 byte hash of a leaf (RFC 9162 section 2.1.1)."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the 32 byte hash of an inner node (RFC 9162 section 2.1.1)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Tree:
    """An append-only tree that answers for every size it ever had.

    Every complete subtree's hash is kept (64 bytes a leaf in all), so that a proof of any earlier
    size costs O(log² size) look-ups. Not safe for use by several threads at once.
    """

    def __init__(self) -> None:
        self._levels: list[bytearray] = [bytearray()]

    def __len__(self) -> int:
        return len(self._levels[0]) // HASH_BYTES

    def append(self, leaf: bytes) -> int:
        """Add a leaf hash and return its index.

        Raises:
            ValueError: If `leaf` is not 32 bytes long.
        """
        if len(leaf) != HASH_BYTES:
            raise ValueError(f"a leaf hash is {HASH_BYTES} bytes, not {len(leaf)}")
        index = len(self)
        level, node = 0, leaf
        while True:
            if level == len(self._levels):
                self._levels.append(bytearray())
            row = self._levels[level]
            row += node
            if (len(row) // HASH_BYTES) % 2:
                return index
            node = node_hash(bytes(row[-2 * HASH_BYTES : -HASH_BYTES]), bytes(row[-HASH_BYTES:]))
            level += 1

    def truncate(self, size: int) -> None:
        """Forget every leaf from index `size` on, as after a commit that failed."""
        self._check_size(size)
        for level, row in enumerate(self._levels):
            del row[(size >> level) * HASH_BYTES :]

    def leaf(self, index: int) -> bytes:
        """Return the leaf hash at `index`."""
        self._check_size(index + 1)
        return self._node(0, index)

    def root(self, *, size: int | None = None) -> bytes:
        """Return the root of the first `size` leaves (default: all)."""
        end = len(self) if size is None else self._check_size(size)
        return self._range(0, end) if end else EMPTY_ROOT

    def inclusion(self, index: int, *, size: int | None = None) -> tuple[bytes, ...]:
        """Return the path of leaf `index` in the first `size` leaves (RFC 9162 section 2.1.3.1).

        Raises:
            ValueError: If there is no such leaf.
        """
        end = len(self) if size is None else self._check_size(size)
        if not 0 <= index < end:
            raise ValueError(f"no leaf {index} in a tree of {end}")
        start, path = 0, []
        while end - start > 1:
            middle = start + _split(end - start)
            if index < middle:
                path.append(self._range(middle, end))
                end = middle
            else:
                path.append(self._range(start, middle))
                start = middle
        return tuple(reversed(path))

    def consistency(self, first: int, *, second: int | None = None) -> tuple[bytes, ...]:
        """Return the proof that `second` leaves begin with `first` (RFC 9162 section 2.1.4.1).

        Raises:
            ValueError: Unless 0 < first <= second <= size.
        """
        end = len(self) if second is None else self._check_size(second)
        if not 0 < first <= end:
            raise ValueError(f"no consistency proof from {first} to {end}")
        start, path = 0, []
        while first < end:
            middle = start + _split(end - start)
            if first <= middle:
                path.append(self._range(middle, end))
                end = middle
            else:
                path.append(self._range(start, middle))
                start = middle
        if start:
            path.append(self._range(start, end))
        return tuple(reversed(path))

    def _check_size(self, size: int) -> int:
        if not 0 <= size <= len(self):
            raise ValueError(f"no size {size} in a tree of {len(self)}")
        return size

    def _node(self, level: int, index: int) -> bytes:
        return bytes(self._levels[level][index * HASH_BYTES : (index + 1) * HASH_BYTES])

    def _range(self, start: int, end: int) -> bytes:
        """Hash of leaves start..end; a power of two that covers the range divides `start`."""
        pieces = []
        while (width := end - start) & (width - 1):
            half = _split(width)
            pieces.append(self._node(half.bit_length() - 1, start // half))
            start += half
        node = self._node(width.bit_length() - 1, start // width)
        for left in reversed(pieces):
            node = node_hash(left, node)
        return node


def verify_inclusion(
    leaf: bytes, *, index: int, size: int, path: Sequence[bytes], root: bytes | None = None
) -> bytes:
    """Return the root that `path` proves for `leaf` at `index` of `size`.

    RFC 9162 section 2.1.3.2.

    The caller MUST compare the returned root with a trusted one unless it gives `root`.

    Raises:
        VerificationError: If the path does not fit, or leads to another root than the given one.
    """
    if not 0 <= index < size:
        raise VerificationError("leaf index", expected=f"0 <= index < {size}", got=index)
    _check_hashes(leaf, *path)
    inner = (index ^ (size - 1)).bit_length()
    border = (index >> inner).bit_count()
    if len(path) != inner + border:
        raise VerificationError(
            "inclusion path", expected=f"{inner + border} hashes", got=len(path)
        )
    node = leaf
    for level, sibling in enumerate(path):
        if level < inner and not (index >> level) & 1:
            node = node_hash(node, sibling)
        else:
            node = node_hash(sibling, node)
    if root is not None and node != root:
        raise VerificationError("root of the inclusion path", expected=root.hex(), got=node.hex())
    return node


def verify_consistency(
    *, first: int, second: int, first_root: bytes, second_root: bytes, path: Sequence[bytes]
) -> None:
    """Raise unless the tree of size `second` begins with that of size `first`.

    RFC 9162 section 2.1.4.2.

    Raises:
        VerificationError: If it does not, or if `first` is 0, which would prove nothing.
    """
    if not 0 < first <= second:
        raise VerificationError(
            "tree sizes", expected="0 < first <= second", got=f"{first}, {second}"
        )
    _check_hashes(first_root, second_root, *path)
    if first == second:
        if path:
            raise VerificationError("consistency path", expected="0 hashes", got=len(path))
        old = new = second_root
    else:
        old, new = _consistent_roots(
            first, second, path if first & (first - 1) else (first_root, *path)
        )
    if old != first_root:
        raise VerificationError(
            "root of the earlier tree", expected=first_root.hex(), got=old.hex()
        )
    if new != second_root:
        raise VerificationError("root of the later tree", expected=second_root.hex(), got=new.hex())


def _consistent_roots(first: int, second: int, path: Sequence[bytes]) -> tuple[bytes, bytes]:
    fn, sn = first - 1, second - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    if not path:
        raise VerificationError("consistency path", expected="at least one hash", got=0)
    old = new = path[0]
    for sibling in path[1:]:
        if sn == 0:
            raise VerificationError("consistency path", expected="fewer hashes", got=len(path))
        if fn & 1 or fn == sn:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            new = node_hash(new, sibling)
        fn, sn = fn >> 1, sn >> 1
    if sn:
        raise VerificationError("consistency path", expected="more hashes", got=len(path))
    return old, new


def _check_hashes(*hashes: bytes) -> None:
    for value in hashes:
        if len(value) != HASH_BYTES:
            raise VerificationError("hash length", expected=HASH_BYTES, got=len(value))


def _split(width: int) -> int:
    """Largest power of two smaller than `width` (which is at least 2)."""
    return 1 << ((width - 1).bit_length() - 1)
