import json
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import nn

from clients.cli.errors import UsageError
from clients.cli.tasks import measuring
from clients.cli.tasks.evaluation import measure
from clients.cli.tasks.measuring import Measurement, measured, taken, written
from clients.cli.tasks.plots import draw_masks
from policies.errors import DocumentError
from policies.wire.choices import Metric
from policies.wire.pipeline import TrainDlConfig
from policies.wire.private_metrics import FILE, PrivateMetricsReport
from tests.metrics import guesses
from tests.training import Blobs, train_config
from trainer.data.volume_set import VolumeDataset
from trainer.metrics.classes import classification, confusion_matrix
from trainer.metrics.masks import overlap
from trainer.predict import cases

OF_MASKS = (
    *("dice_score", "jaccard_index", "hausdorff_distance", "precision", "recall"),
    *("mse", "mae", "rmse", "r2_score"),
)
OF_CLASSES = (
    *("accuracy", "f1_score", "precision", "recall", "confusion_matrix", "roc_auc"),
    *("classification_report", "roc_curve", "precision_recall_curve"),
    *("mse", "mae", "rmse", "r2_score"),
)


class Bright(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return (images - 1) * 10


class Nothing(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.full_like(images, -20.0)


class Guesses:
    """Samples whose input is the logarithm of what `guesses` says."""

    def __init__(self, **said: int) -> None:
        self.probabilities, self.truth = guesses(4, **said)

    def __len__(self) -> int:
        return len(self.truth)

    def unit(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        logits = np.log(self.probabilities[index : index + 1] + 1e-3)
        return logits.astype(np.float32), self.truth[index : index + 1]


def of_masks(*metrics: str) -> TrainDlConfig:
    return train_config(metrics=list(metrics))


def of_classes(*metrics: str, classes: int = 3) -> TrainDlConfig:
    return train_config(
        model={"kind": "onnx"},
        output="onnx",
        dataset={"kind": "arrays", "shape": [classes], "classes": classes},
        loss={"class": "CrossEntropyLoss", "params": {}},
        taskType="classification",
        metrics=list(metrics),
    )


def test_every_metric_is_computed() -> None:
    assert {*OF_MASKS, *OF_CLASSES} == {*get_args(Metric)}
    assert len(get_args(Metric)) == 16
    masks = measure(Bright(), Blobs(), config=of_masks(*OF_MASKS))
    classes = measure(nn.Identity(), Guesses(), config=of_classes(*OF_CLASSES))
    assert (tuple(masks), tuple(classes)) == (OF_MASKS, OF_CLASSES)
    for figure in (*masks.values(), *classes.values()):
        assert figure.value not in (None, [])
        json.dumps(figure.value, allow_nan=False)


def test_older_metrics_keep_their_values() -> None:
    units, samples = Blobs(), Guesses()
    found = measure(Bright(), units, config=of_masks("dice_score", "jaccard_index", "recall"))
    every = list(cases(Bright(), units, threshold=0.5))
    for metric, figure in found.items():
        assert figure.value == overlap(metric, every).value  # type: ignore[arg-type]
    matrix = confusion_matrix(samples.probabilities.argmax(axis=1), samples.truth, classes=3)
    found = measure(nn.Identity(), samples, config=of_classes("f1_score", "confusion_matrix"))
    assert found["f1_score"].value == classification("f1_score", matrix).value
    assert found["confusion_matrix"].value == matrix.tolist()


def test_what_has_no_value_is_ignored_counted_and_no_number() -> None:
    config = of_masks("dice_score", "precision", "hausdorff_distance")
    found = measured(Nothing(), Blobs(count=3), config=config).to_json()
    assert found["metrics"] == {"dice_score": 0.0, "precision": None, "hausdorff_distance": None}
    assert found["counts"] == {
        "dice_score": {"counted": 3, "ignored": 0},
        "precision": {"counted": 0, "ignored": 3},
        "hausdorff_distance": {"counted": 0, "ignored": 3, "ignored_slices": 6},
    }


class Lumps:
    """Volumes of other sizes than the patch, with a bright lump that is the mask."""

    def __len__(self) -> int:
        return 2

    def unit(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        mask = np.zeros((1, 1, 5 + index, 19, 9), dtype=np.float32)
        mask[0, 0, 1:4, 10:15, 2:6] = 1.0
        return mask * 2, mask


class Millimetres(VolumeDataset):
    """The same with a known spacing."""

    def __init__(self) -> None:
        self._units = Lumps()

    @property
    def spacing(self) -> tuple[float, float, float]:
        return (5.0, 1.0, 1.0)

    def __len__(self) -> int:
        return len(self._units)

    def unit(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        images, masks = self._units.unit(index)
        return np.roll(images, 1, axis=2), masks


def of_volumes(*metrics: str) -> TrainDlConfig:
    model = {"kind": "unet3d", "inChannels": 1, "outChannels": 1, "levels": 2}
    dataset = {"kind": "volumes", "patch": [4, 8, 8]}
    return train_config(metrics=list(metrics), model=model, dataset=dataset, baseWeights=None)


def test_volumes_are_measured_whole_and_window_by_window(tmp_path: Path) -> None:
    config = of_volumes("dice_score", "hausdorff_distance", "recall")
    found = measured(Bright(), Lumps(), config=config).to_json()
    assert found["metrics"] == {"dice_score": 1.0, "hausdorff_distance": 0.0, "recall": 1.0}
    assert found["counts"]["hausdorff_distance"] == {"counted": 2, "ignored": 0}
    config = of_volumes("hausdorff_distance")
    apart = measured(Bright(), Millimetres(), config=config).to_json()
    assert apart["metrics"] == {"hausdorff_distance": 5.0}
    png = tmp_path / "masks.png"
    draw_masks(Bright(), Lumps(), threshold=0.5, png=png, patch=(4, 8, 8))
    assert png.read_bytes().startswith(b"\x89PNG")


def test_figures_and_plots_are_put_beside_the_model(tmp_path: Path) -> None:
    beside = tmp_path / "model-metrics"
    config = of_classes(*OF_CLASSES)
    found = written(measured(nn.Identity(), Guesses(), config=config), beside=beside)
    names = ["metrics.json", "confusion_matrix.png", "roc_curve.png", "precision_recall_curve.png"]
    assert found.files == tuple(beside / name for name in names)
    assert sorted(path.name for path in beside.iterdir()) == sorted(names)
    for path in found.files[1:]:
        assert path.read_bytes().startswith(b"\x89PNG")
    told = json.loads(found.files[0].read_text())
    assert told == {name: found.to_json()[name] for name in ("metrics", "counts")}
    first = told["metrics"]["roc_curve"][0]
    assert (first["class"], first["thresholds"][0]) == (0, None)


def test_without_the_library_that_draws_there_are_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "can_draw", lambda: False)
    config = of_classes("roc_curve", "roc_auc")
    found = written(measured(nn.Identity(), Guesses(), config=config), beside=tmp_path / "m")
    assert [path.name for path in found.files] == ["metrics.json"]


def test_people_see_a_row_of_each_metric_and_of_each_class() -> None:
    config = of_classes("accuracy", "classification_report", "roc_curve")
    found = measured(nn.Identity(), Guesses(), config=config)
    rows = found.rows()
    assert [row[0] for row in rows] == [
        *("accuracy", "classification_report", "  class 0", "  class 1", "  class 2"),
        *("  macro", "  weighted", "roc_curve"),
    ]
    assert {len(row) for row in rows} == {len(measuring.COLUMNS)}
    assert rows[-1][1:] == ("3 curves, see metrics.json", "3", "0")


def test_of_many_classes_people_see_the_first() -> None:
    config = of_classes("classification_report", "confusion_matrix", classes=30)
    units = Guesses(classes=30)
    rows = measured(nn.Identity(), units, config=config).rows()
    assert len(rows) == 1 + 20 + 1 + 2 + 1
    assert rows[-1][1] == "30 classes, see metrics.json"


@pytest.mark.parametrize(
    ("units", "metrics", "said"),
    [
        (Guesses(classes=4), ["accuracy"], "classes from 0 to 2"),
        (Guesses(classes=4), ["roc_auc"], "classes from 0 to 2"),
    ],
)
def test_test_data_of_another_kind_is_refused(units: Any, metrics: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        measured(nn.Identity(), units, config=of_classes(*metrics))


def test_a_model_that_gives_no_numbers_has_no_curve() -> None:
    class Broken(nn.Module):
        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            return rows * torch.nan

    with pytest.raises(UsageError, match="finite"):
        measured(Broken(), Guesses(), config=of_classes("roc_curve"))


def released() -> PrivateMetricsReport:
    return PrivateMetricsReport.from_json(
        {
            "version": "1.0",
            "measured": "training units",
            "unit": "patient",
            "epsilon": 0.5,
            "delta": 0.001,
            "noiseMultiplier": 3.0,
            "figures": {
                "dice_score": {"value": 0.875, "deviation": 0.02, "counted": 41.3},
                "recall": {"counted": 2.0},
                "confusion_matrix": {"value": [[3.5, -1.0], [0.0, 2.0]], "counted": 5.5},
            },
        }
    )


def test_figures_of_private_data_are_taken_out_of_the_output_and_put_beside_the_model(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "opened"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"model")
    (folder / FILE).write_bytes(released().canonical())
    found = written(Measurement(private=taken(folder)), beside=tmp_path / "model-metrics")
    assert [path.name for path in folder.iterdir()] == ["model.safetensors"]
    assert [path.name for path in found.files] == [FILE]
    assert PrivateMetricsReport.parse(found.files[0].read_bytes()) == released()
    assert found.to_json()["privateMetrics"] == released().to_json()


def test_people_see_what_noise_does_to_a_figure() -> None:
    assert Measurement(private=released()).rows() == [
        ("dice_score of training patients", "0.8750 ± 0.0200", "about 41", ""),
        ("recall of training patients", "hidden by the noise", "about 2", ""),
        ("confusion_matrix of training patients", f"see {FILE}", "about 6", ""),
    ]


def test_an_output_without_figures_has_none(tmp_path: Path) -> None:
    assert taken(tmp_path) is None
    assert written(Measurement(), beside=tmp_path / "m") == Measurement()
    assert not list(tmp_path.iterdir())
    assert "privateMetrics" not in Measurement().to_json()


def test_figures_that_no_clean_room_writes_are_refused(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text('{"dice_score": 1.0}')
    with pytest.raises(DocumentError, match="private-metrics"):
        taken(tmp_path)
