"""The pipeline: what the consumer wants to run in the clean room, as closed, typed data.

Every choice is a member of an enumeration and every number has bounds. There are no paths, no
devices and no names that are looked up in a module: a document can select what the clean room
offers, never add to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from policies.errors import DocumentError, Problem
from policies.wire.base import Digest, Document, Name, Slug, Wire, load_json, without_tags
from policies.wire.budget import Delta, Epsilon
from policies.wire.choices import Metric, OutputFormat
from policies.wire.constraints import MAX_SAMPLES_PER_UNIT
from policies.wire.contract import Contract, SealedFile
from policies.wire.datasets import Dataset
from policies.wire.fit import check_fit
from policies.wire.losses import Loss
from policies.wire.models import Model
from policies.wire.optimisers import Averaging, Optimizer, Scheduler
from policies.wire.private_metrics import PrivateMetrics
from policies.wire.stages import not_offered
from policies.wire.tables import TableDataset, TableJoin, TableJoinConfig, unread

PARTS = ("model", "dataset", "loss", "train", "eval", "join")
"""The configuration files that `consolidate` puts together; `join` may be left out."""
_MAX_DATASETS = 64

_OF_BOTH = frozenset({"precision", "recall", "mse", "mae", "rmse", "r2_score"})
_METRICS_OF: dict[str, frozenset[str]] = {
    "segmentation": _OF_BOTH | {"dice_score", "jaccard_index", "hausdorff_distance"},
    "classification": _OF_BOTH
    | {
        "accuracy",
        "f1_score",
        "confusion_matrix",
        "classification_report",
        "roc_auc",
        "roc_curve",
        "precision_recall_curve",
    },
}


class Augmentation(Wire):
    """Random changes of a sample, independent of other samples; the mask moves with the image."""

    flip: Literal["none", "horizontal", "vertical", "both"] = "none"
    max_shift: int = Field(default=0, ge=0, le=64)
    """Pixels in height and width; what moves out is lost and what moves in is zero."""
    intensity: float | None = Field(default=None, gt=0, le=1)
    """Largest share by which the image's contrast, and its brightness, are changed."""


class PrivacyParams(Wire):
    """What the run may spend and how one unit's influence is bounded."""

    epsilon: Epsilon
    delta: Delta
    max_grad_norm: float = Field(gt=0, le=1000)
    """Largest Euclidean norm of one unit's gradient in one step."""
    unit: Literal["patient", "record"]
    adjacency: Literal["add-remove", "replace-one"]
    clipping: Literal["flat", "per-layer", "automatic"] | None = None
    """How the norm is bounded: of the whole gradient (the default), of each layer's share of it, or
    by scaling every gradient to about the bound."""


class DirectoryJoinConfig(Wire):
    """Which data sets are put together."""

    datasets: tuple[Slug, ...] = Field(min_length=2, max_length=_MAX_DATASETS)

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len(set(self.datasets)) != len(self.datasets):
            raise ValueError("a data set is named twice")
        return self


class TrainDlConfig(Wire):
    """How a network is trained."""

    input: Slug | None = None
    """The data set to train on, where no join comes before."""
    model: Model
    base_weights: Slug | None = None
    """Base model of the contract with the weights (and, for ONNX, the graph) to start from."""
    dataset: Dataset
    loss: Loss
    optimizer: Optimizer
    scheduler: Scheduler | None = None
    steps: int = Field(ge=1, le=1_000_000)
    """Optimiser steps; all of them run, whether or not their batch is empty."""
    batch_size: int = Field(ge=1, le=1_000_000)
    """Expected privacy units a step; the batch itself is a Poisson sample."""
    samples_per_unit: int = Field(default=1, ge=1, le=MAX_SAMPLES_PER_UNIT)
    """Samples of a unit whose gradients are averaged in one step."""
    augmentation: Augmentation | None = None
    averaging: Averaging | None = None
    is_private: bool
    privacy_params: PrivacyParams | None = None
    precision: Literal["fp32", "bf16"] | None = None
    """Numbers that activations are computed in; weights, gradients and noise are always float32."""
    engine: Literal["per-sample", "opacus"] | None = None
    """What computes the gradients of a private stage; `per-sample` unless given."""
    metrics: tuple[Metric, ...] = Field(min_length=1, max_length=16)
    """What the consumer computes on its own test data; none of it runs on private data."""
    private_metrics: PrivateMetrics | None = None
    """What leaves of the data that was trained on, with noise; nothing without it."""
    task_type: Literal["segmentation", "classification"]
    threshold: float = Field(default=0.5, gt=0, lt=1)
    """Probability from which a pixel counts as found."""
    output: OutputFormat

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.is_private and self.privacy_params is None:
            raise ValueError("isPrivate is true but privacyParams is missing")
        if not self.is_private and self.privacy_params is not None:
            raise ValueError("privacyParams is given but isPrivate is false")
        if self.model.kind == "onnx" and self.base_weights is None:
            raise ValueError("an onnx model needs baseWeights: they hold its graph")
        if (self.output == "onnx") != (self.model.kind == "onnx"):
            raise ValueError(f"output {self.output} does not fit model {self.model.kind}")
        masks = self.dataset.kind in ("slices", "volumes")
        if (self.task_type == "segmentation") != masks:
            raise ValueError(f"taskType {self.task_type} does not fit dataset {self.dataset.kind}")
        fit = _METRICS_OF[self.task_type]
        unfit = sorted(set(self.metrics) - fit)
        if unfit:
            raise ValueError(
                f"metrics {unfit} do not fit taskType {self.task_type}, "
                f"those that do are {', '.join(sorted(fit))}"
            )
        if self.augmentation is not None and isinstance(self.dataset, TableDataset):
            raise ValueError("augmentation changes pictures; the rows of a table have none")
        check_fit(self.model, self.dataset)
        if self.private_metrics is not None:
            self.private_metrics.check(
                task=self.task_type,
                classes=self.dataset.classes,
                epsilon=None if self.privacy_params is None else self.privacy_params.epsilon,
            )
        return self


class DirectoryJoin(Wire):
    """Stage: put the units of several data sets together; a patient in two of them is refused."""

    name: Literal["DirectoryJoin"]
    config: DirectoryJoinConfig


class TrainDl(Wire):
    """Stage: train a network."""

    name: Literal["Train_DL"]
    config: TrainDlConfig


Stage = Annotated[DirectoryJoin | TableJoin | TrainDl, Field(discriminator="name")]
_ORDERS = (["Train_DL"], ["DirectoryJoin", "Train_DL"], ["TableJoin", "Train_DL"])


def _order(stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
    names = [stage.name for stage in stages]
    if names not in _ORDERS:
        raise ValueError(
            f"stages are {names}; expected Train_DL, or DirectoryJoin then Train_DL, "
            "or TableJoin then Train_DL"
        )
    return stages


class Pipeline(Document):
    """What one run does."""

    kind: ClassVar[str] = "pipeline"

    version: Literal["1.0"] = "1.0"
    contract: Digest
    name: Name
    pipeline: Annotated[
        tuple[Stage, ...], Field(min_length=1, max_length=2), AfterValidator(_order)
    ]

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.join is None) == (self.train.input is None):
            raise ValueError(
                "name the data either by a DirectoryJoin stage or by input of Train_DL, not both"
            )
        return self

    @model_validator(mode="after")
    def _tables_are_joined(self) -> Self:
        join, dataset = self.join, self.train.dataset
        joined = join if isinstance(join, TableJoinConfig) else None
        read = dataset if isinstance(dataset, TableDataset) else None
        if (joined is None) != (read is None):
            raise ValueError("a TableJoin stage and a dataset of kind table come together")
        if joined is not None and read is not None and (names := list(unread(joined, read))):
            raise ValueError(f"the join does not hand on {', '.join(names[:5])}")
        return self

    @property
    def train(self) -> TrainDlConfig:
        """The training stage."""
        stage = self.pipeline[-1]
        if not isinstance(stage, TrainDl):
            raise TypeError("the last stage is not Train_DL")
        return stage.config

    @property
    def join(self) -> DirectoryJoinConfig | TableJoinConfig | None:
        """The join, if there is one."""
        stage = self.pipeline[0]
        return None if isinstance(stage, TrainDl) else stage.config

    @property
    def datasets(self) -> tuple[str, ...]:
        """Ids of the data sets that the pipeline reads."""
        if self.join is not None:
            return self.join.datasets
        return () if self.train.input is None else (self.train.input,)

    @property
    def base_models(self) -> tuple[str, ...]:
        """Ids of the base models that the pipeline reads."""
        return () if self.train.base_weights is None else (self.train.base_weights,)

    def files(self, contract: Contract) -> tuple[SealedFile, ...]:
        """Return the sealed files of a contract that the pipeline reads, data sets first."""
        return (
            *(item for item in contract.datasets if item.id in self.datasets),
            *(item for item in contract.base_models if item.id in self.base_models),
        )

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Read a pipeline from a parsed JSON value.

        Raises:
            DocumentError: naming every field that is missing, unknown or wrong.
        """
        try:
            return super().from_json(value)
        except DocumentError as error:
            problems = [
                not_offered(without_tags(problem, value), value) for problem in error.problems
            ]
            raise DocumentError(cls.kind, problems) from None


def consolidate(parts: Mapping[str, bytes], *, contract: str, name: str) -> Pipeline:
    """Put the configuration parts together into one pipeline of a contract.

    Each part is a JSON object. `join` holds the fields of the TableJoin stage if it names tables,
    of the DirectoryJoin stage if not; the fields of all others go into Train_DL, and no field may
    stand in two parts.

    Args:
        parts: The bytes of each part, by its name in `PARTS`.
        contract: Digest of the contract that the run is under.
        name: What the run is called.

    Raises:
        DocumentError: naming the part that is unknown, missing or wrong.
    """
    problems = [
        Problem(f"/{part}", "is not a part of a pipeline", f"the parts are {', '.join(PARTS)}")
        for part in sorted(set(parts) - set(PARTS))
    ]
    problems += [
        Problem(f"/{part}", "is missing", f"write {part}_config.json")
        for part in PARTS
        if part not in parts and part != "join"
    ]
    if problems:
        raise DocumentError("pipeline parts", problems)
    loaded = {part: _part(part, parts[part]) for part in PARTS if part in parts}
    stages: list[dict[str, Any]] = []
    if "join" in loaded:
        join = loaded.pop("join")
        name_of_join = "TableJoin" if "tables" in join else "DirectoryJoin"
        stages.append({"name": name_of_join, "config": join})
    problems = list(_repeated(loaded))
    if problems:
        raise DocumentError("pipeline parts", problems)
    config = {key: value for part in loaded.values() for key, value in part.items()}
    stages.append({"name": "Train_DL", "config": config})
    return Pipeline.from_json(
        {"version": "1.0", "contract": contract, "name": name, "pipeline": stages}
    )


def _part(part: str, data: bytes) -> dict[str, Any]:
    value = load_json(data, kind=f"{part} part")
    if not isinstance(value, dict):
        raise DocumentError(f"{part} part", [Problem("", "is not a JSON object")])
    return value


def _repeated(parts: Mapping[str, Mapping[str, Any]]) -> Iterator[Problem]:
    owner: dict[str, str] = {}
    for part, fields in parts.items():
        for key in fields:
            if key in owner:
                yield Problem(f"/{part}/{key}", f"stands in the {owner[key]} part too")
            owner.setdefault(key, part)
