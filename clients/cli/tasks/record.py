"""What the log proves about a contract, verified here and not taken from the service's word."""

from __future__ import annotations

import time

from clients.api.service import ServiceClient
from clients.cli.command import Session
from clients.cli.errors import Refused
from ledger.bundle import Bundle
from ledger.verify import verify_bundle
from policies.dossier import Dossier, read_dossier
from policies.wire.contract import Contract


def proven_dossier(session: Session, client: ServiceClient, contract: str) -> Dossier:
    """Fetch the record of a contract and verify it up to the pinned root.

    Raises:
        LedgerError: when the service's record does not verify.
        RecordRefused: when it contradicts itself.
    """
    log = verify_bundle(
        Bundle.parse(client.contract_bundle(contract)),
        root_fingerprint=session.settings.need("root"),
        at=int(time.time()),
    )
    return read_dossier(log, contract_digest=contract)


def executed_contract(session: Session, client: ServiceClient, digest: str) -> Contract:
    """Return a contract that the log proves to be signed by all parties and not revoked.

    Raises:
        Refused: when it is not executed, or is revoked.
        LedgerError: when the service's record does not verify.
    """
    dossier = proven_dossier(session, client, digest)
    if dossier.executed is None:
        names = ", ".join(party.name for party in dossier.missing)
        raise Refused(f"{digest} is not executed; missing: {names}", hint="depa contract status")
    if dossier.revocations:
        raise Refused(f"{digest} is revoked")
    return dossier.contract
