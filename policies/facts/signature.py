"""What the policies see of a party's signature and of the key that made it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from ledger.statement import Statement
from policies.facts.numbers import LARGEST, MICRO, Whole
from policies.wire.base import Wire


@dataclass(frozen=True)
class Signed:
    """A signature that was verified: when it was made, and when its key could make one."""

    at: int
    """Unix seconds, by the signer's clock."""
    key_valid_from: int
    key_valid_until: int
    """Unix seconds; the whole of time for a key that no certificate vouches for."""

    @classmethod
    def by(cls, statement: Statement) -> Self:
        """Return when a party signed and when its certificates, if it has some, are valid."""
        period = statement.key_validity
        return cls(statement.issued_at, period.starts_at, period.ends_at)


class Signature(Wire):
    """A party's signature over the contract that was found good."""

    signer: str
    signed_at: Whole
    key_valid_from: Whole
    key_valid_until: Whole


def signature_facts(signatures: Mapping[str, Signed]) -> tuple[Signature, ...]:
    """Return the facts about signatures, by the DID of who made each."""
    return tuple(
        Signature(
            signer=signer,
            signed_at=signed.at * MICRO,
            key_valid_from=_instant(signed.key_valid_from),
            key_valid_until=_instant(signed.key_valid_until),
        )
        for signer, signed in sorted(signatures.items())
    )


def _instant(seconds: int) -> int:
    # A certificate may be of before 1970, and one that never ends says the year 9999.
    return min(max(seconds, 0) * MICRO, LARGEST)
