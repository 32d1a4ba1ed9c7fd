"""Metrics of private volumes: of whole patients, at the price of slices, and with noise."""

from __future__ import annotations

import logging
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file
from torch import nn

from clients.cli.tasks.evaluation import measure
from policies import accounting
from policies.wire.contract import Contract
from policies.wire.pipeline import TrainDlConfig
from policies.wire.private_metrics import FILE, PrivateMetricsReport
from tests.room import PATIENTS, Lent, agreement_of
from tests.samples import contract_json
from tests.training import train_config
from trainer import worker
from trainer.data.manifest import MANIFEST, VolumeEntry, VolumesManifest
from trainer.measure import measure_privately
from trainer.messages import OUTPUT, Said
from trainer.models.factory import WEIGHTS_FILE, build_model
from trainer.models.weights import write_weights
from trainer.privacy.csprng import SecureStream, UnsafeSeededStream

MASKS = ["dice_score", "jaccard_index", "precision", "recall", "mse", "mae", "rmse"]
NETWORK: dict[str, Any] = {
    "kind": "unet3d", "inChannels": 1, "outChannels": 1, "levels": 2, "channels": 4, "groups": 2,
}  # fmt: skip
DATASET: dict[str, Any] = {"kind": "volumes", "patch": [4, 8, 8], "channels": 1, "classes": 1}
SIDES = [(4, 8, 8), (9, 12, 10), (3, 7, 16), (6, 20, 9)]
"""Of a patch, larger, smaller than one in two directions, and longer than broad."""
HIDDEN = 1e-5


class Heads:
    """One volume a patient with a bright box that is the mask; the last has one of 40 times."""

    def __init__(self, count: int = 8, *, largest: tuple[int, int, int] = (16, 32, 20)) -> None:
        self.sides = [SIDES[index % len(SIDES)] for index in range(count - 1)] + [largest]

    def __len__(self) -> int:
        return len(self.sides)

    def unit(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        rng = np.random.default_rng([7, index])
        mask = np.zeros((1, 1, *self.sides[index]), dtype=np.float32)
        mask[..., 1:3, 2:6, 1:5] = 1
        return mask * 2 + 0.3 * rng.standard_normal(mask.shape).astype(np.float32), mask


class Finds(nn.Module):
    """Sure of every voxel: that it is brighter than one, or the contrary."""

    def __init__(self, *, right: bool = True) -> None:
        super().__init__()
        self.sure = 1e4 if right else -1e4

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x - 1) * self.sure


class Sharp(Heads):
    """Volumes of zeros and twos, so that nothing is near the border."""

    def unit(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        _, mask = super().unit(index)
        return mask * 2, mask


def asking(metrics: list[str], **changes: Any) -> TrainDlConfig:
    asked = {"metrics": metrics, "epsilon": 1.0}
    whole = {"model": NETWORK, "dataset": DATASET, "metrics": metrics, **changes}
    return train_config(privateMetrics=asked, baseWeights=None, **whole)


def network(config: TrainDlConfig) -> nn.Module:
    torch.manual_seed(2)
    return build_model(config.model, base=None)


def found_by(
    model: nn.Module,
    units: Any,
    config: TrainDlConfig,
    *,
    noise: float | None = None,
    seed: int | None = 5,
) -> PrivateMetricsReport:
    agreed = accounting.plan_training(config, units=len(units))
    stream = SecureStream() if seed is None else UnsafeSeededStream(seed)
    plan = agreed if noise is None else replace(agreed, metrics_noise=noise)
    return measure_privately(model, units, config, agreed=plan, stream=stream)


@pytest.mark.parametrize("metrics", [[metric] for metric in MASKS] + [MASKS])
def test_with_next_to_no_noise_volumes_score_what_they_score_in_public(metrics: list[str]) -> None:
    config, units = asking(metrics), Heads()
    public = measure(network(config), units, config=config)
    found = found_by(network(config), units, config, noise=HIDDEN).figures
    assert list(found) == metrics
    for metric in config.metrics:
        assert found[metric].value == pytest.approx(public[metric].value, abs=1e-3)
        assert found[metric].counted == pytest.approx(public[metric].counts["counted"], abs=0.01)


@pytest.mark.parametrize(("right", "overlap"), [(True, 1.0), (False, 0.0)])
def test_a_perfect_mask_scores_one_and_its_contrary_none(right: bool, overlap: float) -> None:
    found = found_by(Finds(right=right), Sharp(), asking(MASKS), noise=HIDDEN).figures
    for metric in ("dice_score", "jaccard_index", "precision", "recall"):
        assert found[metric].value == pytest.approx(overlap, abs=1e-3)
    for metric in ("mse", "mae", "rmse"):
        assert found[metric].value == pytest.approx(1 - overlap, abs=1e-3)


def test_a_mask_of_several_channels_is_scored_as_a_whole() -> None:
    class Two(Sharp):
        def unit(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
            image, mask = super().unit(index)
            return np.repeat(image, 2, axis=1), np.repeat(mask, 2, axis=1)

    config = asking(
        ["dice_score"],
        model={**NETWORK, "inChannels": 2, "outChannels": 2},
        dataset={**DATASET, "channels": 2, "classes": 2},
    )
    found = found_by(Finds(), Two(), config, noise=HIDDEN).figures
    assert found["dice_score"].value == pytest.approx(1.0, abs=1e-3)


def test_metrics_of_volumes_cost_what_those_of_slices_do() -> None:
    volumes = asking(MASKS)
    slices = train_config(
        privateMetrics={"metrics": MASKS, "epsilon": 1.0}, metrics=MASKS, samplesPerUnit=3
    )
    one, other = (accounting.plan_training(config, units=40) for config in (volumes, slices))
    assert one == other
    assert accounting.event_to_json(one.event) == accounting.event_to_json(other.event)
    free = accounting.plan_training(train_config(model=NETWORK, dataset=DATASET), units=40)
    assert one.noise_multiplier > free.noise_multiplier
    assert free.metrics_noise is None


def test_a_patient_counts_as_one_however_large_the_volume_is() -> None:
    # By voxels, the one patient who is missed would be most of the mean.
    class LastIsHard(Sharp):
        def unit(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
            image, mask = super().unit(index)
            return (image if index < len(self) - 1 else 2 - image), mask

    units = LastIsHard(8)
    found = found_by(Finds(), units, asking(["dice_score", "mse"]), noise=HIDDEN).figures
    assert found["dice_score"].value == pytest.approx(7 / 8, abs=1e-3)
    assert found["mse"].value == pytest.approx(1 / 8, abs=1e-3)
    assert found["mse"].counted == pytest.approx(8, abs=0.01)


def test_one_patient_more_changes_the_sums_by_no_more_than_the_bound() -> None:
    config, sums = asking(["mse"]), []
    for count in range(4, 9):
        figure = found_by(Finds(right=False), Sharp(count), config, noise=HIDDEN).figures["mse"]
        assert figure.value is not None
        sums.append(np.array([(figure.value - 0.5) * figure.counted, figure.counted]))
    for before, after in pairwise(sums):
        assert np.linalg.norm(after - before) <= np.sqrt(1.25) + 0.01


def test_a_network_without_numbers_is_told_by_noise_alone() -> None:
    config, units = asking(MASKS), Heads()
    model = network(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(float("nan"))
    report = found_by(model, units, config)
    assert all(figure.value is None or figure.counted < 8 for figure in report.figures.values())


def test_figures_scatter_by_the_noise_that_was_paid() -> None:
    config, units = asking(["mse"]), Heads()
    reports = [found_by(network(config), units, config, seed=seed) for seed in range(24)]
    counted = [report.figures["mse"].counted for report in reports]
    deviation = reports[0].noise_multiplier * np.sqrt(1.25)
    assert np.std(counted) == pytest.approx(deviation, rel=0.4)


def test_two_reports_of_one_model_differ_and_nothing_is_logged_or_printed(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    config, units = asking(["mse"]), Heads()
    with caplog.at_level(logging.DEBUG):
        one, other = (found_by(network(config), units, config, seed=None) for _ in range(2))
    assert one.figures != other.figures
    assert capsys.readouterr() == ("", "")
    assert not [record for record in caplog.records if record.name.startswith("trainer")]


def lend_volumes(root: Path) -> Lent:
    """Return two hospitals' volumes in place of their slices."""
    lent = Lent(root)
    for seed, name in enumerate(("mri-a", "mri-b")):
        for path in lent.plain(name).iterdir():
            path.unlink()
        units, entries = Heads(PATIENTS), []
        for index, sides in enumerate(units.sides):
            image, mask = units.unit(index)
            tensors = {"image": image[0].astype(np.float16), "mask": mask[0].astype(np.uint8)}
            save_file(tensors, lent.plain(name) / f"{name}-{seed}{index}.safetensors")
            entries.append(VolumeEntry(patient=f"{name}-{seed}{index}", shape=sides))
        manifest = VolumesManifest(
            patients=tuple(entries), channels=1, spacing=(2.0, 1.0, 1.0), recipe={}
        )
        (lent.plain(name) / MANIFEST).write_bytes(manifest.canonical())
    weights = write_weights(network(asking(["mse"])).state_dict())
    (lent.plain("base") / WEIGHTS_FILE).write_bytes(weights)
    return lent


def test_metrics_of_sealed_volumes_are_written_beside_the_model_and_said_nowhere(
    tmp_path: Path,
) -> None:
    lent = lend_volumes(tmp_path)
    document = contract_json()
    parts = lent.terms(document)
    for item in parts["datasets"]:
        item["format"] = "volumes"
    document["constraints"]["models"] = ["unet3d"]
    contract = Contract.from_json(document | parts)
    agreement = agreement_of(
        contract,
        model=NETWORK,
        dataset=DATASET,
        privateMetrics={"metrics": MASKS, "epsilon": 1.0},
    )
    words: list[Said] = []
    worker.perform(lent.job(agreement), words.append)
    assert words[-1].trained == 4
    folder = lent.scratch / OUTPUT
    assert {path.name for path in folder.iterdir()} == {WEIGHTS_FILE, FILE}
    report = PrivateMetricsReport.parse((folder / FILE).read_bytes())
    assert set(report.figures) == set(MASKS)
    assert report.unit == "patient"
    # No figure, and nothing of a patient, is among the words that are passed on.
    assert {name for word in words for name in word.to_json() if name != "stepped"} <= {
        "ready", "kept", "trained"
    }  # fmt: skip
