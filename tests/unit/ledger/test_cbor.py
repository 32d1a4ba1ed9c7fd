from __future__ import annotations

import cbor2
import pytest

from ledger import cbor
from ledger.errors import FormatError


def _decode(data: bytes, *, deterministic: bool = True, limit: int = 1000) -> object:
    return cbor.decode(data, what="thing", limit=limit, deterministic=deterministic)


def test_maps_are_ordered_by_the_bytes_of_their_keys() -> None:
    value = {"a": 1, -1: 2, 395: 3, 15: 4, 1: 5}
    expected = b"\xa5\x01\x05\x0f\x04\x19\x01\x8b\x03\x20\x02\x61a\x01"
    assert cbor.encode(value) == expected
    assert _decode(expected) == value


def test_what_is_encoded_is_decoded() -> None:
    value = [1, -1, 2**64 - 1, b"x", "y", True, None, {1: [2, {3: 4}]}]
    assert _decode(cbor.encode(value)) == value


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param("01 00", "after the end", id="trailing bytes"),
        pytest.param("a2 01 02 01 03", "strict", id="duplicate key"),
        pytest.param("9f 01 ff", "strict", id="indefinite array"),
        pytest.param("bf 01 02 ff", "strict", id="indefinite map"),
        pytest.param("5f 41 61 ff", "strict", id="indefinite bytes"),
        pytest.param("18 01", "deterministic", id="number not in its shortest form"),
        pytest.param("58 01 61", "deterministic", id="length not in its shortest form"),
        pytest.param("a2 02 00 01 00", "deterministic", id="keys out of order"),
        pytest.param("f9 3c 00", "float", id="float"),
        pytest.param("f7", "Undefined", id="undefined"),
        pytest.param("a1 f5 00", "map key", id="boolean key"),
        pytest.param("a1 41 61 00", "map key", id="bytes as key"),
        pytest.param("c1 00", "datetime", id="time"),
        pytest.param("81 d2 80", "CBORTag", id="tag inside"),
        pytest.param("c2 49 01 00 00 00 00 00 00 00 00", "64 bits", id="big number"),
        pytest.param("c2 41 01", "deterministic", id="number as big number"),
        pytest.param("d9 01 02 81 01", "set", id="set"),
        pytest.param("61 ff", "strict", id="text that is not UTF-8"),
        pytest.param("82 01", "strict", id="cut off"),
        pytest.param("", "strict", id="nothing"),
        pytest.param("d8 1c 81 d8 1d 00", "accepted|nested|strict", id="array within itself"),
        pytest.param("81" * 13 + "00", "strict|nested", id="nested too deep"),
        pytest.param("5a ff ff ff ff 00", "strict", id="length beyond the end"),
    ],
)
def test_other_encodings_are_refused(data: str, reason: str) -> None:
    with pytest.raises(FormatError, match=reason):
        _decode(bytes.fromhex(data.replace(" ", "")))


def test_order_of_keys_is_free_where_it_is_said_so() -> None:
    assert _decode(bytes.fromhex("a202000100"), deterministic=False) == {2: 0, 1: 0}


def test_limit_is_kept() -> None:
    assert _decode(b"\x41a", limit=2) == b"a"
    with pytest.raises(FormatError, match="2 bytes, at most 1"):
        _decode(b"\x41a", limit=1)


def test_tag_is_kept_at_the_top() -> None:
    assert _decode(b"\xd2\x81\xa1\x01\x80") == cbor2.CBORTag(18, [{1: []}])
