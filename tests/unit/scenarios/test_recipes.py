import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from policies.accounting import plan_training
from policies.wire.pipeline import Pipeline, consolidate
from trainer.models.factory import build_model, read_base_model
from trainer.privacy.opacus_engine import check_layers

ROOT = Path(__file__).resolve().parents[3]
UNITS = {"mri-tumor-segmentation": 1000, "mnist": 4000, "ich-ct": 900}


def pipeline(scenario: str) -> Pipeline:
    found = (ROOT / "scenarios" / scenario / "config").glob("*_config.json")
    parts = {path.name.removesuffix("_config.json"): path.read_bytes() for path in found}
    return consolidate(parts, contract="sha256:" + "0" * 64, name=scenario)


def base_model(scenario: str, folder: Path) -> Path:
    script = ROOT / "scenarios" / scenario / "base_model.py"
    subprocess.run(
        [sys.executable, str(script), "--out", str(folder)],
        check=True,
        capture_output=True,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
    )
    return folder


@pytest.mark.parametrize("scenario", UNITS)
def test_a_scenarios_recipe_stays_within_its_contract(scenario: str) -> None:
    train = pipeline(scenario).train
    contract = json.loads((ROOT / "scenarios" / scenario / "contract.json").read_bytes())
    limits = contract["constraints"]["privacy"][0]
    params = train.privacy_params
    assert params is not None
    assert params.epsilon <= limits["run"]["epsilon"]
    assert params.delta <= limits["run"]["delta"]
    assert params.max_grad_norm <= limits["maxGradNorm"]
    assert (params.unit, params.adjacency) == (limits["unit"], limits["adjacency"])
    assert train.steps <= limits["maxSteps"]
    assert plan_training(train, units=UNITS[scenario]).cost <= params.epsilon


@pytest.mark.parametrize("scenario", UNITS)
def test_a_scenarios_base_model_fits_its_recipe_and_is_always_the_same(
    scenario: str, tmp_path: Path
) -> None:
    first = read_base_model(base_model(scenario, tmp_path / "first"))
    second = read_base_model(base_model(scenario, tmp_path / "second"))
    assert first == second
    check_layers(build_model(pipeline(scenario).train.model, base=first))


def test_the_digits_front_end_is_frozen_and_runs_in_onnxruntime(tmp_path: Path) -> None:
    base = read_base_model(base_model("mnist", tmp_path / "base"))
    model = build_model(pipeline("mnist").train.model, base=base)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {"layers.5.weight", "layers.5.bias"}
    session = onnxruntime.InferenceSession(base.unverified_data, providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"digits": np.zeros((2, 1, 28, 28), dtype=np.float32)})
    assert np.asarray(logits).shape == (2, 10)
