"""Measure a model on public test data, and put all figures of it and their plots beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import nn

from clients.cli.errors import UsageError
from clients.cli.files import new_folder
from clients.cli.tasks.evaluation import Figure, measure
from clients.cli.tasks.plots import can_draw, draw_metrics
from policies.wire.choices import Metric
from policies.wire.pipeline import TrainDlConfig
from policies.wire.private_metrics import FILE as PRIVATE_FILE
from policies.wire.private_metrics import PrivateMetricsReport
from trainer.data.units import UnitDataset

COLUMNS = ("metric", "value", "counted", "ignored")
FILE = "metrics.json"
_MAX_ROWS = 20
"""Classes of one metric that a terminal is shown."""


@dataclass(frozen=True)
class Measurement:
    """What was measured, and which files say so."""

    figures: Mapping[Metric, Figure] = field(default_factory=dict)
    private: PrivateMetricsReport | None = None
    """What left the clean room of the data that was trained on."""
    files: tuple[Path, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the figures for programs."""
        private = {} if self.private is None else {"privateMetrics": self.private.to_json()}
        return {
            "metrics": {metric: figure.value for metric, figure in self.figures.items()},
            "counts": {metric: dict(figure.counts) for metric, figure in self.figures.items()},
            **private,
            "files": [str(file) for file in self.files],
        }

    def rows(self) -> list[Sequence[str]]:
        """Return the figures for people, a row each; of each class, where a metric has several."""
        rows = [row for metric, figure in self.figures.items() for row in _rows(metric, figure)]
        return [*rows, *(() if self.private is None else _private_rows(self.private))]


def measured(model: nn.Module, units: UnitDataset, *, config: TrainDlConfig) -> Measurement:
    """Measure a model on public data.

    Raises:
        UsageError: when the test data is not what the pipeline is about.
    """
    try:
        return Measurement(measure(model, units, config=config))
    except ValueError as error:
        hint = "give public test data of the kind that the pipeline trains on"
        raise UsageError(f"the test data cannot be measured: {error}", hint=hint) from None


def taken(folder: Path) -> PrivateMetricsReport | None:
    """Take the figures of private data out of an opened output, which is the model's then.

    Raises:
        DocumentError: when they are not what a clean room writes.
    """
    path = folder / PRIVATE_FILE
    if not path.is_file():
        return None
    report = PrivateMetricsReport.parse(path.read_bytes())
    path.unlink()
    return report


def written(found: Measurement, *, beside: Path) -> Measurement:
    """Write figures and their plots into the new folder `beside`; none if there are no figures.

    Without the library that draws there are no plots.
    """
    names = []
    if not found.figures and found.private is None:
        return found
    with new_folder(beside) as folder:
        folder.mkdir()
        if found.private is not None:
            (folder / PRIVATE_FILE).write_text(_text(found.private.to_json()))
            names.append(PRIVATE_FILE)
        if found.figures:
            told = {name: found.to_json()[name] for name in ("metrics", "counts")}
            (folder / FILE).write_text(_text(told))
            names += [FILE, *(draw_metrics(found.figures, folder=folder) if can_draw() else ())]
    return replace(found, files=tuple(beside / name for name in names))


def _text(value: object) -> str:
    return json.dumps(value, indent=1, allow_nan=False) + "\n"


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


def _private_rows(report: PrivateMetricsReport) -> Iterator[Sequence[str]]:
    for metric, figure in report.figures.items():
        name = f"{metric} of training {report.unit}s"
        value = _shown(figure.value) if isinstance(figure.value, float) else f"see {PRIVATE_FILE}"
        if figure.value is None:
            value = "hidden by the noise"
        elif figure.deviation is not None and isinstance(figure.value, float):
            value += f" ± {figure.deviation:.4f}"
        yield (name, value, f"about {figure.counted:.0f}", "")


def _report(name: str, row: Mapping[str, Any]) -> Sequence[str]:
    figures = (f"{key} {_shown(row[key])}" for key in ("precision", "recall", "f1_score"))
    return (f"  {name}", "  ".join(figures), str(row["support"]), "")


def _shown(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
