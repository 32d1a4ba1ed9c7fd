"""What a contract is at a moment: derived from what was signed and from the clock, never stored."""

from __future__ import annotations

from collections.abc import Sequence

from clients.api.answers import ContractState
from contract_service.contracts.tables import ContractPartyRow, ContractRow


def contract_state(
    row: ContractRow, parties: Sequence[ContractPartyRow], *, now: int
) -> ContractState:
    """Return the state of a contract at `now`; a revocation stands above everything."""
    if row.revoked_by is not None:
        return "revoked"
    if now >= row.expires_at:
        return "expired"
    if row.executed_leaf is not None:
        return "executed"
    return "partially-signed" if any(party.signature_leaf for party in parties) else "proposed"


def missing(parties: Sequence[ContractPartyRow]) -> tuple[str, ...]:
    """Return who has not signed, each once, in the order of the contract."""
    return tuple(dict.fromkeys(party.did for party in parties if party.signature_leaf is None))
