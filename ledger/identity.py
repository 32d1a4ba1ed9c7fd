"""Who signs: a DID, its certificates, its private key; and the checks of it in one place.

Keys are made, and kept, elsewhere. The checks live in `ledger.did`, `ledger.chain` and
`ledger.cose`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ledger import cose
from ledger.chain import check_chain_validity
from ledger.cose import PrivateKey, PublicKey, thumbprint
from ledger.did import did_jwk_for, did_x509_for, resolve_did
from ledger.errors import IdentityError
from ledger.statement import sign_statement

__all__ = [
    "Identity",
    "PrivateKey",
    "PublicKey",
    "check_chain_validity",
    "did_jwk_for",
    "did_x509_for",
    "resolve_did",
    "thumbprint",
]


@dataclass(frozen=True)
class Identity:
    """A party that can sign.

    Raises:
        IdentityError: On construction, unless `did` resolves with `chain` to the public half of the
            key.
    """

    did: str
    chain: tuple[bytes, ...] = field(repr=False)
    """Certificates in DER, leaf first, root last; empty for a did:jwk."""
    private_key: PrivateKey = field(repr=False)

    def __post_init__(self) -> None:
        expected, got = resolve_did(self.did, x5chain=self.chain), self.public_key
        if thumbprint(expected) != thumbprint(got):
            raise IdentityError(
                "private key", expected=thumbprint(expected).hex(), got=thumbprint(got).hex()
            )

    @property
    def public_key(self) -> PublicKey:
        """The public half."""
        return self.private_key.public_key()

    def sign(self, data: bytes) -> bytes:
        """Return the COSE signature over `data`, with the algorithm that goes with the key."""
        return cose.sign(data, key=self.private_key)

    def issue(
        self,
        *,
        payload_hash: bytes,
        kind: str,
        subject: str,
        issued_at: int,
        location: str | None = None,
    ) -> bytes:
        """Return a statement by this identity; see `ledger.statement.sign_statement`."""
        return sign_statement(
            payload_hash=payload_hash,
            kind=kind,
            subject=subject,
            issued_at=issued_at,
            signer=self,
            location=location,
        )
