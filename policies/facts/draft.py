"""Facts as they would be: of a contract that has yet to be signed, of budgets not yet spent."""

from __future__ import annotations

from collections.abc import Sequence

from policies.facts.contract import ContractFacts, contract_facts
from policies.facts.signature import Signed
from policies.facts.training import BudgetAfter
from policies.wire.contract import Contract
from policies.wire.run import Charge


def as_if_signed(contract: Contract, *, now: int) -> ContractFacts:
    """Return the facts of a contract as if all parties had signed it now."""
    return contract_facts(
        contract,
        signatures={party.id: Signed(now, now, now) for party in contract.parties},
        executed=True,
        revoked_by=(),
        now=now,
    )


def unspent(charges: Sequence[Charge]) -> tuple[BudgetAfter, ...]:
    """Return the budgets after a run as if there had been no other."""
    return tuple(
        BudgetAfter(charge.dataset, charge.micro_epsilon, charge.micro_epsilon)
        for charge in charges
    )
