"""The network and the loss of DEPA's brats configuration, trained for two steps."""

from __future__ import annotations

from pathlib import Path

import torch

from policies.accounting import plan_training
from policies.wire.pipeline import TrainDlConfig
from tests.depa import document, imported_pipeline
from tests.training import Blobs
from trainer import predict
from trainer.loop import train
from trainer.models.factory import build_model, read_base_model, write_model
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
