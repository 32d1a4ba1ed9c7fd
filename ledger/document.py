"""JSON documents of the log itself, such as a bundle: closed, bounded, canonical (RFC 8785)."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Collection, Mapping
from typing import Any

import rfc8785

from ledger.errors import FormatError


def encode(value: Mapping[str, Any]) -> bytes:
    """Return the canonical bytes of `value` (RFC 8785)."""
    return rfc8785.dumps(dict(value))


def parse(data: bytes, *, what: str, limit: int) -> dict[str, Any]:
    """Return the object that `data` is the canonical encoding of.

    Raises:
        FormatError: If it is larger than `limit` bytes, not JSON, not an object or not canonical,
            which
            refuses duplicate keys and anything before or after as well.
    """
    if len(data) > limit:
        raise FormatError(f"{what}: {len(data)} bytes, at most {limit} are accepted")
    try:
        value = json.loads(data)
        canonical = isinstance(value, dict) and rfc8785.dumps(value) == data
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{what}: not JSON") from error
    if not canonical:
        raise FormatError(
            f"{what}: not a canonical JSON object", hint="RFC 8785: sorted keys, no spaces"
        )
    return dict(value)


def require_keys(value: Mapping[str, Any], *, what: str, keys: Collection[str]) -> None:
    """Raise unless `value` has exactly these keys.

    Raises:
        FormatError: With what is missing and what is unknown.
    """
    missing, unknown = sorted(set(keys) - set(value)), sorted(set(value) - set(keys))
    if missing or unknown:
        raise FormatError(f"{what}: missing {missing}, unknown {unknown}")


def to_base64(data: bytes) -> str:
    """Return standard base64 with padding (RFC 4648 section 4)."""
    return base64.b64encode(data).decode()


def from_base64(value: object, *, what: str, limit: int) -> bytes:
    """Return the bytes that `value` encodes; only the one encoding of them is accepted.

    Raises:
        FormatError: If it is not text, not base64, or longer than `limit` bytes.
    """
    if not isinstance(value, str):
        raise FormatError(f"{what}: not text")
    if len(value) > (limit + 2) // 3 * 4:
        raise FormatError(f"{what}: at most {limit} bytes are accepted")
    try:
        data = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise FormatError(f"{what}: not base64") from error
    if to_base64(data) != value:
        raise FormatError(f"{what}: not the canonical base64")
    return data
