"""Contracts as commands see them: from a file or the service, in words, and as facts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from clients.api.service import ServiceClient
from clients.cli.command import Session
from clients.cli.files import read_bytes
from clients.cli.tasks.rules import describe_rules
from clients.cli.tasks.service import connect
from policies.facts import ContractFacts
from policies.facts.draft import as_if_signed
from policies.wire.constraints import Privacy
from policies.wire.contract import Contract

_DIGEST = "sha256:"
_TIME = "%Y-%m-%d %H:%M"


def load_contract(session: Session, which: str, *, client: ServiceClient | None = None) -> Contract:
    """Return the contract in a file, or the one of a digest from the service.

    Raises:
        NotFoundError: when there is none.
        DocumentError: naming every field that is wrong.
    """
    if which.startswith(_DIGEST):
        return (client or connect(session)).contract(which)
    return Contract.parse(read_bytes(Path(which), what="contract"))


def agreement_facts(contract: Contract, *, now: int) -> ContractFacts:
    """Return the facts of a contract as if all parties had signed it now."""
    return as_if_signed(contract, now=now)


def party_name(contract: Contract, did: str) -> str:
    """Return what a contract calls a party."""
    return next((party.name for party in contract.parties if party.id == did), did)


def describe(contract: Contract, rules: Mapping[str, bytes]) -> str:
    """Return what a party has to see before it signs.

    Args:
        contract: The contract.
        rules: Texts of its providers' own rules, by digest, as far as they are at hand.
    """
    days = (contract.expiry_time - contract.start_time).days
    lines = [
        contract.title,
        "",
        f"consumer    {contract.tdc.name}",
        *(f"provider    {party.name}" for party in contract.tdps),
        f"clean room  {contract.ccrp.name}",
        f"purpose     {contract.purpose}, models {', '.join(contract.constraints.models)}",
        f"valid       {contract.start_time:{_TIME}} to {contract.expiry_time:{_TIME}} UTC "
        f"({days} days)",
        "",
    ]
    for dataset in contract.datasets:
        limit = contract.privacy(dataset.id)
        provider = party_name(contract, dataset.provider)
        lines.append(f"data        {dataset.id}: {dataset.name} ({provider})")
        if limit is not None:
            lines.append(f"            {dataset.units} {limit.unit}s, {_terms(limit)}")
            lines.append(f"            {_leaving(limit)}")
    models = [f"weights     {model.id}: {model.name}" for model in contract.base_models]
    added = describe_rules(contract, rules)
    return "\n".join([*lines, *models, *added, "", f"digest      {contract.digest()}"])


def _terms(limit: Privacy) -> str:
    return (
        f"ε {limit.run.epsilon:g} a run, {limit.total.epsilon:g} in all for this consumer, "
        f"{limit.overall.epsilon:g} for everybody; δ {limit.run.delta:g} a run; {limit.adjacency}"
    )


def _leaving(limit: Privacy) -> str:
    granted = limit.private_metrics
    if granted is None:
        return "no metric of it leaves the clean room"
    return (
        f"metrics of it leave with noise: {', '.join(granted.metrics)}, "
        f"for at most ε {granted.epsilon:g} of a run"
    )
