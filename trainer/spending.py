"""What a private training run has cost, as its report says it."""

from __future__ import annotations

from policies import accounting
from policies.accounting import PrivacyPlan
from policies.wire.pipeline import PrivacyParams
from policies.wire.run import Spent


def spent_after(steps: int, *, plan: PrivacyPlan, params: PrivacyParams) -> Spent:
    """Return what the first `steps` steps of a plan cost; all of them, with the metrics after them.

    Raises:
        BudgetError: if the cost cannot be computed.
    """
    whole = steps == plan.steps
    event = plan.event if whole else plan.event_after(steps)
    epsilon = (
        plan.cost
        if whole
        else accounting.compose([event], delta=plan.delta, adjacency=plan.adjacency)
    )
    return Spent(
        micro_epsilon=accounting.micro_epsilon(epsilon),
        delta_trillionths=accounting.delta_trillionths(plan.delta),
        steps=steps,
        noise_multiplier=plan.noise_multiplier,
        sampling_rate=plan.sampling_rate,
        max_grad_norm=params.max_grad_norm,
        unit=params.unit,
        adjacency=plan.adjacency,
        event=accounting.event_to_json(event),
    )
