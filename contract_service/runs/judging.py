"""What the policy says about a pipeline: the same, whether it is submitted or only tried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from policies.charges import planned_charges
from policies.decide import Policy
from policies.facts import BudgetAfter, ContractFacts, TrainingFacts, training_facts
from policies.formats import check_formats
from policies.parameters import most_parameters
from policies.wire.contract import Contract
from policies.wire.decision import Decision
from policies.wire.pipeline import Pipeline
from policies.wire.run import Charge


@dataclass(frozen=True)
class Question:
    """A pipeline under a contract, and what it would cost."""

    contract: Contract
    pipeline: Pipeline
    charges: tuple[Charge, ...]
    parameters: int

    @classmethod
    def about(cls, contract: Contract, pipeline: Pipeline) -> Self:
        """Plan a pipeline, which may take seconds: no transaction should wait for it.

        Raises:
            DocumentError: if pipeline and contract do not fit together.
            BudgetError: if no noise is enough for what the pipeline wants.
        """
        check_formats(pipeline, contract)
        return cls(
            contract,
            pipeline,
            charges=planned_charges(contract, pipeline),
            parameters=most_parameters(pipeline, contract),
        )


def judge(
    question: Question,
    policy: Policy,
    *,
    agreed: ContractFacts,
    budgets: Sequence[BudgetAfter],
) -> tuple[Decision, TrainingFacts]:
    """Return what the policy says, and what it was asked.

    Args:
        question: The pipeline.
        policy: The policy of its contract.
        agreed: What is agreed at this moment.
        budgets: What would be spent after the run.
    """
    facts = training_facts(
        agreed,
        question.pipeline,
        parameters=question.parameters,
        charges=question.charges,
        budgets=budgets,
    )
    return policy.training(facts), facts
