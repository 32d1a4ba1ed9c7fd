"""DEPA's own configurations, trained: that of brats for two steps, that of mnist to its end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from policies.accounting import plan_training
from policies.wire.pipeline import TrainDlConfig
from tests.depa import document, imported_pipeline
from tests.graphs import depas_cnn
from tests.training import Blobs
from trainer import predict
from trainer.loop import train
from trainer.models.factory import (
    ONNX_FILE,
    BaseModel,
    build_model,
    read_base_model,
    write_model,
)
from trainer.models.onnx_model import OnnxNetwork, open_onnx
from trainer.privacy.streams import Streams

UNITS = 12


def stage() -> TrainDlConfig:
    """Return DEPA's stage for small pictures, with six patients a step."""
    source = document("brats", "pipeline_config")
    source["pipeline"][1]["config"]["batch_size"] = 6
    config = imported_pipeline("brats", source, shape=(1, 16, 16)).pipeline.train
    return config.model_copy(update={"steps": 2})


def test_depas_brats_configuration_trains_and_its_model_comes_back(tmp_path: Path) -> None:
    config, units = stage(), Blobs(count=UNITS, side=16)
    model = build_model(config.model, base=None)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    agreed = plan_training(config, units=UNITS)
    trained = train(
        model,
        units,
        config,
        agreed=agreed,
        streams=Streams.unsafe_seeded(4),
        on_step=lambda _: None,
    )
    assert trained.steps == 2
    assert trained.spent is not None
    assert trained.spent.micro_epsilon <= 1_500_000
    assert all(not torch.equal(trained.weights[name], before[name]) for name in before)

    write_model(trained.weights, config=config, base=None, folder=tmp_path)
    again = build_model(config.model, base=read_base_model(tmp_path))
    cases = list(predict.cases(again, units, threshold=config.threshold))
    assert len(cases) == UNITS


def test_the_weights_are_called_as_depa_calls_them() -> None:
    names = set(build_model(stage().model, base=None).state_dict())
    assert "_layers.in_conv.weight" in names
    assert "_layers.up_samp3._layers.norm1.bias" in names
    assert len(names) == 2 * (9 * 4 + 4 * 2 + 3)


@dataclass(frozen=True)
class Strokes:
    """Pictures of ten kinds, each with a bright row of its own: a record a unit."""

    count: int = 6_000

    def __len__(self) -> int:
        return self.count

    def unit(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        rng = np.random.default_rng([9, index])
        truth = index % 10
        picture = 0.3 * rng.standard_normal((1, 1, 28, 28)).astype(np.float32)
        picture[0, 0, 2 * truth + 3] += 1
        return picture, np.array([truth])


def test_depas_mnist_configuration_trains_unchanged_and_comes_back_as_onnx(tmp_path: Path) -> None:
    config = imported_pipeline("mnist").pipeline.train
    assert config.steps == 375
    base = BaseModel(ONNX_FILE, depas_cnn().data())
    model = build_model(config.model, base=base)
    assert isinstance(model, OnnxNetwork)
    model.check_fit(config.dataset)
    assert sum(weight.numel() for weight in model.parameters()) == 225_034
    trained = train(
        model,
        Strokes(),
        config,
        agreed=None,
        streams=Streams.unsafe_seeded(4),
        on_step=lambda _: None,
    )
    assert trained.steps == 375
    written = write_model(trained.weights, config=config, base=base, folder=tmp_path).read_bytes()
    found, truth = predict.classes(open_onnx(written), Strokes(100))
    assert float(np.mean(found == truth)) > 0.9
