"""A fetched model looks at scans: masks lie on their voxels, damaged scans are named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from onnx import helper
from PIL import Image
from torch import nn

from clients.cli.errors import NotFoundError, Refused, UsageError
from clients.cli.output import Answer, Output
from clients.cli.tasks.origin import Origin, Preparation, model_digest, origin_path
from clients.cli.tasks.overlay import draw_overlay
from clients.cli.tasks.predicting import predict_scans
from policies.errors import DocumentError
from policies.wire.pipeline import Pipeline
from tests.graphs import Maker
from tests.training import train_config, train_json
from trainer.data.errors import DataError
from trainer.data.intensity import Window
from trainer.data.manifest import MANIFEST, Manifest, PatientEntry
from trainer.data.preprocess import Recipe
from trainer.data.whole import VolumeRecipe
from trainer.models.errors import ModelRefused
from trainer.models.factory import ONNX_FILE, BaseModel, build_model, write_model

DIGEST = "sha256:" + "0" * 64
AFFINE = np.array([[-2.0, 0, 0, 30], [0, -2.0, 0, 20], [0, 0, 2.5, -9], [0, 0, 0, 1]])
SHAPE = (16, 16, 8)
SLICES = {"dataset": {"kind": "slices", "size": [16, 16]}, "baseWeights": None}
VOLUMES = {
    "dataset": {"kind": "volumes", "patch": [4, 8, 8]},
    "model": {"kind": "unet3d", "inChannels": 1, "outChannels": 1, "levels": 2, "channels": 4},
    "baseWeights": None,
}


BRIGHT = {"class": "Conv3d", "params": {"inChannels": 1, "outChannels": 1, "kernelSize": 1}}
GRAPH = {
    **VOLUMES,
    "model": {
        "kind": "graph",
        "layers": {"head": BRIGHT},
        "inputs": ["x"],
        "forward": [{"ops": ["head"], "inputs": ["x"], "output": "y"}],
        "output": "y",
    },
}
ONNX = {**VOLUMES, "model": {"kind": "onnx"}, "baseWeights": "base", "output": "onnx"}


def one_convolution() -> BaseModel:
    """Return an ONNX file for patches that finds something everywhere."""
    maker = Maker(
        nodes=[helper.make_node("Conv", ["x", "weight", "bias"], ["y"])],
        arrays={
            "weight": np.zeros((1, 1, 1, 1, 1), dtype=np.float32),
            "bias": np.full(1, 5.0, dtype=np.float32),
        },
        sample=(1, 4, 8, 8),
        answer=(1, 4, 8, 8),
    )
    return BaseModel(ONNX_FILE, maker.data())


def head() -> np.ndarray:
    image = np.zeros(SHAPE, dtype=np.int16)
    image[2:14, 2:14] = 100 + np.arange(12)[:, None, None]
    image[5:9, 5:9, 2:5] = 300
    return image


def scan(path: Path) -> Path:
    nib.save(nib.Nifti1Image(head(), AFFINE), path)
    return path


def fetched(folder: Path, *, recipe: Recipe | VolumeRecipe | None, **stage: Any) -> Path:
    """Return a model folder with its origin, as `depa run fetch` leaves them."""
    model = folder / "model"
    model.mkdir()
    config = train_config(**stage)
    base = one_convolution() if config.output == "onnx" else None
    network = build_model(config.model, base=base)
    if base is None:
        bright(network)
    write_model(network.state_dict(), config=config, base=base, folder=model)
    pipeline = Pipeline.from_json(
        {
            "version": "1.0",
            "contract": DIGEST,
            "name": "lesions",
            "pipeline": [{"name": "Train_DL", "config": train_json(**stage)}],
        }
    )
    layout = "slices" if isinstance(recipe, Recipe) else "volumes"
    origin = Origin(
        run="run-" + "a" * 26,
        contract=DIGEST,
        report=DIGEST,
        sealed=DIGEST,
        file=model_digest(model),
        pipeline=pipeline,
        preparation=Preparation(layout=layout, recipe=recipe.to_json()) if recipe else None,
    )
    origin_path(model).write_bytes(origin.canonical())
    return model


def bright(network: nn.Module) -> None:
    """Make a network that finds something everywhere."""
    for name, value in network.named_parameters():
        part, _, field = name.rpartition(".")
        if part.endswith("head"):
            value.data.fill_(0.0 if field == "weight" else 5.0)


def predict(model: Path, *scans: Path, out: Path, **options: Any) -> Answer:
    given = {"like": None, "overlap": 0.5, "output": Output(quiet=True), **options}
    return predict_scans(model, scans, folder=out, **given)


@pytest.mark.parametrize(
    ("recipe", "stage"),
    [
        (Recipe(size=(16, 16)), SLICES),
        (VolumeRecipe(spacing=(2.5, 2.0, 2.0)), VOLUMES),
        (VolumeRecipe(spacing=(2.5, 2.0, 2.0)), GRAPH),
        (VolumeRecipe(spacing=(2.5, 2.0, 2.0)), ONNX),
    ],
    ids=["slices", "volumes", "a graph for volumes", "an ONNX file for volumes"],
)
def test_masks_lie_on_the_voxels_of_the_scan(
    recipe: Recipe | VolumeRecipe, stage: dict[str, Any], tmp_path: Path
) -> None:
    model = fetched(tmp_path, recipe=recipe, **stage)
    found = predict(model, scan(tmp_path / "one.nii.gz"), out=tmp_path / "found").value
    (entry,) = found["scans"]
    mask = nib.load(entry["masks"][0])
    assert mask.shape == SHAPE
    assert mask.get_data_dtype() == np.uint8
    assert np.array_equal(mask.affine, AFFINE)
    assert mask.header.get_xyzt_units()[0] == "mm"
    voxels = np.asarray(mask.dataobj)
    assert set(np.unique(voxels)) <= {0, 1}
    # A volume ends with the head; slices are seen whole.
    inside = voxels[2:14, 2:14]
    assert inside.all()
    assert bool(voxels.all()) == isinstance(recipe, Recipe)
    assert entry["millilitres"] == [pytest.approx(voxels.sum() * 2 * 2 * 2.5 / 1000, abs=1e-3)]
    with Image.open(entry["overlay"]) as picture:
        assert picture.format == "PNG"
        assert picture.size == (4 * 228 - 4, 2 * 228 - 4)
    assert sorted(path.name for path in (tmp_path / "found").iterdir()) == [
        "one.png",
        "one_mask.nii.gz",
    ]


def test_each_class_has_a_mask_of_its_own_and_the_same_scan_the_same_bytes(
    tmp_path: Path,
) -> None:
    stage = {
        **SLICES,
        "dataset": {"kind": "slices", "size": [16, 16], "classes": 2},
        "model": {"kind": "unet2d", "inChannels": 1, "outChannels": 2, "levels": 2, "channels": 4},
    }
    model = fetched(tmp_path, recipe=Recipe(size=(16, 16)), **stage)
    one = scan(tmp_path / "one_image.nii.gz")
    for name in ("first", "second"):
        (entry,) = predict(model, one, out=tmp_path / name).value["scans"]
        assert [Path(mask).name for mask in entry["masks"]] == [
            "one_mask1.nii.gz",
            "one_mask2.nii.gz",
        ]
        assert len(entry["millilitres"]) == 2
    for path in (tmp_path / "first").iterdir():
        assert path.read_bytes() == (tmp_path / "second" / path.name).read_bytes()


def test_a_damaged_scan_is_named_and_left_out(tmp_path: Path) -> None:
    model = fetched(tmp_path, recipe=Recipe(size=(16, 16)), **SLICES)
    good, cut = scan(tmp_path / "good.nii.gz"), tmp_path / "cut.nii.gz"
    cut.write_bytes(good.read_bytes()[:-200])
    (tmp_path / "more").mkdir()
    again = scan(tmp_path / "more" / "good.nii.gz")
    answer = predict(model, cut, good, again, tmp_path / "none.nii", out=tmp_path / "found")
    assert [one["scan"] for one in answer.value["scans"]] == ["good"]
    reasons = {one["scan"]: one["reason"] for one in answer.value["refused"]}
    assert set(reasons) == {"cut", "good", "none"}
    assert "cut.nii.gz" in reasons["cut"]
    assert reasons["good"] == "another scan has this name"
    assert "3 left out" in answer.text


def test_nothing_is_written_when_no_scan_is_left(tmp_path: Path) -> None:
    model = fetched(tmp_path, recipe=Recipe(size=(16, 16)), **SLICES)
    with pytest.raises(Refused, match="no scan is left of 1: none: "):
        predict(model, tmp_path / "none.nii", out=tmp_path / "found")
    assert not (tmp_path / "found").exists()
    (tmp_path / "found").mkdir()
    with pytest.raises(UsageError, match="exists already"):
        predict(model, tmp_path / "none.nii", out=tmp_path / "found")


def test_the_recipe_comes_from_the_fetch_or_from_a_folder_like_it(tmp_path: Path) -> None:
    model = fetched(tmp_path, recipe=None, **SLICES)
    one, like = scan(tmp_path / "one.nii.gz"), tmp_path / "like"
    with pytest.raises(UsageError, match="nothing says how scans are prepared") as caught:
        predict(model, one, out=tmp_path / "found")
    assert "--like" in caught.value.hint
    like.mkdir()
    patients = (PatientEntry(patient="a", slices=1),)
    for size in (32, 16):
        recipe = Recipe(size=(size, size))
        manifest = Manifest(
            patients=patients, channels=1, size=recipe.size, recipe=recipe.to_json()
        )
        (like / MANIFEST).write_bytes(manifest.canonical())
        if size == 32:
            with pytest.raises(DataError, match=r"makes slices of 32x32 .* takes slices of 16x16"):
                predict(model, one, out=tmp_path / "found", like=like)
    assert predict(model, one, out=tmp_path / "found", like=like).value["scans"]


def test_another_model_than_the_fetched_one_is_refused(tmp_path: Path) -> None:
    model = fetched(tmp_path, recipe=Recipe(size=(16, 16)), **SLICES)
    one, out = scan(tmp_path / "one.nii.gz"), tmp_path / "found"
    path = model / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-4] + b"\0\0\0\0")
    with pytest.raises(Refused, match=r"model\.safetensors: expected sha256"):
        predict(model, one, out=out)
    path.rename(model / "model.pt")
    with pytest.raises(ModelRefused, match="expected one of"):
        predict(model, one, out=out)
    (model / "model.pt").rename(path)
    origin = origin_path(model)
    value = json.loads(origin.read_bytes())
    origin.write_text(json.dumps({**value, "trusted": True}))
    with pytest.raises(DocumentError, match="/trusted"):
        predict(model, one, out=out)
    origin.unlink()
    with pytest.raises(NotFoundError, match="origin of the model"):
        predict(model, one, out=out)


def test_a_picture_shows_what_was_found_in_red_the_right_way_up(tmp_path: Path) -> None:
    image = np.zeros((10, 20, 4), dtype=np.float32)
    image[:, :, 2] = 50.0
    found = np.zeros(image.shape, dtype=bool)
    found[7:, 17:, 2] = True
    path = tmp_path / "a.png"
    path.write_bytes(draw_overlay(image, found, spacing=(2.0, 1.0, 1.0)))
    with Image.open(path) as picture:
        pixels = np.asarray(picture).astype(int)
    assert pixels.shape == (224, 224, 3)
    red = pixels[:, :, 0] > pixels[:, :, 1] + 50
    # To the right and the front: right and top of the picture.
    assert red[5, -5]
    assert red.mean() == pytest.approx(0.3 * 0.15, abs=0.01)


def test_a_picture_of_a_ct_is_seen_through_its_window(tmp_path: Path) -> None:
    image = np.full((10, 10, 1), -1000.0, dtype=np.float32)
    image[2:8, 2:8] = 30.0
    image[4:6, 4:6] = 900.0
    path = tmp_path / "a.png"
    nothing = np.zeros(image.shape, dtype=bool)
    greys = Window(40, 80).span
    assert greys == (0.0, 80.0)
    path.write_bytes(draw_overlay(image, nothing, spacing=(1.0, 1.0, 1.0), greys=greys))
    with Image.open(path) as picture:
        pixels = np.asarray(picture)[:, :, 0]
    assert set(np.unique(pixels)) == {0, int(30 / 80 * 255), 255}
