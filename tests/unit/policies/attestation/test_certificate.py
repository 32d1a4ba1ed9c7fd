"""A certificate of others is read as a whole, or refused."""

from __future__ import annotations

from contextlib import suppress

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.attestation import der
from policies.attestation.certificate import load_certificate
from policies.errors import EvidenceError
from tests.snp_vectors import aci_v3

VCEK, ASK, _ = der.pem_certificates(aci_v3().certificates)
_RSA = bytes.fromhex("2a864886f70d010101")


def test_a_certificate_is_read() -> None:
    assert load_certificate(ASK).serial_number == 65537


@pytest.mark.parametrize(
    ("encoded", "says"),
    [
        pytest.param(VCEK, "a positive number", id="serial number 0"),
        pytest.param(
            ASK.replace(b"\x02\x03\x01\x00\x01", b"\x02\x03\x81\x00\x01", 1),
            "a positive",
            id="negative",
        ),
        pytest.param(ASK.replace(_RSA, _RSA[:-1] + b"\x63"), "X.509", id="unknown kind of key"),
        pytest.param(ASK[:-1], "bytes", id="cut off"),
        pytest.param(ASK + b"\0", "nothing after", id="trailing byte"),
        pytest.param(b"", "tag and length", id="empty"),
    ],
)
def test_another_is_refused(encoded: bytes, says: str) -> None:
    with pytest.raises(EvidenceError, match=says):
        load_certificate(encoded)


@given(at=st.integers(0, len(ASK)), length=st.integers(0, 4), other=st.binary(max_size=4))
@settings(max_examples=200, deadline=None)
def test_no_change_raises_anything_else(at: int, length: int, other: bytes) -> None:
    with suppress(EvidenceError):
        found = load_certificate(ASK[:at] + other + ASK[at + length :])
        assert isinstance(found, x509.Certificate)
