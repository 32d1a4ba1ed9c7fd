from __future__ import annotations

import cbor2
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger import cose
from ledger.cose import Algorithm, PrivateKey
from ledger.errors import FormatError, VerificationError

_KEYS = {
    Algorithm.ES256: ec.generate_private_key(ec.SECP256R1()),
    Algorithm.ES384: ec.generate_private_key(ec.SECP384R1()),
    Algorithm.EDDSA: Ed25519PrivateKey.generate(),
}
_LENGTHS = {Algorithm.ES256: 64, Algorithm.ES384: 96, Algorithm.EDDSA: 64}


def test_thumbprint_is_that_of_rfc_9679() -> None:
    """RFC 9679 section 6."""
    x = 0x65EDA5A12577C2BAE829437FE338701A10AAA375E1BB5B5DE108DE439C08551D
    y = 0x1E52ED75701163F7F9E40DDF9F341B3DC9BA860AF7E0CA7CA7E9EECD0084D19C
    key = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    expected = "496bd8afadf307e5b08c64b0421bf9dc01528a344a43bda88fadd1669da253ec"
    assert cose.thumbprint(key).hex() == expected


@pytest.mark.parametrize(("algorithm", "key"), _KEYS.items())
def test_signature_has_the_length_of_its_algorithm_and_verifies(
    algorithm: Algorithm, key: PrivateKey
) -> None:
    assert cose.algorithm_of(key) == algorithm
    signature = cose.sign(b"data", key=key)
    assert len(signature) == _LENGTHS[algorithm]
    cose.verify_signature(
        b"data", signature=signature, algorithm=algorithm, key=key.public_key(), what="it"
    )


@pytest.mark.parametrize(("algorithm", "key"), _KEYS.items())
def test_signature_over_other_data_is_refused(algorithm: Algorithm, key: PrivateKey) -> None:
    signature = cose.sign(b"data", key=key)
    for data, changed in (
        (b"Data", signature),
        (b"data", signature[:-1]),
        (b"data", b"\0" * len(signature)),
    ):
        with pytest.raises(VerificationError, match="signature"):
            cose.verify_signature(
                data, signature=changed, algorithm=algorithm, key=key.public_key(), what="it"
            )


@pytest.mark.parametrize(("algorithm", "key"), _KEYS.items())
def test_algorithm_of_another_curve_is_refused(algorithm: Algorithm, key: PrivateKey) -> None:
    signature = cose.sign(b"data", key=key)
    for other in set(Algorithm) - {algorithm}:
        with pytest.raises(VerificationError, match="algorithm"):
            cose.verify_signature(
                b"data", signature=signature, algorithm=other, key=key.public_key(), what="it"
            )


def test_der_signature_is_refused() -> None:
    key = _KEYS[Algorithm.ES256]
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    signature = key.sign(b"data", ec.ECDSA(hashes.SHA256()))
    with pytest.raises(VerificationError, match="64 bytes"):
        cose.verify_signature(
            b"data", signature=signature, algorithm=-7, key=key.public_key(), what="it"
        )


def test_other_keys_are_refused() -> None:
    for key in (
        ec.generate_private_key(ec.SECP521R1()),
        ec.generate_private_key(ec.SECP256K1()),
        rsa.generate_private_key(65537, 2048),
    ):
        with pytest.raises(VerificationError, match="key"):
            cose.sign(b"data", key=key)  # type: ignore[arg-type]


def _message(value: object, *, tag: int | None = 18) -> bytes:
    return cbor2.dumps(value if tag is None else cbor2.CBORTag(tag, value))


_GOOD: list[object] = [b"\xa1\x01\x26", {}, None, b"s"]


def test_tagged_message_is_parsed() -> None:
    message = cose.parse_sign1(_message(_GOOD), what="it", limit=100)
    assert message == cose.Sign1(b"\xa1\x01\x26", {}, None, b"s")
    assert cose.encode_sign1(message) == _message(_GOOD)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(_message(_GOOD, tag=None), id="untagged"),
        pytest.param(_message(_GOOD, tag=98), id="COSE_Sign"),
        pytest.param(_message(_GOOD[:3]), id="three items"),
        pytest.param(_message([*_GOOD, b""]), id="five items"),
        pytest.param(_message([{}, {}, None, b"s"]), id="protected header not wrapped"),
        pytest.param(_message([b"", [], None, b"s"]), id="unprotected header no map"),
        pytest.param(_message([b"", {}, "text", b"s"]), id="payload is text"),
        pytest.param(_message([b"", {}, None, None]), id="no signature"),
        pytest.param(_message(_GOOD) + b"\0", id="trailing byte"),
        pytest.param(b"\xd2" + _message(_GOOD), id="tagged twice"),
    ],
)
def test_other_messages_are_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        cose.parse_sign1(data, what="it", limit=100)


@pytest.mark.parametrize(
    "data",
    [b"\x80", b"\xa2\x01\x26\x02\x81\x01", b"", b"\xa0\x00"],
    ids=["array", "crit", "empty", "trailing"],
)
def test_other_headers_are_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        cose.parse_header(data, what="it", deterministic=True)


def test_signed_bytes_are_those_of_rfc_9052() -> None:
    expected = cbor2.dumps(["Signature1", b"p", b"", b"payload"])
    assert cose.to_be_signed(protected=b"p", payload=b"payload") == expected
