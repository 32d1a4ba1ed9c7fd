"""Put several providers' data sets together, patient by patient."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from itertools import accumulate
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from trainer.data.arrays import ArrayDataset
from trainer.data.errors import DataError
from trainer.data.files import Files
from trainer.data.manifest import Manifest, VolumesManifest, read_manifest
from trainer.data.slices import SliceDataset
from trainer.data.units import UnitDataset
from trainer.data.volume_set import VolumeDataset


class Joinable(UnitDataset, Protocol):
    """A set of units that can be put together with others."""

    @property
    def patients(self) -> tuple[str, ...] | None:
        """Names of the units, in order; None where records carry no names."""
        ...

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one sample's input."""
        ...


class DirectoryJoin:
    """The units of several data sets, in the order in which the data sets are given.

    Unit names become `<data set>/<patient>`. A patient in two data sets would count twice and
    be protected as one, so that such a join is refused.
    """

    def __init__(self, datasets: Mapping[str, Joinable]) -> None:
        """Join data sets by their ids.

        Raises:
            DataError: when there is none, one is empty, shapes or spacings differ or a patient is
                in two.
        """
        if not datasets:
            raise DataError("join: there is no data set")
        owners: dict[str, str] = {}
        names: list[str] = []
        first_id, first = next(iter(datasets.items()))
        for dataset, units in datasets.items():
            if len(units) == 0:
                raise DataError(f"join: data set {dataset} is empty")
            if units.sample_shape != first.sample_shape:
                got = f"{dataset} has {units.sample_shape}, {first_id} has {first.sample_shape}"
                hint = "prepare both with the same size and modalities"
                raise DataError(f"join: shapes differ: {got}", hint=hint)
            if _spacing(units) != _spacing(first):
                got = f"{dataset} has {_spacing(units)}, {first_id} has {_spacing(first)}"
                hint = "prepare both with the same spacing"
                raise DataError(f"join: spacings differ: {got}", hint=hint)
            for patient in units.patients or ():
                if patient in owners:
                    both = f"{owners[patient]} and {dataset}"
                    hint = "the providers must agree which of them keeps the patient"
                    raise DataError(f"join: patient {patient} is in {both}", hint=hint)
                owners[patient] = dataset
            own = units.patients or tuple(str(index) for index in range(len(units)))
            names += [f"{dataset}/{patient}" for patient in own]
        self._datasets = tuple(datasets.values())
        self._ends = tuple(accumulate(len(units) for units in self._datasets))
        self._names = tuple(names)

    @property
    def patients(self) -> tuple[str, ...]:
        """Names of the units: `<data set>/<patient>`, or a number where records carry no name."""
        return self._names

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one sample's input."""
        return self._datasets[0].sample_shape

    def __len__(self) -> int:
        return self._ends[-1]

    def unit(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.generic]]:
        """Return one unit's inputs and targets."""
        if not 0 <= index < len(self):
            raise IndexError(f"unit {index} of {len(self)}")
        place = bisect_right(self._ends, index)
        units = self._datasets[place]
        return units.unit(index - self._ends[place] + len(units))


def _spacing(units: Joinable) -> tuple[float, ...]:
    return units.spacing if isinstance(units, VolumeDataset) else ()


def open_dataset(source: Path | Files) -> SliceDataset | VolumeDataset | ArrayDataset:
    """Open a data set of any layout but tables.

    Raises:
        DataError: when it is damaged.
        policies.errors.DocumentError: when its manifest is not valid.
    """
    match read_manifest(source):
        case Manifest():
            return SliceDataset(source)
        case VolumesManifest():
            return VolumeDataset(source)
        case _:
            return ArrayDataset(source)
