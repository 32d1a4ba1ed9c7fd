from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from torch import nn

from tests.training import train_config
from tests.unit.trainer.data.dicom_maker import ct_head, series
from trainer.data.errors import DataError, VolumeRefused
from trainer.data.intensity import Window
from trainer.data.preprocess import Plane, Recipe
from trainer.data.recipes import AnyRecipe, read_recipe
from trainer.data.volumes import Scan, read_scan
from trainer.data.whole import VolumeRecipe
from trainer.segment import Segmenter

SHAPE = (24, 20, 10)
BOX = (slice(6, 14), slice(5, 12), slice(3, 6))
SLICES = {"kind": "slices", "size": [24, 24]}
VOLUMES = {"kind": "volumes", "patch": [4, 8, 8]}
UNET3D = {"kind": "unet3d", "inChannels": 1, "outChannels": 1, "levels": 2}


class Bright(nn.Module):
    """Finds what is brighter than a value."""

    def __init__(self, edge: float) -> None:
        super().__init__()
        self.edge = edge

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x - self.edge) * 50


def head() -> np.ndarray:
    """Return a body with a bright box in it, upright."""
    rng = np.random.default_rng(4)
    image = np.zeros(SHAPE, dtype=np.float32)
    image[2:22, 2:18, :] = 100 + 5 * rng.standard_normal((20, 16, 10))
    image[BOX] = 300
    return image


def write(path: Path, image: np.ndarray, affine: np.ndarray, *, axes: str = "RAS") -> Path:
    """Write an image whose upright form is given, stored along other axes."""
    upright = nib.Nifti1Image(image, affine)
    turn = nib.orientations.ornt_transform(
        nib.io_orientation(affine), nib.orientations.axcodes2ornt(axes)
    )
    nib.save(upright.as_reoriented(turn), path)
    return path


def truth() -> np.ndarray:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[BOX] = True
    return mask


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


def slices_of(plane: Plane, *, size: int = 24) -> Segmenter:
    dataset = {**SLICES, "size": [size, size]}
    stage = train_config(dataset=dataset, baseWeights=None)
    return Segmenter(Bright(1.5), stage, Recipe(plane=plane, size=(size, size)))


def volumes_of(recipe: VolumeRecipe, *, edge: float = 1.5) -> Segmenter:
    stage = train_config(dataset=VOLUMES, model=UNET3D, baseWeights=None)
    return Segmenter(Bright(edge), stage, recipe)


@pytest.mark.parametrize("axes", ["RAS", "LPS", "SPR", "ILA"])
@pytest.mark.parametrize("plane", list(Plane))
def test_what_is_found_in_slices_lies_where_it_is(plane: Plane, axes: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.nii.gz", head(), np.diag([2.0, 2.0, 2.0, 1]), axes=axes)
    scan = read_scan(path, modalities=("flair",))
    found = slices_of(plane).find(scan)
    assert found.shape == (1, *SHAPE)
    # Sagittal slices are enlarged; the others keep their pixels.
    assert dice(found[0], truth()) >= (0.9 if plane is Plane.SAGITTAL else 1.0)
    # As it is stored, it lies on the same voxels as an upright mask that is stored alike.
    stored = scan.grid.stored(found[0].astype(np.float32))
    again = write(
        tmp_path / "m.nii", found[0].astype(np.uint8), np.diag([2.0] * 3 + [1]), axes=axes
    )
    assert np.array_equal(stored, np.asarray(nib.load(again).dataobj))


def test_slices_of_another_size_and_voxels_that_are_no_cubes_still_fit(tmp_path: Path) -> None:
    affine = np.diag([1.0, 1.4, 5.0, 1])
    affine[:3, 3] = (-20, 10, 3)
    path = write(tmp_path / "a.nii.gz", head(), affine)
    found = slices_of(Plane.AXIAL, size=48).find(read_scan(path, modalities=("flair",)))
    assert dice(found[0], truth()) > 0.9


@pytest.mark.parametrize("spacing", [(2.0, 2.0, 2.0), (1.5, 1.0, 1.3)])
def test_what_is_found_in_volumes_lies_where_it_is(
    spacing: tuple[float, float, float], tmp_path: Path
) -> None:
    path = write(tmp_path / "a.nii.gz", head(), np.diag([2.0, 2.0, 2.0, 1]), axes="LPS")
    found = volumes_of(VolumeRecipe(spacing=spacing)).find(read_scan(path, modalities=("flair",)))
    assert dice(found[0], truth()) > (0.99 if spacing == (2.0, 2.0, 2.0) else 0.9)


def test_a_ct_is_seen_through_its_windows(tmp_path: Path) -> None:
    image = np.where(head() > 0, head() - 100, -1000).astype(np.float32)
    path = write(tmp_path / "a.nii.gz", image, np.diag([2.0, 2.0, 2.0, 1]))
    recipe = VolumeRecipe(spacing=(2.0, 2.0, 2.0), modalities=("ct",), windows=(Window(100, 300),))
    found = volumes_of(recipe, edge=0.8).find(read_scan(path, modalities=("ct",)))
    assert dice(found[0], truth()) == 1.0


def test_what_is_found_in_a_dicom_series_lies_on_its_voxels(tmp_path: Path) -> None:
    hounsfield, mask = ct_head()
    scan = read_scan(series(tmp_path / "s1", hounsfield), modalities=("ct",))
    # Through this window the skull is as bright as the bleeding.
    recipe = VolumeRecipe(spacing=(5.0, 2.0, 2.0), modalities=("ct",), windows=(Window(50, 60),))
    found = volumes_of(recipe, edge=0.6).find(scan)[0]
    brain = hounsfield < 200
    assert dice(found & brain, mask > 0) == 1.0
    stored = scan.grid.stored(found.astype(np.float32))
    for voxel in np.argwhere(stored)[::50]:
        place = scan.grid.affine @ (*voxel, 1)
        upright = np.rint(np.linalg.inv(scan.grid.upright_affine) @ place)[:3].astype(int)
        assert found[tuple(upright)]


@pytest.mark.parametrize("segmenter", [slices_of(Plane.AXIAL), volumes_of(VolumeRecipe())])
def test_progress_ends_when_all_is_done(segmenter: Segmenter, tmp_path: Path) -> None:
    path = write(tmp_path / "a.nii.gz", head(), np.diag([2.0, 2.0, 2.0, 1]))
    told: list[tuple[int, int]] = []
    segmenter.find(read_scan(path, modalities=("flair",)), on_parts=lambda *now: told.append(now))
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert told[-1][0] == told[-1][1] > 1


@pytest.mark.parametrize(
    ("dataset", "model", "recipe"),
    [
        (SLICES, None, Recipe(size=(32, 32))),
        (SLICES, None, Recipe(size=(24, 24), modalities=("flair", "t1"))),
        (SLICES, None, VolumeRecipe()),
        (VOLUMES, UNET3D, Recipe(size=(24, 24))),
        (VOLUMES, UNET3D, VolumeRecipe(modalities=("flair", "t2"))),
    ],
)
def test_a_recipe_that_does_not_make_the_models_samples_is_refused(
    dataset: dict[str, object], model: dict[str, object] | None, recipe: AnyRecipe
) -> None:
    more = {} if model is None else {"model": model}
    stage = train_config(dataset=dataset, baseWeights=None, **more)
    with pytest.raises(DataError, match=r"the recipe makes .*, the model takes"):
        Segmenter(Bright(1.0), stage, recipe)


def test_a_model_that_tells_classes_apart_finds_nothing_in_scans() -> None:
    stage = train_config(
        dataset={"kind": "arrays", "shape": [1, 8, 8], "classes": 2},
        model={"kind": "mlp", "inputs": 64, "classes": 2},
        taskType="classification",
        metrics=["accuracy"],
        loss={"class": "CrossEntropyLoss"},
        baseWeights=None,
    )
    with pytest.raises(DataError, match="the model is for arrays"):
        Segmenter(Bright(1.0), stage, Recipe())


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(size=(48, 64), plane=Plane.CORONAL, modalities=("flair", "t1ce")),
        Recipe(modalities=("ct",), windows=(Window(40, 80), Window(80, 200))),
        VolumeRecipe(spacing=(5.0, 1.0, 1.0), modalities=("ct",), windows=(Window(40, 80),)),
    ],
)
def test_a_recipe_comes_back_from_its_manifest(recipe: AnyRecipe) -> None:
    layout = "slices" if isinstance(recipe, Recipe) else "volumes"
    assert read_recipe(layout, recipe.to_json()) == recipe


@pytest.mark.parametrize(
    ("layout", "value", "says"),
    [
        ("arrays", {}, "layout: expected slices or volumes"),
        ("slices", {**Recipe().to_json(), "sharpen": 1}, "does not know"),
        ("slices", {**Recipe().to_json(), "size": [4, 4]}, "size"),
        ("slices", {**Recipe().to_json(), "plane": "oblique"}, "plane"),
        ("volumes", {**VolumeRecipe().to_json(), "spacing": [0, 1, 1]}, "spacing"),
    ],
)
def test_a_recipe_that_is_none_of_ours_is_refused(
    layout: str, value: dict[str, object], says: str
) -> None:
    with pytest.raises(DataError, match=says):
        read_recipe(layout, value)


def test_a_scan_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    affine = np.diag([2.0, 2.0, 2.0, 1])
    whole = write(tmp_path / "a.nii.gz", head(), affine)
    (tmp_path / "cut.nii.gz").write_bytes(whole.read_bytes()[:200])
    (tmp_path / "p").mkdir()
    write(tmp_path / "p" / "p_flair.nii.gz", head(), affine)
    for name, modalities, says in (
        ("cut.nii.gz", ("flair",), "cut: "),
        ("none.nii.gz", ("flair",), "none: .* is not there"),
        ("a.nii.gz", ("flair", "t1"), "a: flair and t1 missing"),
        ("p", ("flair", "t1"), "p: t1 missing"),
    ):
        with pytest.raises(VolumeRefused, match=says):
            read_scan(tmp_path / name, modalities=modalities)
    assert isinstance(read_scan(tmp_path / "p", modalities=("flair",)), Scan)


def test_channels_that_lie_elsewhere_are_refused(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    write(tmp_path / "p" / "p_flair.nii.gz", head(), np.diag([2.0, 2.0, 2.0, 1]))
    write(tmp_path / "p" / "p_t1.nii.gz", head(), np.diag([2.0, 2.0, 2.5, 1]))
    with pytest.raises(VolumeRefused, match="channels do not lie at the same place"):
        read_scan(tmp_path / "p", modalities=("flair", "t1"))
