"""Measure a model on public test data, and put the figures and their plots beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from clients.cli.errors import UsageError
from clients.cli.files import new_folder
from clients.cli.tasks.evaluation import Figure, measure
from clients.cli.tasks.plots import can_draw, draw_metrics
from policies.wire.choices import Metric
from policies.wire.pipeline import TrainDlConfig
from trainer.data.units import UnitDataset

COLUMNS = ("metric", "value", "counted", "ignored")
FILE = "metrics.json"
_MAX_ROWS = 20
"""Classes of one metric that a terminal is shown."""


@dataclass(frozen=True)
class Measurement:
    """What was measured, and which files say so."""

    figures: Mapping[Metric, Figure] = field(default_factory=dict)
    files: tuple[Path, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the figures for programs."""
        return {
            "metrics": {metric: figure.value for metric, figure in self.figures.items()},
            "counts": {metric: dict(figure.counts) for metric, figure in self.figures.items()},
            "files": [str(file) for file in self.files],
        }

    def rows(self) -> list[Sequence[str]]:
        """Return the figures for people, a row each; of each class, where a metric has several."""
        return [row for metric, figure in self.figures.items() for row in _rows(metric, figure)]


def measured(
    model: nn.Module, units: UnitDataset, *, config: TrainDlConfig, beside: Path
) -> Measurement:
    """Measure a model, and write the figures and their plots into the new folder `beside`.

    Without the library that draws there are no plots.

    Raises:
        UsageError: when the test data is not what the pipeline is about.
    """
    try:
        found = Measurement(measure(model, units, config=config))
    except ValueError as error:
        hint = "give public test data of the kind that the pipeline trains on"
        raise UsageError(f"the test data cannot be measured: {error}", hint=hint) from None
    with new_folder(beside) as folder:
        folder.mkdir()
        told = {name: part for name, part in found.to_json().items() if name != "files"}
        (folder / FILE).write_text(json.dumps(told, indent=1, allow_nan=False) + "\n")
        plots = draw_metrics(found.figures, folder=folder) if can_draw() else ()
    return Measurement(found.figures, tuple(beside / name for name in (FILE, *plots)))


def _rows(metric: Metric, figure: Figure) -> Iterator[Sequence[str]]:
    counts = (str(figure.counts["counted"]), str(figure.counts.get("ignored", 0)))
    match metric:
        case "roc_curve" | "precision_recall_curve":
            yield (metric, f"{len(figure.value)} curves, see {FILE}", *counts)
        case "classification_report":
            yield (metric, f"accuracy {_shown(figure.value['accuracy'])}", *counts)
            lines = [(f"class {number}", row) for number, row in figure.value["classes"].items()]
            yield from (_report(name, row) for name, row in lines[:_MAX_ROWS])
            if len(lines) > _MAX_ROWS:
                yield (f"  {len(lines) - _MAX_ROWS} more", f"see {FILE}", "", "")
            yield from (_report(name, figure.value[name]) for name in ("macro", "weighted"))
        case "confusion_matrix" if len(figure.value) > _MAX_ROWS:
            yield (metric, f"{len(figure.value)} classes, see {FILE}", *counts)
        case _:
            yield (metric, _shown(figure.value), *counts)


def _report(name: str, row: Mapping[str, Any]) -> Sequence[str]:
    figures = (f"{key} {_shown(row[key])}" for key in ("precision", "recall", "f1_score"))
    return (f"  {name}", "  ".join(figures), str(row["support"]), "")


def _shown(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
