"""Sealed volumes and released keys become patients to train on, and stay sealed on the disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper
from safetensors.numpy import save_file

from policies.agreement import Agreement
from policies.wire.contract import Contract
from policies.wire.models import UNet3d
from policies.wire.pipeline import Pipeline
from tests.graphs import Maker
from tests.samples import contract_json, pipeline_json
from tests.unit.trainer.data.test_whole import RECIPE, cohort
from trainer.data.errors import DataError
from trainer.data.prepare import prepare
from trainer.inputs import Inputs, read_inputs
from trainer.models.errors import ModelRefused
from trainer.models.onnx_model import OnnxNetwork
from trainer.models.unet import UNet
from trainer.sealed import OctKek, SealedError, seal
from trainer.work import open_files

NETWORK: dict[str, Any] = {
    "kind": "unet3d", "inChannels": 1, "outChannels": 1, "levels": 2, "channels": 4,
}  # fmt: skip
VOLUMES: dict[str, Any] = {"kind": "volumes", "patch": [4, 8, 8], "channels": 1, "classes": 1}


def folders(root: Path) -> dict[str, Path]:
    """Prepare two hospitals' patients, and weights to start from."""
    found = {}
    for name in ("mri-a", "mri-b"):
        raw = cohort(root / f"raw-{name}")
        for patient in list(raw.iterdir()):
            for part in patient.iterdir():
                part.rename(patient / part.name.replace(patient.name, f"{name}-{patient.name}"))
            patient.rename(raw / f"{name}-{patient.name}")
        prepare(raw, root / name, recipe=RECIPE)
        found[name] = root / name
    (root / "base").mkdir()
    weights = UNet(UNet3d.model_validate_json(_json(NETWORK), by_alias=True, by_name=False))
    state = {name: part.numpy() for name, part in weights.state_dict().items()}
    save_file(state, root / "base" / "model.safetensors")
    return {**found, "base": root / "base"}


def _json(value: object) -> str:
    return str(value).replace("'", '"')


def opened(root: Path, *, units: int = 2, graph: Maker | None = None, **changes: Any) -> Inputs:
    document = contract_json()
    document["constraints"]["models"] = ["unet3d", "onnx"]
    sources = folders(root)
    if graph is not None:
        (sources["base"] / "model.safetensors").unlink()
        (sources["base"] / "model.onnx").write_bytes(graph.data())
    files = {item["id"]: item for item in (*document["datasets"], *document["baseModels"])}
    keks = {name: OctKek(f"{name}-key", bytes(range(32))) for name in files}
    for name, item in files.items():
        blob = seal(
            sources[name], root / f"{name}.sealed", dataset=name, version="1", kek=keks[name]
        )
        item |= {"url": f"file://{blob.path}", "digest": blob.digest, "size": blob.size}
    for item in document["datasets"]:
        item |= {"format": "volumes", "units": units}
    contract = Contract.from_json(document)
    train = {"model": NETWORK, "dataset": VOLUMES, "batchSize": 2, **changes}
    pipeline = Pipeline.from_json(pipeline_json(contract.digest(), **train))
    (root / "scratch").mkdir(mode=0o700)
    agreement = Agreement(
        contract=contract,
        contract_digest=contract.digest(),
        pipeline=pipeline,
        pipeline_digest=pipeline.digest(),
        approval=None,  # type: ignore[arg-type]  # opening files asks for none
        run="run-" + "a" * 26,
        service="did:web:service.example",
    )
    files = open_files(agreement, keks=keks, scratch=root / "scratch")
    assert set(files.held) == {"mri-a", "mri-b"}
    return read_inputs(contract, pipeline, scratch=root / "scratch", held=files.held)


def test_sealed_volumes_are_joined_and_only_ciphertext_of_them_is_on_the_disk(
    tmp_path: Path,
) -> None:
    inputs = opened(tmp_path)
    assert len(inputs.units) == 4
    image, mask = inputs.units.unit(3)
    assert image.shape == mask.shape == (1, 1, 9, 12, 10)
    held = sorted(path.name for path in (tmp_path / "scratch").iterdir())
    assert held == ["base", "mri-a.sealed", "mri-b.sealed"]
    patient = (tmp_path / "mri-a" / "mri-a-p0.safetensors").read_bytes()
    for name in ("mri-a.sealed", "mri-b.sealed"):
        data = (tmp_path / "scratch" / name).read_bytes()
        for plain in (b"dataset.json", b"mri-a-p0", b"data_offsets", patient[-600:-500]):
            assert plain not in data


def one_convolution(sides: tuple[int, ...]) -> Maker:
    weight = np.ones((1, 1, 3, 3, 3), dtype=np.float32)
    return Maker(
        nodes=[helper.make_node("Conv", ["x", "weight"], ["y"], pads=[1] * 6)],
        arrays={"weight": weight},
        sample=(1, *sides),
        answer=(1, *sides),
    )


def test_an_onnx_file_for_patches_of_volumes_is_opened_with_them(tmp_path: Path) -> None:
    onnx = {"model": {"kind": "onnx"}, "output": "onnx"}
    inputs = opened(tmp_path, graph=one_convolution((4, 8, 8)), **onnx)
    assert isinstance(inputs.model, OnnxNetwork)
    assert inputs.base is not None
    assert inputs.base.name == "model.onnx"


def test_an_onnx_file_for_other_patches_is_refused_before_a_step(tmp_path: Path) -> None:
    onnx = {"model": {"kind": "onnx"}, "output": "onnx"}
    with pytest.raises(ModelRefused, match=r"takes \[1, 4, 8, 16\], the dataset asks for \[1, 4"):
        opened(tmp_path, graph=one_convolution((4, 8, 16)), **onnx)


def test_volumes_of_other_channels_or_classes_than_the_pipelines_are_refused(
    tmp_path: Path,
) -> None:
    with pytest.raises(DataError, match=r"samples have shape \[1\], the pipeline asks for \[2\]"):
        opened(tmp_path, model={**NETWORK, "inChannels": 2}, dataset={**VOLUMES, "channels": 2})


def test_more_mask_channels_than_there_are_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="masks have 1 channel, the pipeline asks for 3"):
        opened(tmp_path, model={**NETWORK, "outChannels": 3}, dataset={**VOLUMES, "classes": 3})


def test_another_number_of_patients_than_the_contracts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="another number of units"):
        opened(tmp_path, units=3)


def test_a_held_file_that_is_damaged_while_training_is_refused(tmp_path: Path) -> None:
    inputs = opened(tmp_path)
    for name in ("mri-a.sealed", "mri-b.sealed"):
        path = tmp_path / "scratch" / name
        data = bytearray(path.read_bytes())
        data[-500] ^= 1
        path.write_bytes(data)
    inputs.units._datasets[0]._files._kept = None  # type: ignore[attr-defined]  # as of a large set
    inputs.units._datasets[0]._files._files._segments._cached = (-1, b"")  # type: ignore[attr-defined]
    with pytest.raises(SealedError, match="another segment than was there before"):
        inputs.units.unit(0)
    assert np.isfinite(inputs.units.unit(2)[0]).all()
