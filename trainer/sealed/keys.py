"""The keys of sealed files: a fresh data key for each, wrapped by the provider's vault key.

No key object shows its secret in `repr`, and none compares by value.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar, Literal, Self, TypeAlias

import tink
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, keywrap, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # no stubs
from tink import secret_key_access, streaming_aead
from tink.proto import aes_gcm_hkdf_streaming_pb2, tink_pb2

from trainer.sealed.errors import SealedError, SealReason

KeyKind: TypeAlias = Literal["rsa", "oct"]

MIN_RSA_BITS = 2048
# Generated modules carry no types.
_streaming: Any = aes_gcm_hkdf_streaming_pb2
_tink: Any = tink_pb2
_TYPE_URL = "type.googleapis.com/google.crypto.tink.AesGcmHkdfStreamingKey"
_OAEP = padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None)


@dataclass(frozen=True, eq=False)
class RsaPublicKek:
    """The public half of a vault's RSA key; enough to seal."""

    kind: ClassVar[KeyKind] = "rsa"
    name: str
    """The key's name in the vault."""
    key: rsa.RSAPublicKey = field(repr=False)

    def __post_init__(self) -> None:
        _check_rsa(self.key.key_size)

    def wrap(self, data_key: DataKey) -> bytes:
        """Wrap a data key by RSA-OAEP with SHA-256 (RFC 8017, 7.1)."""
        return self.key.encrypt(data_key.keyset, _OAEP)


@dataclass(frozen=True, eq=False)
class RsaPrivateKek:
    """A released RSA key; opens what was sealed to its public half."""

    kind: ClassVar[KeyKind] = "rsa"
    name: str
    key: rsa.RSAPrivateKey = field(repr=False)

    def __post_init__(self) -> None:
        _check_rsa(self.key.key_size)

    @property
    def public(self) -> RsaPublicKek:
        """Return the half that seals."""
        return RsaPublicKek(self.name, self.key.public_key())

    def unwrap(self, wrapped: bytes) -> DataKey:
        """Unwrap a data key.

        Raises:
            SealedError: when it was not wrapped for this key.
        """
        try:
            keyset = self.key.decrypt(wrapped, _OAEP)
        except ValueError:
            raise _not_for(self.name) from None
        return DataKey.parse(keyset)


@dataclass(frozen=True, eq=False)
class OctKek:
    """A 256-bit symmetric key of a managed HSM; seals and opens."""

    kind: ClassVar[KeyKind] = "oct"
    name: str
    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) != 32:
            raise SealedError(SealReason.KEY, expected="32 bytes", got=f"{len(self.secret)} bytes")

    def wrap(self, data_key: DataKey) -> bytes:
        """Wrap a data key by AES-KWP (RFC 5649)."""
        return keywrap.aes_key_wrap_with_padding(self.secret, data_key.keyset)

    def unwrap(self, wrapped: bytes) -> DataKey:
        """Unwrap a data key.

        Raises:
            SealedError: when it was not wrapped for this key.
        """
        try:
            keyset = keywrap.aes_key_unwrap_with_padding(self.secret, wrapped)
        except (keywrap.InvalidUnwrap, ValueError):
            raise _not_for(self.name) from None
        return DataKey.parse(keyset)


SealingKek: TypeAlias = RsaPublicKek | OctKek
OpeningKek: TypeAlias = RsaPrivateKek | OctKek


def load_kek(material: bytes, *, name: str, kind: KeyKind) -> OpeningKek:
    """Return the key that a vault released.

    Args:
        material: PKCS#8 DER of an RSA key, or the 32 bytes of a symmetric one.
        name: The key's name in the vault.
        kind: What the contract says that the key is.

    Raises:
        SealedError: when the material is no such key.
    """
    if kind == "oct":
        return OctKek(name, material)
    try:
        key = serialization.load_der_private_key(material, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise SealedError(SealReason.KEY, expected="a PKCS#8 RSA key", got="other bytes") from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise SealedError(SealReason.KEY, expected="an RSA key", got=type(key).__name__)
    return RsaPrivateKek(name, key)


@dataclass(frozen=True, eq=False)
class DataKey:
    """A key for one file: a Tink keyset with one AES256_GCM_HKDF_1MB key."""

    keyset: bytes = field(repr=False)
    """Serialised `google.crypto.tink.Keyset`, in the clear: about 130 bytes."""

    @classmethod
    def generate(cls) -> Self:
        """Return a fresh key."""
        _register()
        template = streaming_aead.streaming_aead_key_templates.AES256_GCM_HKDF_1MB
        handle = tink.new_keyset_handle(template)
        return cls(tink.proto_keyset_format.serialize(handle, secret_key_access.TOKEN))

    @classmethod
    def parse(cls, keyset: bytes) -> Self:
        """Read an unwrapped keyset, which whoever sealed the file has chosen.

        Raises:
            SealedError: unless it is one key of exactly our type: another one could ask for
                segments of gigabytes.
        """
        expected = _streaming.AesGcmHkdfStreamingKeyFormat.FromString(
            streaming_aead.streaming_aead_key_templates.AES256_GCM_HKDF_1MB.value
        )
        try:
            keys = _tink.Keyset.FromString(keyset).key
            values = [
                _streaming.AesGcmHkdfStreamingKey.FromString(key.key_data.value)
                for key in keys
                if key.key_data.type_url == _TYPE_URL and key.status == _tink.ENABLED
            ]
        except DecodeError:
            values = []
        if (
            len(values) != 1
            or len(keys) != 1
            or values[0].params != expected.params
            or len(values[0].key_value) != expected.key_size
        ):
            wanted = "one Tink key AES256_GCM_HKDF_1MB"
            raise SealedError(SealReason.KEY, expected=wanted, got="another keyset")
        return cls(keyset)

    @property
    def secret(self) -> bytes:
        """What the cipher's key is derived from."""
        (key,) = _tink.Keyset.FromString(self.keyset).key
        value = _streaming.AesGcmHkdfStreamingKey.FromString(key.key_data.value).key_value
        return bytes(value)

    def primitive(self) -> streaming_aead.StreamingAead:
        """Return the cipher."""
        _register()
        handle = tink.proto_keyset_format.parse(self.keyset, secret_key_access.TOKEN)
        # Tink looks a primitive up by its interface.
        return handle.primitive(streaming_aead.StreamingAead)  # type: ignore[type-abstract]


@cache
def _register() -> None:
    streaming_aead.register()


def _check_rsa(bits: int) -> None:
    if bits < MIN_RSA_BITS:
        raise SealedError(SealReason.KEY, expected=f"RSA of {MIN_RSA_BITS} bits", got=f"{bits}")


def _not_for(name: str) -> SealedError:
    return SealedError(
        SealReason.KEY,
        expected=f"a data key wrapped for {name!r}",
        got="one that this key does not open",
        hint="the file was sealed for another key, or the vault holds another version of it",
    )
