"""What the policies see of a pipeline and of the budgets it would use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from policies.facts.contract import ContractFacts, Spend
from policies.facts.numbers import BILLION, MICRO, TRILLION, Whole, asked, granted
from policies.facts.tables import TableStageFacts, table_stage
from policies.wire.base import Wire
from policies.wire.graph import GraphModel
from policies.wire.losses import ComposedLoss, Loss
from policies.wire.pipeline import DirectoryJoin, Pipeline, TrainDl, TrainDlConfig
from policies.wire.run import MAX_COUNT, MAX_NOISE, Charge
from policies.wire.tables import TableJoin
from policies.wire.texts import foreign_texts


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
    samples_per_unit: Whole
    """How many samples of a unit one step reads."""
    unit_gradient: str
    """How the gradients of a unit's samples become the one that is clipped."""
    losses: tuple[str, ...]
    """Every loss that the stage names, the components of a composed one included."""
    metrics: tuple[MetricAsked, ...]
    private_metrics_micro_epsilon: Whole
    """What metrics of private data may cost by themselves, in millionths; zero without any."""
    output: str


class InputFacts(Wire):
    """A sealed file that is opened for the run."""

    id: str
    digest: str
    """As the contract pins it; empty for a file that it does not name."""
    access: str
    """`read`: the clean room opens nothing else."""


class PipelineFacts(Wire):
    """The pipeline as far as the policies judge it."""

    digest: str
    contract: str
    """Digest of the contract that it names."""
    inputs: tuple[InputFacts, ...]
    """The data sets, in the order in which the pipeline names them."""
    stages: tuple[TrainStageFacts | TableStageFacts | StageFacts, ...]
    foreign_texts: tuple[str, ...]
    """JSON pointers of the texts that are a path, a URL or the name of a device."""


class BudgetFacts(Wire):
    """What would be spent on a data set after the run, in millionths."""

    dataset: str
    tdc_after: Whole
    overall_after: Whole


class ChargeFacts(Spend):
    """What the run is charged for one data set, and the mechanism that this is computed from."""

    dataset: str
    tdc: str
    noise_micro: Whole
    """Noise multiplier in millionths, rounded down; zero where there is no such mechanism."""
    sampling_billionths: Whole
    steps: Whole
    metrics_noise_micro: Whole
    """Noise multiplier of the metrics that are released, likewise; zero where none are."""


class TrainingFacts(ContractFacts):
    """A pipeline under a contract, with what it is charged and the budgets after that."""

    kind: ClassVar[str] = "training-facts"

    pipeline: PipelineFacts
    charges: tuple[ChargeFacts, ...]
    budgets: tuple[BudgetFacts, ...]


def training_facts(
    agreement: ContractFacts,
    pipeline: Pipeline,
    *,
    parameters: int,
    charges: Sequence[Charge],
    budgets: Sequence[BudgetAfter],
    batch_coupled: Sequence[str] = (),
) -> TrainingFacts:
    """Return the facts about a run of `pipeline`.

    Args:
        agreement: The facts about the contract that the run is under.
        pipeline: What the run does.
        parameters: Number of trainable parameters of its model; where the graph is sealed, an
            upper bound on it.
        charges: What the run would be charged, for each data set that it reads privately.
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
            inputs=tuple(_inputs(pipeline, agreement)),
            stages=tuple(_stages(pipeline, parameters, tuple(batch_coupled))),
            foreign_texts=tuple(foreign_texts(pipeline.to_json())),
        ),
        charges=tuple(map(_charge, charges)),
        budgets=tuple(
            BudgetFacts(
                dataset=budget.dataset,
                tdc_after=budget.tdc_after_micro_epsilon,
                overall_after=budget.overall_after_micro_epsilon,
            )
            for budget in budgets
        ),
    )


def _inputs(pipeline: Pipeline, agreement: ContractFacts) -> Iterator[InputFacts]:
    digests = {item.id: item.digest for item in agreement.contract.datasets}
    for name in pipeline.datasets:
        # The document has no way to ask for more than reading.
        yield InputFacts(id=name, digest=digests.get(name, ""), access="read")


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
        samples_per_unit=config.samples_per_unit,
        # The document has no other way to combine them.
        unit_gradient="mean",
        losses=_losses(config.loss),
        metrics=tuple(_metrics(config)),
        private_metrics_micro_epsilon=(
            asked(config.private_metrics.epsilon, scale=MICRO) if config.private_metrics else 0
        ),
        output=config.output,
    )


def _metrics(config: TrainDlConfig) -> Iterator[MetricAsked]:
    for name in config.metrics:
        yield MetricAsked(name=name, on="public")
    for name in config.private_metrics.metrics if config.private_metrics else ():
        yield MetricAsked(name=name, on="private")


def _coupled(config: TrainDlConfig) -> tuple[str, ...]:
    return config.model.coupled if isinstance(config.model, GraphModel) else ()


def _losses(loss: Loss) -> tuple[str, ...]:
    if isinstance(loss, ComposedLoss):
        return tuple(sorted({component.loss for component in loss.components.values()}))
    return (loss.loss,)


def _charge(charge: Charge) -> ChargeFacts:
    training, metrics_noise = _parts(charge.event)
    noise, rate, steps = _mechanism(training)
    return ChargeFacts(
        dataset=charge.dataset,
        tdc=charge.tdc,
        micro_epsilon=charge.micro_epsilon,
        delta_trillionths=charge.delta_trillionths,
        noise_micro=granted(noise, scale=MICRO),
        sampling_billionths=asked(rate, scale=BILLION),
        steps=steps,
        metrics_noise_micro=granted(metrics_noise, scale=MICRO),
    )


def _parts(event: Mapping[str, Any]) -> tuple[Mapping[str, Any], float]:
    """Return the training of a run, and the noise of the metrics that follow it."""
    match event:
        case {"class_name": "ComposedDpEvent", "events": [dict() as training, dict() as metrics]}:
            if (noise := _noise(metrics)) > 0:
                return training, noise
    return event, 0.0


def _mechanism(event: Mapping[str, Any]) -> tuple[float, float, int]:
    """Return noise, sampling rate and steps of private training; none of any other mechanism."""
    match event:
        case {
            "class_name": "SelfComposedDpEvent",
            "count": int(steps),
            "event": {
                "class_name": "PoissonSampledDpEvent",
                "sampling_probability": float(rate) | int(rate),
                "event": dict() as gaussian,
            },
        } if (
            bool not in {type(steps), type(rate)}
            and 0 < rate <= 1
            and 0 < steps <= MAX_COUNT
            and (noise := _noise(gaussian)) > 0
        ):
            return noise, float(rate), steps
    return 0.0, 0.0, 0


def _noise(event: Mapping[str, Any]) -> float:
    """Return the noise multiplier of a Gaussian mechanism; zero of any other."""
    match event:
        case {"class_name": "GaussianDpEvent", "noise_multiplier": float(noise) | int(noise)} if (
            type(noise) is not bool and 0 < noise <= MAX_NOISE
        ):
            return float(noise)
    return 0.0


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
