"""All tables of the service, for migrations; the ledger's tables are its own."""

from __future__ import annotations

from typing import Final

from sqlalchemy import MetaData
from sqlmodel import SQLModel

from contract_service.audit.tables import AttachmentRow, DocumentRow, StatementRow
from contract_service.budget.tables import BookingRow, LockRow
from contract_service.contracts.tables import ContractDatasetRow, ContractPartyRow, ContractRow
from contract_service.parties.tables import PartyRow, UsedTokenRow
from contract_service.policy.tables import DecisionRow
from contract_service.rules.tables import RulesRow
from contract_service.runs.tables import NonceRow, RunRow

TABLES: Final[tuple[type[SQLModel], ...]] = (
    AttachmentRow,
    BookingRow,
    ContractDatasetRow,
    ContractPartyRow,
    ContractRow,
    DecisionRow,
    DocumentRow,
    LockRow,
    NonceRow,
    PartyRow,
    RulesRow,
    RunRow,
    StatementRow,
    UsedTokenRow,
)


def _metadata() -> MetaData:
    metadata = MetaData()
    for table in TABLES:
        SQLModel.metadata.tables[str(table.__tablename__)].to_metadata(metadata)
    return metadata


METADATA: Final = _metadata()
