"""What every part of the service is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from contract_service.audit.record import Record
from contract_service.database import Database
from contract_service.keybroker.evidence import Authorities
from contract_service.keybroker.vaults import Vaults
from contract_service.settings import Settings
from ledger.sequencer import Sequencer
from policies.releases import Policies


@dataclass(frozen=True)
class Context:
    """One service process."""

    settings: Settings
    database: Database
    log: Sequencer
    fingerprint: str
    """SHA-256 of the root under which the log's keys are certified."""
    record: Record
    policies: Policies
    authorities: Authorities
    vaults: Vaults
    clock: Callable[[], float]
    """Unix seconds."""

    @property
    def now(self) -> int:
        """Return the time in whole Unix seconds."""
        return int(self.clock())
