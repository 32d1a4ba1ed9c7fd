"""A pipeline configuration of DEPA as one of our pipelines, for a contract of ours.

Paths and devices are checked against where DEPA mounts things and dropped: the clean room chooses
them. Epochs become steps, a delta above what is granted becomes what is granted, metrics are those
that the consumer computes on public data. Whatever has no safe meaning is refused by its name.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from policies.depa.form import Change, Notes
from policies.depa.loss import loss_of
from policies.depa.network import KIND, graph_of
from policies.depa.pipeline_form import (
    DepaDirectory,
    DepaJoin,
    DepaJoinConfig,
    DepaMetric,
    DepaPipeline,
    DepaTrainDl,
)
from policies.depa.places import check_paths, input_dataset, joined_datasets
from policies.depa.pointers import depa_pointer
from policies.depa.schedule import optimizer_of, scheduler_of
from policies.errors import DocumentError, Problem
from policies.wire.base import load_json
from policies.wire.contract import Contract
from policies.wire.pipeline import Pipeline
from policies.wire.stages import NOT_OFFERED

_METRICS: Final[Mapping[str, tuple[str, ...]]] = {
    "accuracy": ("accuracy",),
    "classification_report": ("precision", "recall", "f1_score"),
    "confusion_matrix": ("confusion_matrix",),
    "dice_score": ("dice_score",),
    "f1_score": ("f1_score",),
    "jaccard_index": ("jaccard_index",),
    "precision": ("precision",),
    "recall": ("recall",),
}
_OTHER_METRICS: Final = frozenset(
    {
        "hausdorff_distance",
        "mae",
        "mse",
        "precision_recall_curve",
        "r2_score",
        "rmse",
        "roc_auc",
        "roc_curve",
    }
)
"""What DEPA computes and we do not."""
_AVERAGES: Final = ("binary", "macro", "micro", "weighted")
_LARGEST_DELTA: Final = 0.01
"""The largest that DEPA's own contracts grant; a larger one is no claim of privacy at all."""
_STAGES: Final = ("DirectoryJoin", "Train_DL")


@dataclass(frozen=True)
class PipelineGiven:
    """What a configuration of DEPA does not say."""

    contract: Contract
    name: str
    shape: tuple[int, ...]
    """Of one sample: channels, height and width of a picture."""
    classes: int
    """Classes, or mask channels."""
    samples_per_unit: int = 1


@dataclass(frozen=True)
class ImportedPipeline:
    """Our pipeline, and in what it differs from DEPA's configuration."""

    pipeline: Pipeline
    changes: tuple[Change, ...]


def is_depa_pipeline(value: object) -> bool:
    """Return whether a parsed JSON value looks like a configuration of DEPA."""
    return (
        isinstance(value, dict) and "pipeline" in value and not {"contract", "version"} & {*value}
    )


def import_pipeline(data: bytes, given: PipelineGiven) -> ImportedPipeline:
    """Read a configuration of DEPA and return it as a pipeline under a contract.

    Raises:
        DocumentError: naming, by DEPA's pointer, every field that is unknown, dangerous or does
            not fit the contract.
    """
    value = load_json(data, kind=KIND)
    problems = list(_unknown_stages(value))
    if problems:
        raise DocumentError(KIND, problems)
    return _Import(DepaPipeline.from_json(value), given).run()


def _unknown_stages(value: object) -> Iterator[Problem]:
    stages = value.get("pipeline") if isinstance(value, dict) else None
    for index, stage in enumerate(stages if isinstance(stages, list) else ()):
        name = stage.get("name") if isinstance(stage, dict) else None
        if isinstance(name, str) and name not in _STAGES:
            why = NOT_OFFERED.get(name, f"offered are {' and '.join(_STAGES)}")
            yield Problem(f"/pipeline/{index}/name", f"stage {name[:60]!r} is not offered", why)


@dataclass
class _Import:
    source: DepaPipeline
    given: PipelineGiven
    notes: Notes = field(default_factory=Notes)

    def run(self) -> ImportedPipeline:
        stages = self.source.pipeline
        names = [stage.name for stage in stages]
        if names not in (["Train_DL"], ["DirectoryJoin", "Train_DL"]):
            hint = "expected Train_DL, or DirectoryJoin and then Train_DL"
            raise DocumentError(KIND, [Problem("/pipeline", f"stages are {names}", hint)])
        join = stages[0].config if isinstance(stages[0], DepaJoin) else None
        train = stages[-1].config
        if isinstance(train, DepaJoinConfig):
            raise TypeError("the last stage is a join")
        at = f"/pipeline/{len(stages) - 1}/config"
        document = self._document(join, train, at)
        self.notes.settle(KIND)
        try:
            pipeline = Pipeline.from_json(document)
        except DocumentError as error:
            raise DocumentError(
                KIND,
                [Problem(depa_pointer(p.pointer), p.message, p.hint) for p in error.problems],
            ) from None
        return ImportedPipeline(pipeline, tuple(self.notes.changes))

    def _document(self, join: DepaJoinConfig | None, train: DepaTrainDl, at: str) -> dict[str, Any]:
        config = self._train(train, at)
        contract, notes = self.given.contract, self.notes
        check_paths(join, train, at=at, notes=notes)
        stages: list[dict[str, Any]] = []
        if join is None:
            config["input"] = input_dataset(train, contract, at=at, notes=notes)
            datasets: Sequence[str] = (config["input"],)
        else:
            datasets = joined_datasets(join, contract, notes=notes)
            stages.append({"name": "DirectoryJoin", "config": {"datasets": list(datasets)}})
        config["steps"] = self._steps(train, datasets, at)
        if train.privacy_params is not None:
            config["privacyParams"] = self._privacy(train, datasets, at)
        stages.append({"name": "Train_DL", "config": config})
        return {
            "version": "1.0",
            "contract": self.given.contract.digest(),
            "name": self.given.name,
            "pipeline": stages,
        }

    def _train(self, train: DepaTrainDl, at: str) -> dict[str, Any]:
        """Return the training stage but for its data, steps and privacy."""
        onnx = train.model_type == "onnx"
        config: dict[str, Any] = {
            "model": self._model(train, at),
            "dataset": self._dataset(train, at),
            "optimizer": self._part(optimizer_of, train.optimizer, f"{at}/optimizer"),
            "batchSize": train.batch_size,
            "samplesPerUnit": self.given.samples_per_unit,
            "isPrivate": train.is_private,
            "metrics": self._metrics(train, at),
            "taskType": train.task_type,
            "output": "onnx" if onnx else "safetensors",
        }
        if train.scheduler is not None:
            found = self._part(scheduler_of, train.scheduler, f"{at}/scheduler")
            config["scheduler"] = self._noting(found)
        config["loss"] = self._noting(self._part(loss_of, train.loss_config, f"{at}/loss_config"))
        if train.threshold is not None:
            config["threshold"] = train.threshold
        weights = self._base_weights(train, at)
        if weights is not None:
            config["baseWeights"] = weights
        return config

    def _part(self, read: Any, said: Any, at: str) -> Any:
        """Return what a reader of a part makes of it, keeping its problems for later."""
        try:
            return read(said, at=at)
        except DocumentError as error:
            self.notes.problems += error.problems
            return None

    def _noting(self, found: tuple[dict[str, Any], list[Change]] | None) -> Any:
        if found is None:
            return None
        self.notes.changes += found[1]
        return found[0]

    def _model(self, train: DepaTrainDl, at: str) -> Any:
        if train.model_type == "onnx":
            if train.network is not None:
                self.notes.refuse(f"{at}/model_config", "is not read for an onnx model")
            return {"kind": "onnx"}
        if train.network is None:
            self.notes.refuse(f"{at}/model_config", "is missing")
            return None
        return self._part(graph_of, train.network, f"{at}/model_config")

    def _base_weights(self, train: DepaTrainDl, at: str) -> str | None:
        onnx = train.model_type == "onnx"
        read, ignored = "base_model_path", "saved_weights_path"
        paths = {read: train.paths.base_model_path, ignored: train.paths.saved_weights_path}
        if not onnx:
            read, ignored = ignored, read
        if paths[ignored]:
            self.notes.change(
                "dropped",
                f"{at}/paths/{ignored}",
                f"is not read for a model of type {train.model_type}, nor is it by DEPA",
            )
        if not paths[read] and not onnx:
            return None
        models = self.given.contract.base_models
        if len(models) != 1:
            self.notes.refuse(
                f"{at}/paths/{read}",
                f"names base weights, and the contract has {len(models)} base models",
                "seal them as the contract's base model, or start without (not with onnx)",
            )
            return None
        self.notes.change("changed", f"{at}/paths/{read}", f"base model {models[0].id}")
        return models[0].id

    def _dataset(self, train: DepaTrainDl, at: str) -> dict[str, Any]:
        shape = self.given.shape
        self.notes.change(
            "given",
            f"{at}/dataset_config",
            f"samples of {list(shape)}, {self.given.classes} classes",
        )
        self.notes.change(
            "dropped",
            f"{at}/dataset_config",
            "files are read and prepared before sealing, by the provider",
        )
        self.notes.change(
            "changed",
            f"{at}/dataset_config/splits",
            "all units train; the consumer tests on public data of its own",
        )
        if not isinstance(train.dataset_config, DepaDirectory):
            return {"kind": "arrays", "shape": list(shape), "classes": self.given.classes}
        if len(shape) != 3:
            message = f"pictures have three sides, got {list(shape)}"
            self.notes.refuse(f"{at}/dataset_config", message, "give a shape such as 1x64x64")
            shape = (1, 8, 8)
        return {
            "kind": "slices",
            "channels": shape[0],
            "size": list(shape[1:]),
            "classes": self.given.classes,
        }

    def _metrics(self, train: DepaTrainDl, at: str) -> list[str]:
        found: dict[str, None] = {}
        for index, metric in enumerate(train.metrics):
            here = f"{at}/metrics/{index}"
            name = metric.name if isinstance(metric, DepaMetric) else metric
            if isinstance(metric, DepaMetric):
                self._metric_params(metric, train, here)
            if name in _METRICS:
                found |= dict.fromkeys(_METRICS[name])
            elif name in _OTHER_METRICS:
                self.notes.change("dropped", here, f"{name} is not computed")
            else:
                self.notes.refuse(here, f"{name[:60]!r} is no metric of DEPA's")
        self.notes.change(
            "changed", f"{at}/metrics", "computed by the consumer, and never on private data"
        )
        if not found:
            self.notes.refuse(f"{at}/metrics", "none is left", f"offered are {', '.join(_METRICS)}")
        return list(found)

    def _metric_params(self, metric: DepaMetric, train: DepaTrainDl, at: str) -> None:
        for name, value in metric.params.items():
            here = f"{at}/params/{name}"
            if name == "average" and value in _AVERAGES:
                if value != "macro":
                    self.notes.change("changed", here, "the mean over classes is taken")
            elif name != "threshold" or value != train.threshold:
                self.notes.refuse(here, "is not offered; there is one threshold for all metrics")

    def _steps(self, train: DepaTrainDl, datasets: Sequence[str], at: str) -> int:
        units = sum(item.units for item in self.given.contract.datasets if item.id in datasets)
        steps = math.ceil(train.total_epochs * units / train.batch_size)
        self.notes.change(
            "changed",
            f"{at}/total_epochs",
            f"{steps} steps: {train.total_epochs} times {units} units, {train.batch_size} a step",
        )
        return steps

    def _privacy(self, train: DepaTrainDl, datasets: Sequence[str], at: str) -> dict[str, Any]:
        said = train.privacy_params
        limits = [
            item for item in self.given.contract.constraints.privacy if item.dataset in datasets
        ]
        if said is None or not limits:
            return {}
        delta, granted = said.delta, min(limit.run.delta for limit in limits)
        if delta > _LARGEST_DELTA:
            self.notes.refuse(
                f"{at}/privacy_params/delta",
                f"{delta:g} promises nothing",
                f"the contract grants {granted:g}",
            )
        elif delta > granted:
            self.notes.change(
                "tightened",
                f"{at}/privacy_params/delta",
                f"{delta:g} is more than the {granted:g} that is granted, which is asked for",
            )
            delta = granted
        self.notes.change(
            "given",
            f"{at}/privacy_params",
            f"unit {limits[0].unit}, adjacency {limits[0].adjacency}, as in the contract",
        )
        return {
            "epsilon": said.epsilon,
            "delta": delta,
            "maxGradNorm": said.max_grad_norm,
            "unit": limits[0].unit,
            "adjacency": limits[0].adjacency,
        }
