"""A pipeline configuration of DEPA as one of our pipelines, for a contract of ours.

Paths and devices are checked against where DEPA mounts things and dropped: the clean room chooses
them. Epochs become steps, a delta above what is granted becomes what is granted, metrics are
computed by the consumer, on public data. Whatever has no safe meaning is refused by its name.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, get_args

from policies.depa.form import Change, Notes
from policies.depa.loss import loss_of
from policies.depa.network import KIND, graph_of
from policies.depa.pipeline_form import (
    DepaDirectory,
    DepaJoin,
    DepaMetric,
    DepaPipeline,
    DepaStage,
    DepaTableJoin,
    DepaTabular,
    DepaTrain,
    DepaTrainDl,
)
from policies.depa.places import check_paths, input_dataset, joined_datasets
from policies.depa.pointers import depa_pointer
from policies.depa.schedule import optimizer_of, scheduler_of
from policies.depa.table_join import table_join
from policies.errors import DocumentError, Problem
from policies.wire.base import load_json
from policies.wire.choices import Metric
from policies.wire.contract import Contract
from policies.wire.pipeline import Pipeline
from policies.wire.stages import NOT_OFFERED
from policies.wire.tables import TableDataset

_METRICS: Final = get_args(Metric)
"""DEPA's names are ours."""
_AVERAGES: Final = ("binary", "macro", "micro", "weighted")
_LARGEST_DELTA: Final = 0.01
"""The largest that DEPA's own contracts grant; a larger one is no claim of privacy at all."""
_STAGES: Final = ("DirectoryJoin", "SparkJoin", "Train_DL")


@dataclass(frozen=True)
class PipelineGiven:
    """What a configuration of DEPA does not say."""

    contract: Contract
    name: str
    shape: tuple[int, ...] | None = None
    """Of one sample: channels, height and width of a picture; a table's follows from `table`."""
    classes: int | None = None
    """Classes, or mask channels; a table's follow from `table`."""
    table: TableDataset | None = None
    """What training takes of joined tables."""
    samples_per_unit: int = 1
    max_rows_per_unit: int = 1


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
        *before, last = stages
        if not isinstance(last, DepaTrain) or any(isinstance(one, DepaTrain) for one in before):
            hint = "expected Train_DL, alone or after one join"
            raise DocumentError(KIND, [Problem("/pipeline", f"stages are {names}", hint)])
        at = f"/pipeline/{len(before)}/config"
        document = self._document(before[0] if before else None, last.config, at)
        self.notes.settle(KIND)
        try:
            pipeline = Pipeline.from_json(document)
        except DocumentError as error:
            raise DocumentError(
                KIND,
                [Problem(depa_pointer(p.pointer), p.message, p.hint) for p in error.problems],
            ) from None
        return ImportedPipeline(pipeline, tuple(self.notes.changes))

    def _document(self, join: DepaStage | None, train: DepaTrainDl, at: str) -> dict[str, Any]:
        config = self._train(train, at)
        stages = self._joins(join, train, at)
        if join is None:
            config["input"] = input_dataset(train, self.given.contract, at=at, notes=self.notes)
        stages.append({"name": "Train_DL", "config": config})
        datasets = _datasets(stages)
        config["steps"] = self._steps(train, datasets, at, tables=isinstance(join, DepaTableJoin))
        if train.privacy_params is not None:
            config["privacyParams"] = self._privacy(train, datasets, at)
        return {
            "version": "1.0",
            "contract": self.given.contract.digest(),
            "name": self.given.name,
            "pipeline": stages,
        }

    def _joins(self, join: DepaStage | None, train: DepaTrainDl, at: str) -> list[dict[str, Any]]:
        """Return the stages before training."""
        given, notes = self.given, self.notes
        match join:
            case DepaJoin(config=folders):
                check_paths(folders.joined_dataset, train, at=at, notes=notes)
                ids = joined_datasets(folders, given.contract, notes=notes)
                return [{"name": "DirectoryJoin", "config": {"datasets": list(ids)}}]
            case DepaTableJoin(config=tables):
                check_paths(tables.joined_dataset.joined_dataset, train, at=at, notes=notes)
                config = table_join(
                    tables,
                    given.contract,
                    given.table,
                    max_rows_per_unit=given.max_rows_per_unit,
                    notes=notes,
                )
                return [{"name": "TableJoin", "config": config}]
        check_paths(None, train, at=at, notes=notes)
        return []

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

    def _dataset(self, train: DepaTrainDl, at: str) -> dict[str, Any] | None:
        said, here = train.dataset_config, f"{at}/dataset_config"
        self.notes.change(
            "changed",
            f"{here}/splits",
            "all units train; the consumer tests on public data of its own",
        )
        if isinstance(said, DepaTabular):
            return self._table(said, here)
        shape, classes = self.given.shape, self.given.classes
        if shape is None or classes is None:
            message = "does not say which shape a sample has, or how many classes there are"
            self.notes.refuse(here, message, "give --shape and --classes")
            return None
        self.notes.change("given", here, f"samples of {list(shape)}, {classes} classes")
        self.notes.change(
            "dropped", here, "files are read and prepared before sealing, by the provider"
        )
        if not isinstance(said, DepaDirectory):
            return {"kind": "arrays", "shape": list(shape), "classes": classes}
        if len(shape) != 3:
            message = f"pictures have three sides, got {list(shape)}"
            self.notes.refuse(here, message, "give a shape such as 1x64x64")
            return None
        size = list(shape[1:])
        return {"kind": "slices", "channels": shape[0], "size": size, "classes": classes}

    def _table(self, said: DepaTabular, at: str) -> dict[str, Any] | None:
        """Return what training takes of tables; that it is given is noted with the join."""
        table = self.given.table
        if table is None:
            return None
        if table.target.column.lower() != said.target_variable.lower():
            message = f"is {said.target_variable[:100]}, the given target is {table.target.column}"
            self.notes.refuse(f"{at}/target_variable", message)
        count = len(table.features)
        self.notes.change("given", at, f"{count} features with their bounds and levels, the target")
        self.notes.change(
            "dropped", at, "nothing is scaled or filled by statistics of the private data"
        )
        return table.to_json()

    def _metrics(self, train: DepaTrainDl, at: str) -> list[str]:
        found: dict[str, None] = {}
        for index, metric in enumerate(train.metrics):
            here = f"{at}/metrics/{index}"
            name = metric.name if isinstance(metric, DepaMetric) else metric
            if isinstance(metric, DepaMetric):
                self._metric_params(metric, train, here)
            if name in _METRICS:
                found[name] = None
            else:
                self.notes.refuse(
                    here, f"{name[:60]!r} is no metric", f"offered are {', '.join(_METRICS)}"
                )
        self.notes.change(
            "changed", f"{at}/metrics", "computed by the consumer, and never on private data"
        )
        return list(found)

    def _metric_params(self, metric: DepaMetric, train: DepaTrainDl, at: str) -> None:
        for name, value in metric.params.items():
            here = f"{at}/params/{name}"
            if name == "average" and value in _AVERAGES:
                if value != "macro":
                    self.notes.change("changed", here, "the mean over classes is taken")
            elif name != "threshold" or value != train.threshold:
                self.notes.refuse(here, "is not offered; there is one threshold for all metrics")

    def _steps(self, train: DepaTrainDl, datasets: Sequence[str], at: str, *, tables: bool) -> int:
        counts = [item.units for item in self.given.contract.datasets if item.id in datasets]
        # Of tables that are joined, a unit has a row in each.
        units = min(counts, default=1) if tables else sum(counts)
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


def _datasets(stages: Sequence[dict[str, Any]]) -> Sequence[str]:
    """Return the ids of the data sets that the stages read."""
    first = stages[0]["config"]
    if "tables" in first:
        return [table["dataset"] for table in first["tables"]]
    return [first["input"]] if "input" in first else list(first["datasets"])
