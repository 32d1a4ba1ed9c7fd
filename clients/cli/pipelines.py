"""Pipelines as commands see them: put together from parts, and judged before they are submitted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from clients.api.answers import BudgetStatus
from clients.cli.agreement import agreement_facts
from clients.cli.errors import NotFoundError
from clients.cli.files import read_bytes
from contract_service.budget.service import planned_charges
from policies import accounting
from policies.decide import Policy
from policies.facts import BudgetAfter, training_facts
from policies.parameters import most_parameters
from policies.wire.contract import Contract
from policies.wire.decision import Decision
from policies.wire.pipeline import PARTS, Pipeline, consolidate
from policies.wire.run import Charge

_SUFFIX = "_config.json"
_COUNTS = frozenset({"reserved", "settled"})


@dataclass(frozen=True)
class Judged:
    """What the policy says about a pipeline, and what a run would cost."""

    decision: Decision
    charges: tuple[Charge, ...]


def read_pipeline(path: Path, *, contract: str, name: str) -> Pipeline:
    """Return the pipeline in a file, or put it together from a folder of parts.

    Raises:
        NotFoundError: when there is neither.
        DocumentError: naming every part and field that is wrong.
    """
    if not path.is_dir():
        return Pipeline.parse(read_bytes(path, what="pipeline"))
    parts = {
        part: read_bytes(path / f"{part}{_SUFFIX}", what=f"{part} part")
        for part in PARTS
        if (path / f"{part}{_SUFFIX}").exists()
    }
    if not parts:
        raise NotFoundError(
            f"{path} holds no parts of a pipeline", hint=f"they are called model{_SUFFIX} and so on"
        )
    return consolidate(parts, contract=contract, name=name)


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


def pretty(pipeline: Pipeline) -> bytes:
    """Return a pipeline as indented JSON, for people to read."""
    return json.dumps(pipeline.to_json(), indent=2, sort_keys=True).encode() + b"\n"
