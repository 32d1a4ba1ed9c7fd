"""What the report vouches for: these keys, this contract, this run, this pipeline, this nonce."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.attestation.runtime import (
    attested_runtime,
    decode_base64url,
    encode_base64url,
    encode_integer,
    release_key_of,
    report_data_of,
    report_key_of,
)
from policies.wire.base import canonical_json
from tests.simulator import CONTRACT, NONCE, PIPELINE, RUN, Evidence, refusal, room_keys


def runtime() -> dict[str, Any]:
    value: dict[str, Any] = json.loads(Evidence().runtime_data())
    return value


def read(value: dict[str, Any]) -> Any:
    return attested_runtime(value, report_data=report_data_of(canonical_json(value)))


def test_the_runtime_data_are_read_back() -> None:
    found = read(runtime())
    assert (found.contract, found.run, found.pipeline, found.nonce) == (
        CONTRACT,
        RUN,
        PIPELINE,
        NONCE,
    )
    keys = room_keys()
    assert found.release_key.public_numbers() == keys.release.public_key().public_numbers()
    point = keys.report.public_key().public_numbers()
    assert decode_base64url(found.report_key["x"], claim="x") == point.x.to_bytes(32, "big")


def test_the_report_must_be_over_these_data() -> None:
    honest = report_data_of(Evidence().runtime_data())
    other = runtime()
    other["depa"]["contract"] = "sha256:" + "00" * 32
    assert refusal(lambda: attested_runtime(other, report_data=honest)) == "report_data"


def test_the_tail_of_the_report_data_must_be_zero() -> None:
    data = report_data_of(Evidence().runtime_data())
    for tail in (b"\x01" + bytes(31), bytes(31) + b"\x01"):
        bent = data[:32] + tail
        assert refusal(lambda bent=bent: attested_runtime(runtime(), report_data=bent)) == (  # type: ignore[misc]
            "report_data"
        )
    assert refusal(lambda: attested_runtime(runtime(), report_data=data[:32])) == "report_data"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("contract", "c0" * 32),
        ("contract", "sha256:" + "C0" * 32),
        ("contract", None),
        ("pipeline", "sha256:00"),
        ("run", "run-1"),
        ("run", "run-" + "a" * 26 + "\n"),
        ("nonce", "AAAA"),
        ("nonce", 7),
        ("nonce", "!" * 43),
    ],
)
def test_a_malformed_scope_is_refused(name: str, value: object) -> None:
    bent = runtime()
    bent["depa"][name] = value
    assert refusal(lambda: read(bent)) == f"runtime.depa.{name}"


def test_a_scope_with_other_fields_is_refused() -> None:
    scopes: list[Any] = [{}, {**runtime()["depa"], "more": 1}, [], None]
    for scope in scopes:
        bent = {**runtime(), "depa": scope}
        assert refusal(lambda bent=bent: read(bent)) == "runtime.depa"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("change", "claim"),
    [
        ({"kid": "other"}, "runtime.keys.release"),
        ({"kty": "EC"}, "runtime.keys.release"),
        ({"key_ops": ["encrypt", "verify"]}, "runtime.keys.release"),
        ({"n": encode_integer((1 << 1023) + 1)}, "runtime.keys.release"),
        ({"n": encode_integer((1 << 9000) + 1)}, "runtime.keys.release"),
        ({"n": encode_integer(1 << 2047)}, "runtime.keys.release"),
        ({"e": encode_integer(3)}, "runtime.keys.release"),
        ({"n": 7}, "runtime.keys.release.n"),
    ],
)
def test_a_bad_release_key_is_refused(change: dict[str, Any], claim: str) -> None:
    bent = runtime()
    bent["keys"][0].update(change)
    assert refusal(lambda: release_key_of(bent)) == claim


@pytest.mark.parametrize(
    ("change", "claim"),
    [
        ({"kid": "release"}, "runtime.keys.report"),
        ({"crv": "P-384"}, "runtime.keys.report"),
        ({"key_ops": ["sign"]}, "runtime.keys.report"),
        ({"x": encode_base64url(bytes(32))}, "runtime.keys.report"),
        ({"x": encode_base64url(bytes(33))}, "runtime.keys.report"),
        ({"y": None}, "runtime.keys.report.y"),
    ],
)
def test_a_bad_report_key_is_refused(change: dict[str, Any], claim: str) -> None:
    bent = runtime()
    bent["keys"][1].update(change)
    assert refusal(lambda: report_key_of(bent)) == claim


def test_a_second_release_key_is_refused() -> None:
    bent = runtime()
    bent["keys"].append(bent["keys"][0])
    assert refusal(lambda: release_key_of(bent)) == "runtime.keys.release"


@pytest.mark.parametrize("keys", [None, {}, ["key"], "keys"])
def test_keys_must_be_a_list_of_keys(keys: object) -> None:
    assert refusal(lambda: release_key_of({"keys": keys})) == "runtime.keys"


def test_coordinates_keep_their_leading_zeros() -> None:
    # A coordinate below 2**248 occurs once in 256 keys and is still 32 bytes long.
    assert decode_base64url(encode_integer(1, size=32), claim="x") == bytes(31) + b"\x01"
    number = ec.derive_private_key(1, ec.SECP256R1()).public_key().public_numbers()
    assert len(decode_base64url(encode_integer(number.x, size=32), claim="x")) == 32


@given(st.binary(max_size=80))
@settings(max_examples=100, deadline=None)
def test_base64url_is_read_with_and_without_padding(data: bytes) -> None:
    text = encode_base64url(data)
    assert decode_base64url(text, claim="x") == data
    assert decode_base64url(text + "=" * (-len(text) % 4), claim="x") == data


@pytest.mark.parametrize("text", ["A", "AA===", "A A", "AA+/", "AB", "Ä", None, 7, b"AA"])
def test_other_texts_are_no_base64url(text: object) -> None:
    assert refusal(lambda: decode_base64url(text, claim="x")) == "x"
