from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from ledger import document
from ledger.bundle import Bundle, BundleEntry, ConsistencyProof
from ledger.errors import FormatError
from ledger.receipt import MAX_RECEIPT_BYTES
from tests.unit.ledger.makers import digest

_BUNDLE = Bundle.of(
    trust=b"trust",
    checkpoint=b"checkpoint",
    entries=[BundleEntry(3, b"statement", b"receipt"), BundleEntry(1, b"other", b"receipt")],
    documents=[b"one", b"two"],
    inputs={"decision/1": b"facts"},
    consistency=[ConsistencyProof(4, 9, (b"x" * 32,))],
)


def test_what_is_encoded_is_parsed() -> None:
    data = _BUNDLE.encode()
    assert Bundle.parse(data) == _BUNDLE
    assert Bundle.parse(data).encode() == data


def test_documents_are_filed_under_their_digests() -> None:
    assert _BUNDLE.documents["sha256:" + digest(b"one").hex()] == b"one"


def test_empty_bundle_is_one() -> None:
    empty = Bundle.of(trust=b"", checkpoint=b"", entries=[])
    assert Bundle.parse(empty.encode()) == empty


_BASE64 = document.to_base64(b"one")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param(lambda b: b.update(version="2.0"), "version", id="version"),
        pytest.param(lambda b: b.update(extra=1), "unknown", id="unknown member"),
        pytest.param(lambda b: b.update(trust=1), "not text", id="trust is a number"),
        pytest.param(lambda b: b.update(trust="!!!!"), "base64", id="not base64"),
        pytest.param(lambda b: b.update(trust="AB=="), "canonical", id="base64 with spare bits"),
        pytest.param(lambda b: b.update(entries={}), "list", id="entries are no list"),
        pytest.param(lambda b: b.update(entries=[1]), "object", id="entry is no object"),
        pytest.param(lambda b: b["entries"][0].pop("receipt"), "missing", id="no receipt"),
        pytest.param(lambda b: b["entries"][0].update(index=-1), "whole", id="negative index"),
        pytest.param(lambda b: b["entries"][0].update(index=True), "whole", id="index is true"),
        pytest.param(lambda b: b["entries"][0].update(index="1"), "whole", id="index is text"),
        pytest.param(
            lambda b: b["entries"][0].update(index=1.5), "whole", id="index is a fraction"
        ),
        pytest.param(lambda b: b["entries"][0].update(other=1), "unknown", id="entry with more"),
        pytest.param(
            lambda b: b["entries"][0].update(receipt="A" * (2 * MAX_RECEIPT_BYTES)),
            "at most",
            id="huge receipt",
        ),
        pytest.param(lambda b: b["consistency"][0].update(path="x"), "list", id="path is text"),
        pytest.param(
            lambda b: b["consistency"][0].update(path=["AA=="] * 65), "at most 64", id="long path"
        ),
        pytest.param(lambda b: b.update(documents=[]), "object", id="documents are a list"),
        pytest.param(lambda b: b.update(documents={"x": _BASE64}), "name", id="no digest"),
        pytest.param(
            lambda b: b.update(documents={"sha256:" + "0" * 64: _BASE64}),
            "expected sha256:0",
            id="document with another digest",
        ),
        pytest.param(lambda b: b.update(inputs={"../x": _BASE64}), "name", id="name climbs"),
        pytest.param(lambda b: b.update(inputs={"": _BASE64}), "name", id="no name"),
        pytest.param(lambda b: b.update(inputs={"x": {}}), "not text", id="input is an object"),
    ],
)
def test_malformed_bundle_is_refused(change: Callable[[Any], object], reason: str) -> None:
    value = json.loads(_BUNDLE.encode())
    change(value)
    with pytest.raises(FormatError, match=reason):
        Bundle.parse(document.encode(value))


@pytest.mark.parametrize("member", list(json.loads(_BUNDLE.encode())))
def test_bundle_without_a_member_is_refused(member: str) -> None:
    value = json.loads(_BUNDLE.encode())
    del value[member]
    with pytest.raises(FormatError, match=member):
        Bundle.parse(document.encode(value))


def test_other_encodings_of_a_bundle_are_refused() -> None:
    data = _BUNDLE.encode()
    indented = json.dumps(json.loads(data), indent=1).encode()
    for each in (
        data + b"\n",
        data + data,
        data[:-1],
        indented,
        b"",
        b"null",
        b"\xff",
        b"[" * 100_000,
    ):
        with pytest.raises(FormatError):
            Bundle.parse(each)


def test_nothing_is_encoded_that_would_not_be_parsed() -> None:
    bad = Bundle.of(trust=b"", checkpoint=b"", entries=[], inputs={"a b": b""})
    with pytest.raises(FormatError, match="name"):
        bad.encode()
