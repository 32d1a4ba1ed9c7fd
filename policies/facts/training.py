"""What the policies see of a pipeline and of the budgets it would use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from policies.facts.contract import ContractFacts, Spend
from policies.facts.numbers import MICRO, TRILLION, Whole, asked
from policies.facts.tables import TableStageFacts, table_stage
from policies.wire.base import Wire
from policies.wire.graph import GraphModel
from policies.wire.pipeline import DirectoryJoin, Pipeline, TrainDl, TrainDlConfig
from policies.wire.tables import TableJoin


@dataclass(frozen=True)
class BudgetAfter:
    """What would be spent on a data set if the run were booked, composed at the total delta."""

    dataset: str
    tdc_after_micro_epsilon: int
    """By all runs of this contract's consumer, in millionths, rounded up."""
    overall_after_micro_epsilon: int
    """By all runs of all consumers, in millionths, rounded up."""


class PrivacyAsked(Spend):
    """What a stage would spend and how it bounds the influence of one unit."""

    max_grad_norm_micro: Whole
    unit: str
    adjacency: str


class MetricAsked(Wire):
    """A metric and the data it is computed on."""

    name: str
    on: str
    """`public` or `private`."""


class StageFacts(Wire):
    """One stage of the pipeline."""

    path: str
    """JSON pointer to the stage."""
    name: str
    datasets: tuple[str, ...]
    """What it reads: named by the stage, or by the join before it."""


class TrainStageFacts(StageFacts):
    """A stage that trains."""

    model: str
    parameters: Whole
    base_weights: tuple[str, ...]
    """Id of the base model; empty where training starts from random weights."""
    batch_coupled: tuple[str, ...]
    """Layers and losses through which one sample changes the gradients of others."""
    is_private: bool
    privacy: PrivacyAsked | None
    """Absent where the stage is not private."""
    steps: Whole
    batch_units: Whole
    metrics: tuple[MetricAsked, ...]


class PipelineFacts(Wire):
    """The pipeline as far as the policies judge it."""

    digest: str
    contract: str
    """Digest of the contract that it names."""
    stages: tuple[TrainStageFacts | TableStageFacts | StageFacts, ...]


class BudgetFacts(Wire):
    """What would be spent on a data set after the run, in millionths."""

    dataset: str
    tdc_after: Whole
    overall_after: Whole


class TrainingFacts(ContractFacts):
    """A pipeline under a contract, with the budgets after it."""

    kind: ClassVar[str] = "training-facts"

    pipeline: PipelineFacts
    budgets: tuple[BudgetFacts, ...]


def training_facts(
    agreement: ContractFacts,
    pipeline: Pipeline,
    *,
    parameters: int,
    budgets: Sequence[BudgetAfter],
    batch_coupled: Sequence[str] = (),
) -> TrainingFacts:
    """Return the facts about a run of `pipeline`.

    Args:
        agreement: The facts about the contract that the run is under.
        pipeline: What the run does.
        parameters: Number of trainable parameters of its model; where the graph is sealed, an
            upper bound on it.
        budgets: What would be spent after the run, for each data set that it reads.
        batch_coupled: Names of layers of a sealed graph that couple the samples of a batch, as far
            as it can be read; those that the document itself names come on top.
    """
    return TrainingFacts(
        now=agreement.now,
        contract=agreement.contract,
        signatures=agreement.signatures,
        executed=agreement.executed,
        revoked_by=agreement.revoked_by,
        superseded_by=agreement.superseded_by,
        pipeline=PipelineFacts(
            digest=pipeline.digest(),
            contract=pipeline.contract,
            stages=tuple(_stages(pipeline, parameters, tuple(batch_coupled))),
        ),
        budgets=tuple(
            BudgetFacts(
                dataset=budget.dataset,
                tdc_after=budget.tdc_after_micro_epsilon,
                overall_after=budget.overall_after_micro_epsilon,
            )
            for budget in budgets
        ),
    )


def _stages(
    pipeline: Pipeline, parameters: int, coupled: tuple[str, ...]
) -> Iterator[TrainStageFacts | TableStageFacts | StageFacts]:
    for index, stage in enumerate(pipeline.pipeline):
        path = f"/pipeline/{index}"
        match stage:
            case DirectoryJoin():
                yield StageFacts(path=path, name=stage.name, datasets=stage.config.datasets)
            case TableJoin():
                yield table_stage(path, stage.config, pipeline.train.dataset)
            case TrainDl():
                yield _train(stage.config, path, pipeline.datasets, parameters, coupled)


def _train(
    config: TrainDlConfig,
    path: str,
    datasets: tuple[str, ...],
    parameters: int,
    coupled: tuple[str, ...],
) -> TrainStageFacts:
    return TrainStageFacts(
        path=path,
        name="Train_DL",
        datasets=datasets,
        model=config.model.kind,
        parameters=parameters,
        base_weights=() if config.base_weights is None else (config.base_weights,),
        batch_coupled=(*coupled, *_coupled(config)),
        is_private=config.is_private,
        privacy=_privacy(config),
        steps=config.steps,
        batch_units=config.batch_size,
        # The document has no way to ask for a metric of private data.
        metrics=tuple(MetricAsked(name=name, on="public") for name in config.metrics),
    )


def _coupled(config: TrainDlConfig) -> tuple[str, ...]:
    return config.model.coupled if isinstance(config.model, GraphModel) else ()


def _privacy(config: TrainDlConfig) -> PrivacyAsked | None:
    params = config.privacy_params
    if params is None:
        return None
    return PrivacyAsked(
        micro_epsilon=asked(params.epsilon, scale=MICRO),
        delta_trillionths=asked(params.delta, scale=TRILLION),
        max_grad_norm_micro=asked(params.max_grad_norm, scale=MICRO),
        unit=params.unit,
        adjacency=params.adjacency,
    )
