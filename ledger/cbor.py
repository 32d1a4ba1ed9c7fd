"""The part of CBOR that the log reads and writes: RFC 8949, one encoding for one value.

cbor2 does the work; what it lets pass is refused here: trailing bytes, types outside the JSON-like
subset, and, where a document must have one encoding only, anything that is not the deterministic
one (section 4.2.1).
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TypeAlias

import cbor2

from ledger.errors import FormatError

Tagged: TypeAlias = cbor2.CBORTag

_MAX_DEPTH = 12
_UINT64 = 1 << 64


def encode(value: object) -> bytes:
    """Return the deterministic encoding of `value`: shortest forms, map keys in bytewise order."""
    return cbor2.dumps(_ordered(value))


def decode(data: bytes, *, what: str, limit: int, deterministic: bool = True) -> object:
    """Return the one value that `data` encodes.

    Args:
        data: Everything of it is consumed.
        what: Name of the thing, for messages.
        limit: Largest accepted length in bytes.
        deterministic: Refuse every other encoding of the same value.

    Raises:
        FormatError: On anything else.
    """
    if len(data) > limit:
        raise FormatError(f"{what}: {len(data)} bytes, at most {limit} are accepted")
    stream = io.BytesIO(data)
    try:
        value = cbor2.load(
            stream,
            max_depth=_MAX_DEPTH,
            allow_indefinite=False,
            allow_duplicate_keys=False,
            read_size=1,
        )
    except (
        cbor2.CBORError,
        ValueError,
        TypeError,
        OverflowError,
        RecursionError,
        MemoryError,
    ) as error:
        raise FormatError(f"{what}: not strict CBOR ({type(error).__name__})") from error
    if stream.tell() != len(data):
        raise FormatError(f"{what}: {len(data) - stream.tell()} bytes after the end")
    value = _plain(value, what=what)
    if deterministic and encode(value) != data:
        raise FormatError(
            f"{what}: not the deterministic encoding",
            hint="RFC 8949 section 4.2.1: shortest lengths, map keys in bytewise order",
        )
    return value


def _ordered(value: object) -> object:
    if isinstance(value, Mapping):
        pairs = sorted((cbor2.dumps(key), key, item) for key, item in value.items())
        return {key: _ordered(item) for _, key, item in pairs}
    if isinstance(value, list | tuple):
        return [_ordered(item) for item in value]
    if isinstance(value, cbor2.CBORTag):
        return cbor2.CBORTag(value.tag, _ordered(value.value))
    return value


def _plain(value: object, *, what: str, depth: int = 0) -> object:
    """Return `value` made of lists and dicts; raise if anything is not of the accepted types.

    The depth is bounded here as well, since a shared reference can make a cycle.
    """
    if depth > _MAX_DEPTH:
        raise FormatError(f"{what}: nested deeper than {_MAX_DEPTH}")
    if value is None or isinstance(value, bool | bytes | str):
        return value
    if isinstance(value, int):
        if not -_UINT64 <= value < _UINT64:
            raise FormatError(f"{what}: an integer beyond 64 bits")
        return value
    # cbor2 gives tuples and frozen maps inside a tag, lists and dicts elsewhere.
    if isinstance(value, list | tuple):
        return [_plain(item, what=what, depth=depth + 1) for item in value]
    if isinstance(value, Mapping):
        if any(isinstance(key, bool) or not isinstance(key, int | str) for key in value):
            raise FormatError(f"{what}: a map key that is neither an integer nor text")
        return {key: _plain(item, what=what, depth=depth + 1) for key, item in value.items()}
    if isinstance(value, cbor2.CBORTag) and depth == 0:
        return cbor2.CBORTag(value.tag, _plain(value.value, what=what, depth=depth + 1))
    raise FormatError(f"{what}: {type(value).__name__} is not accepted")
