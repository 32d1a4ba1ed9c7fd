"""Reading and writing the rows of a contract."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime

from sqlmodel import Session, col, select

from clients.api.answers import ContractSummary
from contract_service.contracts.state import contract_state
from contract_service.contracts.tables import ContractDatasetRow, ContractPartyRow, ContractRow
from contract_service.database import insert_once
from contract_service.problems import MissingError
from policies.facts import Signed
from policies.wire.contract import Contract


def insert(session: Session, contract: Contract, *, now: int) -> bool:
    """Add the rows of a contract, unless it is there; tell whether it was not."""
    digest = contract.digest()
    row = ContractRow(
        digest=digest,
        id=contract.id,
        title=contract.title,
        tdc=contract.tdc.id,
        starts_at=int(contract.start_time.timestamp()),
        expires_at=int(contract.expiry_time.timestamp()),
        proposed_at=now,
    )
    if not insert_once(session, row):
        return False
    roles = ["tdc", *["tdp"] * len(contract.tdps), "ccrp"]
    for position, (role, party) in enumerate(zip(roles, contract.parties, strict=True)):
        session.add(
            ContractPartyRow(
                contract=digest, position=position, role=role, did=party.id, name=party.name
            )
        )
    for dataset in contract.datasets:
        session.add(
            ContractDatasetRow(
                contract=digest,
                dataset=dataset.id,
                digest=dataset.digest,
                provider=dataset.provider,
            )
        )
    return True


def locked(session: Session, digest: str) -> ContractRow:
    """Return a contract, locked until the transaction ends.

    Raises:
        MissingError: if there is none.
    """
    query = select(ContractRow).where(ContractRow.digest == digest).with_for_update()
    row = session.exec(query).first()
    if row is None:
        raise MissingError("contract", digest)
    return row


def parties_of(session: Session, digest: str) -> list[ContractPartyRow]:
    """Return the parties of a contract in its order."""
    query = select(ContractPartyRow).where(ContractPartyRow.contract == digest)
    return list(session.exec(query.order_by(col(ContractPartyRow.position))).all())


def parties_of_many(
    session: Session, digests: Collection[str]
) -> Mapping[str, list[ContractPartyRow]]:
    """Return the parties of each of these contracts, in its order."""
    found: dict[str, list[ContractPartyRow]] = {digest: [] for digest in digests}
    query = select(ContractPartyRow).where(col(ContractPartyRow.contract).in_(digests))
    for row in session.exec(query.order_by(col(ContractPartyRow.position))):
        found[row.contract].append(row)
    return found


def signatures_of(parties: Sequence[ContractPartyRow]) -> dict[str, Signed]:
    """Return when each party signed, and when its key was valid."""
    return {
        # A row without a period would be of a key that was never valid.
        party.did: Signed(party.signed_at, party.key_valid_from or 0, party.key_valid_until or 0)
        for party in parties
        if party.signed_at is not None
    }


def summary_of(row: ContractRow, parties: list[ContractPartyRow], *, now: int) -> ContractSummary:
    """Return one line about a contract."""
    return ContractSummary(
        digest=row.digest,
        id=row.id,
        title=row.title,
        state=contract_state(row, parties, now=now),
        tdc=row.tdc,
        start_time=datetime.fromtimestamp(row.starts_at, UTC),
        expiry_time=datetime.fromtimestamp(row.expires_at, UTC),
    )
