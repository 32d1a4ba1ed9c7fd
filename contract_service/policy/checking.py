"""Dry runs: what the policy would say, by the code that decides, and nothing comes of it.

A contract that the caller may see is judged as it stands. A draft is judged as if all parties had
signed it and nobody had spent of its data sets, so that it tells nothing about other contracts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from clients.api.answers import PolicyAnswer, PolicyQuestion
from contract_service.auth import Caller
from contract_service.budget import service as budgets
from contract_service.context import Context
from contract_service.contracts.service import Contracts
from contract_service.problems import MissingError
from contract_service.rules.agreed import policy_of
from contract_service.runs.agreement import agreement_of, contract_of
from contract_service.runs.judging import Question, judge
from policies.errors import DocumentError, Problem
from policies.facts.draft import as_if_signed, unspent
from policies.wire.base import Document
from policies.wire.contract import Contract
from policies.wire.pipeline import Pipeline

D = TypeVar("D", bound=Document)


def dry_run(context: Context, contracts: Contracts, caller: Caller, body: bytes) -> PolicyAnswer:
    """Return what the policy would decide about a contract, or about a pipeline under it.

    Raises:
        DocumentError: naming every field that is wrong.
        MissingError: if the caller may not see the contract that it names.
        BudgetError: if no noise is enough for what the pipeline wants.
    """
    asked = PolicyQuestion.parse(body)
    contract, proposed = _contract(context, contracts, caller, asked.contract)
    question = None
    if asked.pipeline is not None:
        pipeline = _nested("/pipeline", asked.pipeline, Pipeline)
        question = Question.about(contract, pipeline)
    with context.database.read() as session:
        policy = policy_of(context, session, contract)
        agreed = (
            agreement_of(session, contract, now=context.now)
            if proposed
            else as_if_signed(contract, now=context.now)
        )
        if question is None:
            decision = policy.contract(agreed)
        else:
            names, charges = question.pipeline.datasets, question.charges
            after = (
                budgets.after(session, contract, names, charges) if proposed else unspent(charges)
            )
            decision, _ = judge(question, policy, agreed=agreed, budgets=after)
    charges = () if question is None else question.charges
    return PolicyAnswer(
        decision=decision,
        assumes=() if proposed else ("signatures", "unspent-budgets"),
        micro_epsilon=max((charge.micro_epsilon for charge in charges), default=None),
        delta_trillionths=max((charge.delta_trillionths for charge in charges), default=None),
    )


def _contract(
    context: Context, contracts: Contracts, caller: Caller, asked: str | Mapping[str, Any]
) -> tuple[Contract, bool]:
    """Return a contract, and whether it is one that was proposed and the caller may see."""
    if isinstance(asked, str):
        draft, digest = None, asked
    else:
        draft = _nested("/contract", asked, Contract)
        digest = draft.digest()
    with context.database.read() as session:
        try:
            contracts.visible(session, caller, digest)
        except MissingError:
            # To whoever may not see it, a draft that was proposed is like any other.
            if draft is None:
                raise
            return draft, False
        return contract_of(session, digest), True


def _nested(pointer: str, value: Mapping[str, Any], model: type[D]) -> D:
    try:
        return model.parse(json.dumps(value).encode())
    except DocumentError as error:
        raise DocumentError(
            error.kind,
            [
                Problem(pointer + problem.pointer, problem.message, problem.hint)
                for problem in error.problems
            ],
        ) from None
