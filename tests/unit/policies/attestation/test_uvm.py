"""Whose word about firmware counts: the pinned root, the right purpose and feed, this
measurement."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import cache
from typing import Any

import cbor2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID, ObjectIdentifier

from ledger.did import did_x509_for
from policies.attestation.uvm import (
    MAX_ENDORSEMENT_BYTES,
    MICROSOFT_UVM,
    Endorsement,
    Endorser,
    verify_endorsement,
)
from policies.errors import EvidenceError
from tests.simulator import NOW, machine, refusal
from tests.snp_vectors import aci_v2, aci_v3

PURPOSE = "1.2.3.4"
FEED = "test-firmware"
MEASUREMENT = b"m" * 48
PSS = padding.PSS(padding.MGF1(SHA384()), 48)


@cache
def _key(number: int, bits: int = 3072) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


@cache
def _chain(bits: int = 3072, purpose: str = PURPOSE) -> tuple[bytes, bytes]:
    root_name, leaf_name = (
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("root", "leaf")
    )

    def builder(subject: x509.Name) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(root_name)
            .serial_number(7)
            # Endorsements are used long after their certificates expired.
            .not_valid_before(NOW - timedelta(days=800))
            .not_valid_after(NOW - timedelta(days=400))
        )

    root = (
        builder(root_name)
        .public_key(_key(1).public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(_key(1), SHA256())
    )
    leaf = (
        builder(leaf_name)
        .public_key(_key(2, bits).public_key())
        .add_extension(x509.ExtendedKeyUsage([ObjectIdentifier(purpose)]), critical=False)
        .sign(_key(1), SHA256())
    )
    return leaf.public_bytes(Encoding.DER), root.public_bytes(Encoding.DER)


@cache
def endorser() -> Endorser:
    return Endorser(did_x509_for(_chain(), subject=(), eku=PURPOSE), FEED, 100)


def endorsement(
    *,
    header: dict[Any, Any] | None = None,
    payload: object = None,
    bits: int = 3072,
    sign: Callable[[bytes], bytes] | None = None,
    **changes: Any,
) -> bytes:
    fields = {
        1: -38,
        33: list(_chain(bits)),
        "iss": endorser().issuer,
        "feed": FEED,
        **(header or {}),
    }
    protected = cbor2.dumps({name: value for name, value in fields.items() if value is not None})
    if payload is None:
        payload = {
            "x-ms-sevsnpvm-launchmeasurement": MEASUREMENT.hex(),
            "x-ms-sevsnpvm-guestsvn": "100",
        }
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    tbs = cbor2.dumps(["Signature1", protected, b"", body])
    signature = (sign or (lambda data: _key(2, bits).sign(data, PSS, SHA384())))(tbs)
    parts = changes.get("parts", [protected, {}, body, signature])
    return cbor2.dumps(cbor2.CBORTag(changes.get("tag", 18), parts))


def verify(data: bytes, measurement: bytes = MEASUREMENT) -> Endorsement:
    return verify_endorsement(data, measurement=measurement, endorsers=[endorser()])


def test_microsofts_endorsement_of_a_real_group_is_believed() -> None:
    evidence = aci_v3()
    found = verify_endorsement(evidence.endorsement, measurement=evidence.report[0x90:0xC0])
    assert (found.svn, found.feed) == (103, "ContainerPlat-AMD-UVM")


def test_an_old_endorsement_is_refused_for_its_version() -> None:
    evidence, old = aci_v2(), replace(MICROSOFT_UVM, minimum_svn=22)
    measurement = evidence.report[0x90:0xC0]
    claim = refusal(lambda: verify_endorsement(evidence.endorsement, measurement=measurement))
    assert claim == "uvm.svn"
    found = verify_endorsement(evidence.endorsement, measurement=measurement, endorsers=[old])
    assert found.svn == 22


def test_every_signed_byte_of_a_real_endorsement_counts() -> None:
    evidence = aci_v3()
    payload_at = evidence.endorsement.index(b'"x-ms-sevsnpvm-launchmeasurement"')
    for offset in (12, payload_at, len(evidence.endorsement) - 1):
        data = bytearray(evidence.endorsement)
        data[offset] ^= 1
        with pytest.raises(EvidenceError):
            verify_endorsement(bytes(data), measurement=evidence.report[0x90:0xC0])


def test_a_synthetic_endorsement_is_believed() -> None:
    assert verify(endorsement()) == Endorsement(endorser().issuer, FEED, 100, MEASUREMENT)


def test_the_simulated_machines_endorsement_is_not_microsofts() -> None:
    data = machine().endorsement
    assert refusal(lambda: verify_endorsement(data, measurement=MEASUREMENT)) == "uvm.issuer"


def test_an_endorsement_of_another_measurement_is_refused() -> None:
    assert refusal(lambda: verify(endorsement(), b"x" * 48)) == "uvm.measurement"


@pytest.mark.parametrize(
    ("changes", "claim"),
    [
        ({"header": {"iss": "did:x509:0:sha256:" + "A" * 43 + "::eku:1.2.3.4"}}, "uvm.issuer"),
        ({"header": {"iss": None}}, "uvm.issuer"),
        ({"header": {"feed": "other-firmware"}}, "uvm.issuer"),
        ({"header": {"feed": None}}, "uvm.issuer"),
        ({"header": {1: -37}}, "uvm.alg"),
        ({"header": {1: None}}, "uvm.alg"),
        ({"header": {2: ["new"]}}, "uvm.crit"),
        ({"header": {33: None}}, "uvm.x5chain"),
        ({"header": {33: []}}, "uvm.x5chain"),
        ({"header": {33: [b"none", b"none"]}}, "uvm.x5chain"),
        ({"bits": 2048}, "uvm.key"),
        ({"sign": lambda _: bytes(384)}, "uvm.signature"),
        ({"sign": lambda data: _key(1).sign(data, PSS, SHA384())}, "uvm.signature"),
        (
            {"sign": lambda data: _key(2).sign(data, padding.PKCS1v15(), SHA384())},
            "uvm.signature",
        ),
        ({"payload": b"{"}, "uvm.payload"),
        ({"payload": []}, "uvm.payload"),
        ({"payload": {"x-ms-sevsnpvm-guestsvn": "100"}}, "uvm.payload"),
        ({"tag": 98}, "uvm.cose"),
        ({"parts": [b"", {}, b""]}, "uvm.cose"),
        ({"parts": [b"", {}, None, b""]}, "uvm.cose"),
        ({"parts": 7}, "uvm.cose"),
        ({"parts": [b"\x01", {}, b"", b""]}, "uvm.header"),
        ({"parts": [b"\xff", {}, b"", b""]}, "uvm.cbor"),
        ({"parts": [b"\xa2\x01\x02\x01\x03", {}, b"", b""]}, "uvm.cbor"),
    ],
)
def test_a_defective_endorsement_is_refused(changes: dict[str, Any], claim: str) -> None:
    assert refusal(lambda: verify(endorsement(**changes))) == claim


def test_a_certificate_for_another_purpose_is_refused() -> None:
    data = endorsement(header={33: list(_chain(purpose="1.2.3.5"))})
    assert refusal(lambda: verify(data)) == "uvm.x5chain"


@pytest.mark.parametrize("svn", ["99", 100, "-1", "", "1e3", "9" * 10])
def test_an_old_or_malformed_version_is_refused(svn: object) -> None:
    payload = {
        "x-ms-sevsnpvm-launchmeasurement": MEASUREMENT.hex(),
        "x-ms-sevsnpvm-guestsvn": svn,
    }
    claim = refusal(lambda: verify(endorsement(payload=payload)))
    assert claim == ("uvm.svn" if svn == "99" else "uvm.payload")


def test_nothing_may_follow_the_endorsement() -> None:
    assert refusal(lambda: verify(endorsement() + b"\0")) == "uvm.cbor"
    assert refusal(lambda: verify(endorsement()[:-1])) == "uvm.cbor"
    assert refusal(lambda: verify(bytes(MAX_ENDORSEMENT_BYTES + 1))) == "uvm.length"
