"""Metrics of the data that was trained on, with noise: the only figures of it that leave.

They are computed once, after the last step, of every unit: training has seen them, so the figures
say how well the model fits them. What they cost is part of the run's plan.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from torch import Tensor, nn

from policies.accounting import PrivacyPlan
from policies.wire.datasets import patch_of
from policies.wire.pipeline import TrainDlConfig
from policies.wire.private_metrics import FILE, PrivateMetricsReport
from trainer.data.units import UnitDataset
from trainer.metrics.class_sums import ClassMetric, ClassSums
from trainer.metrics.mask_sums import MaskMetric, MaskSums
from trainer.metrics.noisy import NoisySum, deviations, noisy_sum
from trainer.predict import PatientFound, logits, patients
from trainer.privacy.csprng import SecureStream

Numbers = NDArray[np.float64]
_SAMPLES = 64
"""About how many samples a network is given at once."""


def measure_privately(
    model: nn.Module,
    units: UnitDataset,
    config: TrainDlConfig,
    *,
    agreed: PrivacyPlan,
    stream: SecureStream,
) -> PrivateMetricsReport:
    """Return the metrics that a stage asks for of the data that it trained on.

    Args:
        model: The trained network.
        units: What it was trained on.
        config: The training stage; it MUST ask for private metrics.
        agreed: The plan of the run, which has paid for them.
        stream: Where the noise comes from.

    Raises:
        ValueError: if the stage asks for none, or the plan has paid for none.
    """
    asked, params, noise = config.private_metrics, config.privacy_params, agreed.metrics_noise
    if asked is None or params is None or noise is None:
        raise ValueError("no metrics of private data were asked and paid for")
    if config.task_type == "segmentation":
        masks = MaskSums(cast("tuple[MaskMetric, ...]", asked.metrics))
        parts = _of_masks(model, units, masks, config)
        found = _sum(masks, parts, noise=noise, stream=stream)
        figures = _figures_of_masks(masks, found)
    else:
        classes = ClassSums(cast("tuple[ClassMetric, ...]", asked.metrics), config.dataset.classes)
        parts = _of_classes(model, units, classes)
        found = _sum(classes, parts, noise=noise, stream=stream)
        figures = _figures_of_classes(classes, found)
    return PrivateMetricsReport.from_json(
        {
            "version": "1.0",
            "measured": "training units",
            "unit": params.unit,
            "epsilon": asked.epsilon,
            "delta": params.delta,
            "noiseMultiplier": noise,
            "figures": figures,
        }
    )


def write_private_metrics(
    trained: Mapping[str, Tensor],
    *,
    model: nn.Module,
    units: UnitDataset,
    config: TrainDlConfig,
    agreed: PrivacyPlan | None,
    folder: Path,
) -> None:
    """Write what a stage asks for of the data that it trained on beside its model, if anything.

    Args:
        trained: The weights that leave.
        model: The network, which gets these weights.
        units: What it was trained on.
        config: The training stage.
        agreed: The plan of the run; None if it is not private.
        folder: Where the model is.

    Raises:
        ValueError: if the plan has not paid for what the stage asks.
    """
    if config.private_metrics is None or agreed is None:
        return
    model.cpu().load_state_dict(dict(trained))
    report = measure_privately(model, units, config, agreed=agreed, stream=SecureStream())
    (folder / FILE).write_bytes(report.canonical())


def _sum(
    sums: MaskSums | ClassSums, parts: Iterator[Numbers], *, noise: float, stream: SecureStream
) -> NoisySum:
    return noisy_sum(
        parts, columns=sums.columns, bound=sums.bound, noise_multiplier=noise, stream=stream
    )


def _of_masks(
    model: nn.Module, units: UnitDataset, sums: MaskSums, config: TrainDlConfig
) -> Iterator[Numbers]:
    def part(patient: PatientFound) -> Numbers:
        return sums.part(found=patient.found, probability=patient.probability, truth=patient.truth)

    # Not a loop, which would hold a volume while the next one is looked at.
    patch = patch_of(config.dataset)
    return map(part, patients(model, units, threshold=config.threshold, patch=patch))


def _of_classes(model: nn.Module, units: UnitDataset, sums: ClassSums) -> Iterator[Numbers]:
    for outputs, truth in _outputs(model, units):
        yield sums.part(
            found=outputs.argmax(axis=1).astype(np.int64),
            probabilities=softmax(outputs.astype(np.float64), axis=1),
            truth=truth,
        )


def _outputs(
    model: nn.Module, units: UnitDataset
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
    """Yield the network's outputs and the true classes of each unit."""
    held: list[tuple[NDArray[np.float32], NDArray[np.int64]]] = []
    for index in range(len(units)):
        inputs, truth = units.unit(index)
        held.append((inputs, np.asarray(truth).astype(np.int64)))
        if index == len(units) - 1 or sum(len(one) for one, _ in held) >= _SAMPLES:
            outputs = logits(model, np.concatenate([one for one, _ in held]))
            ends = np.cumsum([len(one) for one, _ in held])[:-1]
            yield from zip(np.split(outputs, ends), (one for _, one in held), strict=True)
            held = []


def _figures_of_masks(sums: MaskSums, found: NoisySum) -> dict[str, Any]:
    numbers = partial(sums.figures, noise=found.deviation)
    values, counts = numbers(found.values), sums.counts(found.values)
    spread = deviations(numbers, found)
    return {
        metric: _figure(values[metric], spread.get(metric), counts[metric])
        for metric in sums.metrics
    }


def _figures_of_classes(sums: ClassSums, found: NoisySum) -> dict[str, Any]:
    values = sums.figures(found.values, noise=found.deviation)
    counts = sums.counts(found.values, noise=found.deviation)
    spread = dict(deviations(partial(sums.numbers, noise=found.deviation), found))
    # Its cells are the sums themselves.
    spread["confusion_matrix"] = found.deviation
    return {
        metric: _figure(values[metric], spread.get(metric), counts[metric])
        for metric in sums.metrics
    }


def _figure(value: Any, deviation: float | None, counted: float) -> dict[str, Any]:
    known = {"value": value, "deviation": deviation if value is not None else None}
    return {
        **{name: item for name, item in known.items() if item is not None},
        "counted": round(counted, 2),
    }
