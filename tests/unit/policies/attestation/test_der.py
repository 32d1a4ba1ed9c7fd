"""The DER reader accepts one encoding of each value and consumes its input."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.attestation import der
from policies.errors import EvidenceError
from tests.amd_pki import der_integer
from tests.snp_vectors import FOLDER, aci_v3


@given(st.integers(0, 255))
@settings(max_examples=64, deadline=None)
def test_every_security_version_is_read_as_a_der_integer(value: int) -> None:
    assert der.integer(der_integer(value)) == value


def test_versions_from_128_on_have_a_leading_zero_byte() -> None:
    assert der.integer(bytes.fromhex("020200d9")) == 217


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x02",
        b"\x02\x02\x01",  # cut off
        b"\x02\x01\x01\x00",  # something follows
        b"\x04\x01\x01",  # another tag
        b"\x02\x81\x01\x01",  # length not in its shortest form
        b"\x02\x80\x01\x00\x00",  # indefinite length
        b"\x02\x84\x00\x00\x00\x01\x01",  # four bytes of length
        b"\x02\x82\x00\x81" + bytes(129),  # leading zero in the length
        b"\x1f\x02\x01\x01",  # tag of several bytes
        b"\x02\x00",  # no content
    ],
)
def test_other_encodings_of_an_integer_are_refused(data: bytes) -> None:
    with pytest.raises(EvidenceError):
        der.integer(data)


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_no_input_breaks_the_reader(data: bytes) -> None:
    try:
        for element in der.parse(data, tag=der.SEQUENCE).children():
            assert element.encoded in data
    except EvidenceError:
        pass


@pytest.mark.parametrize(
    ("content", "text"),
    [("2a864886f70d01010a", "1.2.840.113549.1.1.10"), ("550403", "2.5.4.3"), ("00", "0.0")],
)
def test_object_identifiers_are_read(content: str, text: str) -> None:
    assert der.object_id(bytes.fromhex(content)) == text


@pytest.mark.parametrize("content", ["", "2a86", "80"])
def test_unfinished_object_identifiers_are_refused(content: str) -> None:
    with pytest.raises(EvidenceError):
        der.object_id(bytes.fromhex(content))


def test_a_bundle_gives_its_certificates_in_order() -> None:
    assert len(der.pem_certificates((FOLDER / "amd-milan-ask-ark-asvk.pem").read_bytes())) == 3


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"no certificate",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\nand more",
        b"-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----\n",
        b"\n" * (der.MAX_PEM_BYTES + 1),
    ],
)
def test_anything_but_certificates_is_refused(pem: bytes) -> None:
    with pytest.raises(EvidenceError, match=r"certificate\.pem"):
        der.pem_certificates(pem)


def test_a_serial_number_that_the_standard_forbids_is_read() -> None:
    vcek, ask, _ = der.pem_certificates(aci_v3().certificates)
    assert (der.serial_number(vcek), der.serial_number(ask)) == (0, 65537)
    for data in (b"\x30\x00", b"\x30\x02\x30\x00", b"\x30\x04\x30\x02\x04\x00"):
        with pytest.raises(EvidenceError):
            der.serial_number(data)
