from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from trainer.sealed import OctKek, RsaPrivateKek, RsaPublicKek, SealedError, load_kek
from trainer.sealed.keys import DataKey


def pkcs8(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def test_released_material_becomes_a_key_that_opens(rsa_kek: RsaPrivateKek) -> None:
    data_key = DataKey.generate()
    wrapped = rsa_kek.public.wrap(data_key)
    released = load_kek(pkcs8(rsa_kek.key), name="icmr-kek", kind="rsa")
    assert released.unwrap(wrapped).keyset == data_key.keyset
    symmetric = OctKek("k", bytes(32))
    loaded = load_kek(bytes(32), name="k", kind="oct")
    assert loaded.unwrap(symmetric.wrap(data_key)).keyset == data_key.keyset


def test_other_material_is_refused() -> None:
    curve = pkcs8(ec.generate_private_key(ec.SECP256R1()))
    for material, kind in ((b"junk", "rsa"), (curve, "rsa"), (bytes(16), "oct"), (b"", "oct")):
        with pytest.raises(SealedError, match="key"):
            load_kek(material, name="k", kind=kind)  # type: ignore[arg-type]  # rsa or oct


def test_a_weak_rsa_key_is_refused() -> None:
    weak = rsa.generate_private_key(65537, 1024)  # noqa: S505, refused on purpose
    with pytest.raises(SealedError, match="2048"):
        RsaPublicKek("k", weak.public_key())
    with pytest.raises(SealedError, match="2048"):
        RsaPrivateKek("k", weak)


def test_no_key_shows_its_secret(rsa_kek: RsaPrivateKek) -> None:
    secret = b"0123456789abcdef0123456789abcdef"
    data_key = DataKey.generate()
    shown = f"{OctKek('k', secret)!r} {rsa_kek!r} {rsa_kek.public!r} {data_key!r}"
    assert "0123456789" not in shown
    assert str(rsa_kek.key.private_numbers().d) not in shown
    assert "keyset" not in shown
