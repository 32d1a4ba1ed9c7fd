"""The clean room's own keys, and the unwrapping of those that are released to it.

Private keys are made in the room's encrypted memory and never leave it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Final

from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, SHA384, HashAlgorithm
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap_with_padding
from cryptography.hazmat.primitives.serialization import load_der_private_key

from clients.api.release import WrappedKey
from policies.attestation.runtime import build_runtime
from policies.errors import DepaError

_HASHES: Final[Mapping[str, type[HashAlgorithm]]] = {
    "CKM_RSA_AES_KEY_WRAP": SHA1,
    "RSA_AES_KEY_WRAP_256": SHA256,
    "RSA_AES_KEY_WRAP_384": SHA384,
}
_RSA_BITS: Final = 3072
_OCT_BYTES: Final = 32


class UnwrapError(DepaError):
    """A released key is not wrapped to this clean room, or is of another kind than announced."""

    code: ClassVar[str] = "unwrap"
    exit_code: ClassVar[int] = 4


@dataclass(frozen=True)
class RoomKeys:
    """The two keys of one run, whose public halves the hardware vouches for."""

    release: rsa.RSAPrivateKey = field(repr=False)
    """What keys are released to."""
    report: ec.EllipticCurvePrivateKey = field(repr=False)
    """What signs the run report."""

    @classmethod
    def make(cls) -> RoomKeys:
        """Return new keys."""
        return cls(
            rsa.generate_private_key(65537, _RSA_BITS), ec.generate_private_key(ec.SECP256R1())
        )

    def runtime_data(self, *, contract: str, run: str, pipeline: str, nonce: str) -> bytes:
        """Return what the hardware is asked to vouch for."""
        return build_runtime(
            release_key=self.release.public_key(),
            report_key=self.report.public_key(),
            contract=contract,
            run=run,
            pipeline=pipeline,
            nonce=nonce,
        )


def unwrap_key(wrapped: WrappedKey, *, key: rsa.RSAPrivateKey) -> bytes | rsa.RSAPrivateKey:
    """Return a released key: 32 bytes of a symmetric one, or an RSA key.

    Raises:
        UnwrapError: if it was not wrapped to `key`, or holds something else.
    """
    digest = _HASHES.get(wrapped.algorithm)
    if digest is None:
        raise UnwrapError(f"{wrapped.kid}: unknown algorithm {wrapped.algorithm}")
    # RSA-OAEP of an AES key, as long as the modulus, then AES-KWP of the secret (RFC 5649).
    size = key.key_size // 8
    oaep = padding.OAEP(mgf=padding.MGF1(digest()), algorithm=digest(), label=None)
    try:
        ephemeral = key.decrypt(wrapped.ciphertext[:size], oaep)
        secret = aes_key_unwrap_with_padding(ephemeral, wrapped.ciphertext[size:])
    except (ValueError, InvalidUnwrap):
        raise UnwrapError(f"{wrapped.kid}: not wrapped to this clean room's key") from None
    if wrapped.kty in {"oct-HSM", "oct"}:
        if len(secret) != _OCT_BYTES:
            raise UnwrapError(f"{wrapped.kid}: expected {_OCT_BYTES} bytes, got {len(secret)}")
        return secret
    try:
        released = load_der_private_key(secret, password=None)
    except ValueError:
        raise UnwrapError(f"{wrapped.kid}: expected a PKCS #8 key") from None
    if not isinstance(released, rsa.RSAPrivateKey):
        raise UnwrapError(f"{wrapped.kid}: expected an RSA key")
    return released
