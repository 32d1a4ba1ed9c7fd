"""What a run costs on each data set that it reads, before it is asked for."""

from __future__ import annotations

from policies import accounting
from policies.errors import DocumentError, Problem
from policies.population import most_units
from policies.wire.contract import Contract
from policies.wire.pipeline import Pipeline
from policies.wire.run import Charge


def planned_charges(contract: Contract, pipeline: Pipeline) -> tuple[Charge, ...]:
    """Return what a run costs on each data set; nothing if it is not private.

    Raises:
        DocumentError: if a step takes more units than there are.
        BudgetError: if no noise is enough for what the pipeline wants.
    """
    params = pipeline.train.privacy_params
    datasets = [contract.dataset(name) for name in pipeline.datasets]
    if params is None or any(dataset is None for dataset in datasets):
        return ()
    units = most_units(pipeline, contract)
    if pipeline.train.batch_size > units:
        at = f"/pipeline/{len(pipeline.pipeline) - 1}/config/batchSize"
        problem = Problem(at, f"is more than the {units} {params.unit}s of the data sets")
        raise DocumentError(Pipeline.kind, [problem])
    plan = accounting.plan_training(pipeline.train, units=units)
    return tuple(
        Charge(
            dataset=name,
            tdc=contract.tdc.id,
            micro_epsilon=accounting.micro_epsilon(plan.cost),
            delta_trillionths=accounting.delta_trillionths(params.delta),
            event=accounting.event_to_json(plan.event),
        )
        for name in pipeline.datasets
    )
