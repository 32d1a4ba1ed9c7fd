"""Judge a pipeline before it is submitted, by the policy and the accountant of the service."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from clients.api.answers import BudgetStatus
from clients.cli.command import Session
from clients.cli.files import write_new
from clients.cli.output import Answer
from clients.cli.tasks.agreement import agreement_facts, load_contract
from clients.cli.tasks.engines import EngineName, opening_engine
from clients.cli.tasks.pipelines import pretty, read_pipeline
from clients.cli.tasks.places import Places
from clients.cli.tasks.reasons import denied, judged
from clients.cli.tasks.rules import policy_with_rules
from clients.cli.tasks.service import connect
from policies import accounting
from policies.charges import planned_charges
from policies.decide import Policy
from policies.facts import BudgetAfter, training_facts
from policies.formats import check_formats
from policies.parameters import most_parameters
from policies.wire.contract import Contract
from policies.wire.decision import Decision
from policies.wire.pipeline import Pipeline
from policies.wire.run import Charge

_COUNTS = frozenset({"reserved", "settled"})


@dataclass(frozen=True)
class Judged:
    """What the policy says about a pipeline, and what a run would cost."""

    decision: Decision
    charges: tuple[Charge, ...]

    @property
    def epsilon(self) -> float:
        """The most that a run would cost any data set."""
        return max((charge.micro_epsilon for charge in self.charges), default=0) / 1e6


def dry_run(session: Session, which: str, config: Path | None, *, engine: EngineName) -> Answer:
    """Judge a contract, or a pipeline under it, as if nothing were spent; write nothing.

    Args:
        session: The command's.
        which: File or digest of the contract.
        config: Pipeline, or folder of its parts; None to judge the contract alone.
        engine: What evaluates the policy.

    Raises:
        Denied: when the policy says no, with every reason, its place and its remedy.
        DepaError: when the engine cannot be asked; see `opening_engine`.
    """
    contract, now = load_contract(session, which), int(time.time())
    policy = policy_with_rules(session, which, contract)
    pipeline, epsilon = None, None
    with opening_engine(session, engine, policy.bundle) as asked:
        policy = replace(policy, engine=asked)
        if config is None:
            decision = policy.contract(agreement_facts(contract, now=now))
        else:
            pipeline = read_pipeline(config, contract=contract.digest(), name=config.stem)
            found = judge(pipeline, contract, policy=policy, budgets=(), now=now)
            decision, epsilon = found.decision, found.epsilon
    places = Places.of(which, contract, config=config, pipeline=pipeline)
    return judged(decision, policy, places, epsilon=epsilon)


def check_pipeline(
    session: Session,
    pipeline: Pipeline,
    contract: Contract,
    *,
    policy: Policy,
    places: Places,
    out: Path | None,
    offline: bool,
) -> Answer:
    """Judge a pipeline; write it out if it is allowed.

    Raises:
        Denied: when the policy says no, with every reason, its place and its remedy.
    """
    budgets = () if offline else _budgets(session, pipeline, contract)
    found = judge(pipeline, contract, policy=policy, budgets=budgets, now=int(time.time()))
    if not found.decision.allow:
        raise denied(found.decision, policy, places)
    if out is not None:
        write_new(out, pretty(pipeline))
    cost = found.epsilon
    warned = [str(reason) for reason in found.decision.warnings]
    return Answer(
        {
            "pipeline": pipeline.digest(),
            "policy": found.decision.policy,
            "epsilon": cost,
            "file": None if out is None else str(out),
            "warnings": warned,
        },
        "\n".join([f"allowed: {pipeline.digest()}, epsilon {cost:g} at most", *warned]),
    )


def _budgets(session: Session, pipeline: Pipeline, contract: Contract) -> tuple[BudgetStatus, ...]:
    client = connect(session)
    found = [item for item in map(contract.dataset, pipeline.datasets) if item is not None]
    answers = [client.budget(dataset.digest) for dataset in found]
    return tuple(b for a in answers for b in a.budgets if b.contract == contract.digest())


def judge(
    pipeline: Pipeline,
    contract: Contract,
    *,
    policy: Policy,
    budgets: Sequence[BudgetStatus],
    now: int,
) -> Judged:
    """Ask the policy that the service asks, over the budgets as far as this role may see them.

    Raises:
        DocumentError: when pipeline and contract do not fit together.
        BudgetError: when no noise is enough for what the pipeline wants.
    """
    check_formats(pipeline, contract)
    charges = planned_charges(contract, pipeline)
    facts = training_facts(
        agreement_facts(contract, now=now),
        pipeline,
        parameters=most_parameters(pipeline, contract),
        charges=charges,
        budgets=[_after(charge, contract, budgets) for charge in charges],
    )
    return Judged(policy.training(facts), charges)


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
