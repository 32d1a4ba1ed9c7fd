"""Only the attested room unwraps what was released to it."""

from __future__ import annotations

import secrets
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from clients.api.release import WrappedKey
from deploy.local.vault.release import ALGORITHMS, wrap_key
from policies.errors import DepaError
from tests.simulator import room_keys
from trainer.keys import RoomKeys, UnwrapError, unwrap_key

SECRET = secrets.token_bytes(32)
KID = "https://127.0.0.1:1/keys/a/" + "0" * 32


def wrapped(secret: bytes = SECRET, **changes: str) -> WrappedKey:
    values = {"kty": "oct-HSM", "algorithm": "RSA_AES_KEY_WRAP_256", **changes}
    ciphertext = wrap_key(
        secret, to=room_keys().release.public_key(), algorithm=values["algorithm"]
    )
    return WrappedKey(KID, values["kty"], values["algorithm"], ciphertext)


def pkcs8(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_symmetric_key_is_unwrapped(algorithm: str) -> None:
    assert unwrap_key(wrapped(algorithm=algorithm), key=room_keys().release) == SECRET


def test_an_rsa_key_is_unwrapped() -> None:
    key = rsa.generate_private_key(65537, 2048)
    found = unwrap_key(wrapped(pkcs8(key), kty="RSA-HSM"), key=room_keys().release)
    assert isinstance(found, rsa.RSAPrivateKey)
    assert found.private_numbers() == key.private_numbers()


def test_another_room_cannot_unwrap() -> None:
    with pytest.raises(UnwrapError, match="not wrapped to this"):
        unwrap_key(wrapped(), key=rsa.generate_private_key(65537, 3072))


@pytest.mark.parametrize("position", [0, 383, 384, -1])
def test_a_changed_ciphertext_is_refused(position: int) -> None:
    good = wrapped()
    data = bytearray(good.ciphertext)
    data[position] ^= 1
    with pytest.raises(UnwrapError):
        unwrap_key(replace(good, ciphertext=bytes(data)), key=room_keys().release)


@pytest.mark.parametrize("size", [0, 10, 384, 392])
def test_a_truncated_ciphertext_is_refused(size: int) -> None:
    good = wrapped()
    with pytest.raises(UnwrapError):
        unwrap_key(replace(good, ciphertext=good.ciphertext[:size]), key=room_keys().release)


@pytest.mark.parametrize(
    ("secret", "kty"),
    [
        (b"x" * 16, "oct-HSM"),
        (SECRET, "RSA-HSM"),
        (pkcs8(ec.generate_private_key(ec.SECP256R1())), "RSA-HSM"),
    ],
    ids=["text", "AES", "EC"],
)
def test_a_key_of_another_kind_than_announced_is_refused(secret: bytes, kty: str) -> None:
    with pytest.raises(UnwrapError, match="expected"):
        unwrap_key(wrapped(secret, kty=kty), key=room_keys().release)


def test_an_unknown_algorithm_is_refused() -> None:
    with pytest.raises(UnwrapError, match="unknown algorithm"):
        unwrap_key(replace(wrapped(), algorithm="RSA1_5"), key=room_keys().release)


def test_no_secret_is_shown() -> None:
    keys = RoomKeys.make()
    assert "Private" not in repr(keys)
    assert SECRET.hex() not in repr(wrapped())
    with pytest.raises(DepaError) as caught:
        unwrap_key(wrapped(b"x" * 16), key=room_keys().release)
    assert "x" * 16 not in str(caught.value)
