from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from policies.errors import DocumentError
from tests.unit.trainer.data.makers import brats_patient, head
from trainer.data.errors import DataError
from trainer.data.prepare import prepare
from trainer.data.preprocess import Recipe
from trainer.data.slices import SliceDataset


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(3):
        brats_patient(tmp_path / "in", f"p{number}", image=head(number))
    prepare(tmp_path / "in", tmp_path / "set", recipe=Recipe(size=(16, 16), min_tumour_pixels=3))
    return tmp_path / "set"


def test_a_unit_is_a_patient_with_all_its_slices(folder: Path) -> None:
    dataset = SliceDataset(folder)
    image, mask = dataset.unit(1)
    stored = load_file(folder / "p1.safetensors")
    assert dataset.patients == ("p0", "p1", "p2")
    assert dataset.sample_shape == (1, 16, 16)
    assert image.dtype == mask.dtype == np.float32
    assert np.array_equal(image, stored["image"].astype(np.float32))
    assert np.array_equal(mask, stored["mask"].astype(np.float32))


def test_a_set_too_large_for_memory_reads_the_same_units(folder: Path) -> None:
    kept, lazy = SliceDataset(folder), SliceDataset(folder, keep_bytes=10)
    for index in range(3):
        for first, second in zip(kept.unit(index), lazy.unit(index), strict=True):
            assert np.array_equal(first, second)


def test_other_units_do_not_change_when_a_patient_leaves(folder: Path) -> None:
    before = SliceDataset(folder).unit(2)
    manifest = json.loads((folder / "dataset.json").read_bytes())
    del manifest["patients"][0]
    (folder / "dataset.json").write_text(json.dumps(manifest))
    (folder / "p0.safetensors").unlink()
    after = SliceDataset(folder).unit(1)
    assert all(np.array_equal(*pair) for pair in zip(before, after, strict=True))


def _tensors(**change: np.ndarray | None) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        tensors = load_file(folder / "p1.safetensors")
        for name, array in change.items():
            tensors.pop(name, None)
            if array is not None:
                tensors[name] = array
        save_file(tensors, folder / "p1.safetensors")

    return apply


def _manifest(change: Callable[[dict[str, object]], object]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        manifest = json.loads((folder / "dataset.json").read_bytes())
        change(manifest)
        (folder / "dataset.json").write_text(json.dumps(manifest))

    return apply


BREAKS: dict[str, tuple[Callable[[Path], None], str]] = {
    "no manifest": (lambda f: (f / "dataset.json").unlink(), "dataset.json is missing"),
    "missing file": (lambda f: (f / "p1.safetensors").unlink(), "p1.safetensors"),
    "extra file": (lambda f: (f / "p9.safetensors").touch(), "p9.safetensors"),
    "damaged": (lambda f: (f / "p1.safetensors").write_bytes(b"x" * 50) and None, "set/p1"),
    "no mask": (_tensors(mask=None), "expected image and mask"),
    "extra tensor": (_tensors(other=np.zeros(3)), "expected image and mask"),
    "other size": (_tensors(mask=np.zeros((4, 1, 8, 8), np.uint8)), "mask is"),
    "other type": (_tensors(image=np.zeros((4, 1, 16, 16), np.float64)), "image is"),
    "not finite": (_tensors(image=np.full((4, 1, 16, 16), np.inf, np.float16)), "not finite"),
    "no mask values": (_tensors(mask=np.full((4, 1, 16, 16), 2, np.uint8)), "0 or 1"),
}
MANIFEST_BREAKS: dict[str, tuple[Callable[[dict[str, object]], object], str]] = {
    "unknown field": (lambda m: m.update(mean=3.5), "/mean: unknown field"),
    "other version": (lambda m: m.update(version=2), "/version"),
    "no patients": (lambda m: m.update(patients=[]), "/patients"),
    "path as patient": (
        lambda m: m.update(patients=[{"patient": "../p1", "slices": 1}]),
        "/patients/0/patient",
    ),
    "unsorted": (lambda m: m["patients"].reverse(), "not sorted"),  # type: ignore[attr-defined]
    "no slices": (lambda m: m.update(patients=[{"patient": "p1", "slices": 0}]), "slices"),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_damaged_set_is_refused_before_training(folder: Path, name: str) -> None:
    break_it, reason = BREAKS[name]
    break_it(folder)
    with pytest.raises(DataError, match=reason):
        SliceDataset(folder)


@pytest.mark.parametrize("name", MANIFEST_BREAKS)
def test_a_wrong_manifest_is_refused_by_field(folder: Path, name: str) -> None:
    change, reason = MANIFEST_BREAKS[name]
    _manifest(change)(folder)
    with pytest.raises(DocumentError, match=reason):
        SliceDataset(folder)
