"""Training on joined tables, private and with a network of the consumer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from policies import accounting
from policies.wire.pipeline import TrainDlConfig
from tests.tables import dataset_json, join_json, table_train_json
from tests.unit.trainer.data.test_rows import Row, dataset_of, join_of, lend
from trainer import predict
from trainer.data.rows import TableUnits, open_tables
from trainer.loop import StepReport, Trained, train
from trainer.metrics.classes import classification, confusion_matrix
from trainer.models.factory import ONNX_FILE, BaseModel, build_model
from trainer.privacy.streams import Streams


def config_of(**changes: Any) -> TrainDlConfig:
    document = table_train_json(
        optimizer={"name": "Adam", "params": {"lr": 0.1}}, batchSize=40, steps=40, **changes
    )
    return TrainDlConfig.model_validate_json(json.dumps(document), by_alias=True, by_name=False)


def network(width: int = 6) -> BaseModel:
    """Return one hidden layer, as the consumer would seal it."""
    rng = np.random.default_rng(3)
    arrays = {
        "w1": rng.standard_normal((8, width)).astype(np.float32) * 0.5,
        "b1": np.zeros(8, np.float32),
        "w2": rng.standard_normal((2, 8)).astype(np.float32) * 0.5,
        "b2": np.zeros(2, np.float32),
    }
    graph = helper.make_graph(
        [
            helper.make_node("Gemm", ["x", "w1", "b1"], ["h"], transB=1),
            helper.make_node("Relu", ["h"], ["r"]),
            helper.make_node("Gemm", ["r", "w2", "b2"], ["y"], transB=1),
        ],
        "rows",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.checker.check_model(model)
    return BaseModel(ONNX_FILE, model.SerializeToString())


def made(seed: int, people: int = 220) -> tuple[list[Row], list[Row]]:
    """Return people who are positive if they are old and have no dose."""
    rng = np.random.default_rng(seed)
    visits, doses = [], []
    for person in range(people):
        age, dose = int(rng.integers(18, 100)), int(rng.integers(0, 3))
        positive = age > 55 and dose == 0
        sex = "fm"[int(rng.integers(2))]
        visits.append((f"p{person}", 1, f"{age}.0", sex, "79098", str(positive).lower()))
        doses.append((f"p{person}", 1, dose))
    return visits, doses


def units(root: Path, seed: int, *, join: dict[str, Any] | None = None) -> TableUnits:
    items, folders = lend(root, *made(seed))
    return open_tables(items, folders, join=join_of(**(join or {})), dataset=dataset_of())


def fit(people: TableUnits, config: TrainDlConfig, reports: list[StepReport]) -> Trained:
    return train(
        build_model(config.model, base=network()),
        people,
        config,
        agreed=accounting.plan_training(config, units=220) if config.is_private else None,
        streams=Streams.unsafe_seeded(5),
        on_step=reports.append,
    )


def accuracy(trained: Trained, people: TableUnits) -> float:
    model = build_model(config_of().model, base=network())
    model.load_state_dict(trained.weights)
    found, truth = predict.classes(model, people)
    return classification("accuracy", confusion_matrix(found, truth, classes=2)).value


def test_a_network_learns_from_joined_tables_within_its_budget(tmp_path: Path) -> None:
    reports: list[StepReport] = []
    trained = fit(units(tmp_path / "train", 1), config_of(), reports)
    assert trained.spent is not None
    assert trained.spent.micro_epsilon <= 8_000_000
    test = units(tmp_path / "test", 2)
    truth = np.concatenate([test.unit(index)[1] for index in range(len(test))])
    # Saying no to everybody is right for about four of five.
    assert accuracy(trained, test) > float(1 - truth.mean()) + 0.05


def test_what_a_private_run_says_is_the_same_whether_or_not_a_filter_finds_somebody(
    tmp_path: Path,
) -> None:
    nobody = join_json()
    nobody["tables"][0]["where"] = [{"column": "age", "op": "eq", "value": 17.5}]
    full: list[StepReport] = []
    empty: list[StepReport] = []
    fit(units(tmp_path / "full", 1), config_of(), full)
    trained = fit(units(tmp_path / "empty", 1, join=nobody), config_of(), empty)
    assert trained.steps == 40
    assert [(each.step, each.epsilon) for each in full] == [
        (each.step, each.epsilon) for each in empty
    ]
    assert all(bool(torch.isfinite(value).all()) for value in trained.weights.values())


def test_training_without_privacy_on_nobody_ends_too(tmp_path: Path) -> None:
    nobody = join_json()
    nobody["tables"][0]["where"] = [{"column": "age", "op": "eq", "value": 17.5}]
    config = config_of(isPrivate=False, privacyParams=None)
    assert fit(units(tmp_path, 1, join=nobody), config, []).spent is None


def test_the_vectors_fit_what_the_pipeline_says() -> None:
    assert dataset_of().shape == (6,)
    assert dataset_of(features=dataset_json()["features"][:1]).shape == (1,)
    with pytest.raises(ValueError, match="levels"):
        dataset_of(target={"table": "mri-a", "column": "positive", "levels": [True]})
