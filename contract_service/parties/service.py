"""Who is who: names as certificates have them, as far as the caller has to do with them."""

from __future__ import annotations

from sqlmodel import col, select

from clients.api.answers import PartyInfo, PartyList
from contract_service.auth import Caller
from contract_service.context import Context
from contract_service.contracts.service import Contracts
from contract_service.contracts.tables import ContractPartyRow
from contract_service.parties.tables import PartyRow


def known_parties(context: Context, contracts: Contracts, caller: Caller) -> PartyList:
    """Return the caller and everybody it shares a contract with.

    Names come from the certificate of whoever has called; the others are named as contracts do.
    """
    shared: dict[str, set[str]] = {caller.did: set()}
    names: dict[str, str] = {caller.did: caller.name}
    with context.database.read() as session:
        mine = contracts.visible_to(session, caller)
        query = select(ContractPartyRow).where(col(ContractPartyRow.contract).in_(mine))
        for row in session.exec(query):
            shared.setdefault(row.did, set()).add(row.contract)
            names.setdefault(row.did, row.name)
        seen = select(PartyRow).where(col(PartyRow.did).in_(sorted(shared)))
        names |= {row.did: row.name for row in session.exec(seen)}
    return PartyList(
        parties=tuple(
            PartyInfo(id=did, name=names[did], contracts=tuple(sorted(shared[did])))
            for did in sorted(shared)
        )
    )
