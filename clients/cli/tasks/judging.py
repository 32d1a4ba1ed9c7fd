"""Judge a pipeline before it is submitted, by the policy and the accountant of the service."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from clients.api.answers import BudgetStatus
from clients.cli.command import Session
from clients.cli.files import write_new
from clients.cli.output import Answer
from clients.cli.tasks.agreement import agreement_facts
from clients.cli.tasks.service import connect
from contract_service.budget.service import planned_charges
from policies import accounting
from policies.decide import Policy
from policies.facts import BudgetAfter, training_facts
from policies.parameters import most_parameters
from policies.wire.contract import Contract
from policies.wire.decision import Decision, Denied
from policies.wire.pipeline import Pipeline
from policies.wire.run import Charge

_COUNTS = frozenset({"reserved", "settled"})


@dataclass(frozen=True)
class Judged:
    """What the policy says about a pipeline, and what a run would cost."""

    decision: Decision
    charges: tuple[Charge, ...]


def check_pipeline(
    session: Session, pipeline: Pipeline, contract: Contract, *, out: Path | None, offline: bool
) -> Answer:
    """Judge a pipeline; write it out if it is allowed.

    Raises:
        Denied: when the policy says no, with every reason.
    """
    budgets = () if offline else _budgets(session, pipeline, contract)
    judged = judge(pipeline, contract, budgets=budgets, now=int(time.time()))
    if not judged.decision.allow:
        raise Denied(judged.decision)
    if out is not None:
        write_new(out, _pretty(pipeline))
    cost = max((charge.micro_epsilon for charge in judged.charges), default=0) / 1e6
    warnings = [str(reason) for reason in judged.decision.warnings]
    return Answer(
        {
            "pipeline": pipeline.digest(),
            "policy": judged.decision.policy,
            "epsilon": cost,
            "file": None if out is None else str(out),
            "warnings": warnings,
        },
        "\n".join([f"allowed: {pipeline.digest()}, epsilon {cost:g} at most", *warnings]),
    )


def _budgets(session: Session, pipeline: Pipeline, contract: Contract) -> tuple[BudgetStatus, ...]:
    client = connect(session)
    found = [item for item in map(contract.dataset, pipeline.datasets) if item is not None]
    answers = [client.budget(dataset.digest) for dataset in found]
    return tuple(b for a in answers for b in a.budgets if b.contract == contract.digest())


def judge(
    pipeline: Pipeline, contract: Contract, *, budgets: Sequence[BudgetStatus], now: int
) -> Judged:
    """Ask the policy that the service asks, over the budgets as far as this role may see them.

    Raises:
        DocumentError: when pipeline and contract do not fit together.
        BudgetError: when no noise is enough for what the pipeline wants.
    """
    charges = planned_charges(contract, pipeline)
    facts = training_facts(
        agreement_facts(contract, now=now),
        pipeline,
        parameters=most_parameters(pipeline, contract),
        budgets=[_after(charge, contract, budgets) for charge in charges],
    )
    return Judged(Policy.embedded().training(facts), charges)


def _after(charge: Charge, contract: Contract, budgets: Sequence[BudgetStatus]) -> BudgetAfter:
    limits = contract.privacy(charge.dataset)
    known = next((b for b in budgets if b.dataset == charge.dataset), None)
    if limits is None or known is None:
        return BudgetAfter(charge.dataset, charge.micro_epsilon, charge.micro_epsilon)
    booked = [entry.event for entry in known.entries if entry.state in _COUNTS]
    events = [accounting.event_from_json(event) for event in [*booked, charge.event]]
    mine = accounting.micro_epsilon(
        accounting.compose(events, delta=limits.total.delta, adjacency=limits.adjacency)
    )
    # What others have booked is not ours to see in detail; the sum is an upper bound.
    others = max(0, known.overall.micro_epsilon_spent - known.total.micro_epsilon_spent)
    return BudgetAfter(charge.dataset, mine, mine + others)


def _pretty(pipeline: Pipeline) -> bytes:
    return json.dumps(pipeline.to_json(), indent=2, sort_keys=True).encode() + b"\n"
