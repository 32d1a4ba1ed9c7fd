"""Each kind of network trains under every engine, leaves as safetensors, and finds again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from policies import accounting
from policies.wire.pipeline import TrainDlConfig
from tests.training import Blobs, train_config
from trainer.data.units import UnitDataset
from trainer.loop import train
from trainer.metrics.masks import overlap
from trainer.models.factory import build_model, read_base_model, write_model
from trainer.predict import cases, logits, volume_masks
from trainer.privacy.streams import Streams

MASKS: dict[str, Any] = {
    "inChannels": 1,
    "outChannels": 1,
    "levels": 2,
    "channels": 4,
    "groups": 2,
}
CLASSES: dict[str, Any] = {
    "dataset": {"kind": "arrays", "shape": [1, 8, 8], "classes": 2},
    "taskType": "classification",
    "metrics": ["accuracy"],
    "loss": {"class": "CrossEntropyLoss"},
}
VOLUMES: dict[str, Any] = {"dataset": {"kind": "volumes", "patch": [4, 8, 8]}}
DICE_AND_ENTROPY = {
    "expression": "dice + entropy",
    "components": {"dice": {"class": "DiceLoss"}, "entropy": {"class": "BCEWithLogitsLoss"}},
}
STAGES: dict[str, dict[str, Any]] = {
    "unet2d": {"model": {"kind": "unet2d", **MASKS, "blocks": "residual"}},
    "unet2d, deep": {"model": {"kind": "unet2d", **MASKS, "supervision": "deep"}},
    "unet3d": {"model": {"kind": "unet3d", **MASKS}, **VOLUMES},
    "unet3d, deep": {
        "model": {"kind": "unet3d", **MASKS, "supervision": "deep", "blocks": "residual"},
        **VOLUMES,
    },
    "cnn": {
        "model": {
            "kind": "cnn",
            "shape": [1, 8, 8],
            "convolutions": [{"channels": 4, "pool": 2}],
            "hidden": [8],
            "classes": 2,
            "activation": "tanh",
        },
        **CLASSES,
    },
    "mlp": {"model": {"kind": "mlp", "inputs": 64, "hidden": [8], "classes": 2}, **CLASSES},
}


class Lumps:
    """Volumes with a bright lump that is the mask."""

    def __len__(self) -> int:
        return 12

    def unit(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng([3, index])
        mask = np.zeros((1, 1, 6, 12, 14), dtype=np.float32)
        z, y, x = rng.integers(0, (3, 8, 10))
        mask[0, 0, z : z + 3, y : y + 4, x : x + 4] = 1.0
        noise = rng.standard_normal(mask.shape).astype(np.float32)
        return mask * 2 + 0.3 * noise, mask


class Bright:
    """Pictures of which the brighter ones are of class 1."""

    def __len__(self) -> int:
        return 12

    def unit(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        noise = np.random.default_rng(index).standard_normal((1, 1, 8, 8)).astype(np.float32)
        return noise + index % 2, np.array([index % 2])


def units_of(config: TrainDlConfig) -> UnitDataset:
    every: dict[str, UnitDataset] = {"slices": Blobs(), "volumes": Lumps(), "arrays": Bright()}
    return every[config.dataset.kind]


def trained(config: TrainDlConfig, *, units: int = 12) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return train(
        build_model(config.model, base=None),
        units_of(config),
        config,
        agreed=accounting.plan_training(config, units=units) if config.is_private else None,
        streams=Streams.unsafe_seeded(7),
        on_step=lambda _report: None,
    ).weights


@pytest.mark.parametrize("engine", ["per-sample", "opacus"])
@pytest.mark.parametrize("name", STAGES)
def test_each_network_trains_privately_and_its_weights_come_back(
    name: str, engine: str, tmp_path: Path
) -> None:
    config = train_config(**STAGES[name], engine=engine, steps=2, baseWeights=None)
    weights = trained(config)
    torch.manual_seed(1)
    before = build_model(config.model, base=None).state_dict()
    assert all(not torch.equal(weights[key], before[key]) for key in before)
    write_model(weights, config=config, base=None, folder=tmp_path)
    again = build_model(config.model, base=read_base_model(tmp_path))
    assert all(torch.equal(value, weights[key]) for key, value in again.state_dict().items())


@pytest.mark.parametrize("name", STAGES)
def test_both_engines_take_each_network_the_same_way(name: str) -> None:
    weights = [
        trained(train_config(**STAGES[name], engine=engine, steps=2, baseWeights=None))
        for engine in ("per-sample", "opacus")
    ]
    for key, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][key], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("clipping", ["per-layer", "automatic"])
@pytest.mark.parametrize("name", STAGES)
def test_each_network_trains_in_bf16_under_any_clipping(name: str, clipping: str) -> None:
    config = train_config(**STAGES[name], precision="bf16", steps=1, baseWeights=None)
    params = config.privacy_params
    assert params is not None
    params = params.model_copy(update={"clipping": clipping})
    weights = trained(config.model_copy(update={"privacy_params": params}))
    assert all(bool(torch.isfinite(value).all()) for value in weights.values())


@pytest.mark.parametrize("name", [name for name in STAGES if name.startswith("unet")])
def test_a_unet_learns_to_find_what_is_there(name: str) -> None:
    config = train_config(
        **STAGES[name],
        isPrivate=False,
        privacyParams=None,
        steps=60,
        batchSize=12,
        optimizer={"name": "Adam", "params": {"lr": 0.01}},
        loss=DICE_AND_ENTROPY,
        baseWeights=None,
    )
    weights = trained(config)
    model = build_model(config.model, base=None)
    model.load_state_dict(weights)
    units = units_of(config)
    if config.dataset.kind == "slices":
        found = list(cases(model, units, threshold=0.5))
    else:
        found = [
            (volume_masks(model, image, threshold=0.5, patch=(4, 8, 8)), mask > 0)
            for image, mask in map(units.unit, range(len(units)))
        ]
    assert overlap("dice_score", found).value > 0.85


def test_classes_of_a_network_are_learned() -> None:
    for name in ("cnn", "mlp"):
        config = train_config(
            **STAGES[name],
            isPrivate=False,
            privacyParams=None,
            steps=40,
            batchSize=12,
            optimizer={"name": "Adam", "params": {"lr": 0.03}},
            baseWeights=None,
        )
        model = build_model(config.model, base=None)
        model.load_state_dict(trained(config))
        pictures = np.concatenate([Bright().unit(index)[0] for index in range(12)])
        assert (logits(model, pictures).argmax(1) == np.arange(12) % 2).all()
