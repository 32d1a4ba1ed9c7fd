from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from policies.errors import DocumentError
from trainer.data.arrays import ArrayDataset, write_arrays
from trainer.data.errors import DataError
from trainer.data.slices import SliceDataset

IMAGE = np.arange(5 * 1 * 4 * 4, dtype=np.uint8).reshape(5, 1, 4, 4)
LABEL = np.array([0, 1, 2, 1, 0], np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_arrays(tmp_path / "set", image=IMAGE, label=LABEL, classes=3)
    return tmp_path / "set"


def test_each_record_is_its_own_unit(folder: Path) -> None:
    dataset = ArrayDataset(folder)
    image, label = dataset.unit(3)
    assert len(dataset) == 5
    assert dataset.sample_shape == (1, 4, 4)
    assert np.allclose(image, IMAGE[3:4] / 255)
    assert image.dtype == np.float32
    assert label.tolist() == [1]
    assert label.dtype == np.int64


def test_writing_twice_gives_the_same_bytes_and_never_overwrites(folder: Path) -> None:
    write_arrays(folder.with_name("again"), image=IMAGE, label=LABEL, classes=3)
    for path in folder.iterdir():
        assert path.read_bytes() == (folder.with_name("again") / path.name).read_bytes()
    with pytest.raises(DataError, match="exists"):
        write_arrays(folder, image=IMAGE, label=LABEL, classes=3)


def test_a_label_beyond_the_classes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a label is 2, the classes are 2"):
        write_arrays(tmp_path / "set", image=IMAGE, label=LABEL, classes=2)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="/units"):
        write_arrays(tmp_path / "set", image=IMAGE[:0], label=LABEL[:0], classes=3)


def test_arrays_are_not_taken_for_slices(folder: Path) -> None:
    with pytest.raises(DataError, match="expected slices, got arrays"):
        SliceDataset(folder)


def test_a_damaged_file_is_refused(folder: Path) -> None:
    path = folder / "arrays.safetensors"
    save_file({"image": IMAGE[:4], "label": LABEL}, path)
    with pytest.raises(DataError, match="image is"):
        ArrayDataset(folder)
    save_file({"image": IMAGE}, path)
    with pytest.raises(DataError, match="expected image and label"):
        ArrayDataset(folder)
    path.write_bytes(b"no tensors")
    with pytest.raises(DataError, match="set:"):
        ArrayDataset(folder)
    (folder / "more").touch()
    with pytest.raises(DataError, match="more"):
        ArrayDataset(folder)
