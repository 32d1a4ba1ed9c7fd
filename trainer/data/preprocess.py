"""Turn volumes into normalised slices: a pure function per volume.

1. The plane's slices are resampled to square pictures by area, keeping the body's proportions.
2. Slices with enough tumour are chosen, evenly spread when there are more than allowed; slices
   without tumour come on top if asked for.
3. Intensities are scaled, by the patient alone (see `trainer.data.intensity`).
4. Optionally flipped and turned copies are added; the draw depends on seed and patient only.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from trainer.data.cut import Cut
from trainer.data.errors import DataError, VolumeRefused
from trainer.data.grid import Image
from trainer.data.intensity import Scale, Window
from trainer.data.volumes import Mask, Volume

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Pictures: TypeAlias = npt.NDArray[np.float16]
Labels: TypeAlias = npt.NDArray[np.uint8]


class Plane(StrEnum):
    """Direction in which a volume is cut; the value is what stands in the manifest."""

    AXIAL = "axial"
    CORONAL = "coronal"
    SAGITTAL = "sagittal"


_AXIS = {Plane.SAGITTAL: 0, Plane.CORONAL: 1, Plane.AXIAL: 2}


@dataclass(frozen=True)
class Augmentation:
    """Changed copies of each slice; they belong to the same patient."""

    copies: int = 1
    flip: bool = True
    rotate_degrees: float = 10.0
    seed: int = 0


@dataclass(frozen=True)
class Recipe:
    """How volumes become slices.

    Raises:
        DataError: when a value is out of range.
    """

    plane: Plane = Plane.AXIAL
    size: tuple[int, int] = (64, 64)
    """Height and width of a slice in pixels."""
    min_tumour_pixels: int = 10
    """A slice with less tumour than this, after resampling, is not a tumour slice."""
    max_slices: int = 8
    """Tumour slices a patient may have."""
    negative_slices: int = 0
    """Slices without any tumour a patient may have."""
    percentiles: tuple[float, float] = (0.5, 99.5)
    modalities: tuple[str, ...] = ("flair",)
    windows: tuple[Window, ...] = ()
    """Channels of a CT; other images have none."""
    augmentation: Augmentation | None = None

    def __post_init__(self) -> None:
        extra = self.augmentation or Augmentation()
        checks = [
            ("size", self.size, all(8 <= side <= 1024 for side in self.size)),
            ("min_tumour_pixels", self.min_tumour_pixels, self.min_tumour_pixels >= 1),
            ("max_slices", self.max_slices, 1 <= self.max_slices <= 512),
            ("negative_slices", self.negative_slices, 0 <= self.negative_slices <= 512),
            ("augmentation.copies", extra.copies, 1 <= extra.copies <= 16),
            ("augmentation.rotate_degrees", extra.rotate_degrees, 0 <= extra.rotate_degrees <= 180),
        ]
        for field, value, holds in checks:
            if not holds:
                raise DataError(f"{field}: {value} is out of range")
        self.scale  # noqa: B018 - checks its own part

    def cut(self, shape: tuple[int, ...], spacing: tuple[float, float, float]) -> Cut:
        """Return how a scan of a shape and spacing is cut into slices."""
        return Cut.of(shape, spacing=spacing, axis=_AXIS[self.plane], size=self.size)

    @property
    def scale(self) -> Scale:
        """How intensities are scaled."""
        return Scale(self.modalities, self.percentiles, self.windows)

    def to_json(self) -> dict[str, Any]:
        """Return the recipe as it stands in a data set's manifest."""
        return recipe_json(self)


def recipe_json(recipe: DataclassInstance) -> dict[str, Any]:
    """Return a recipe's parameters as JSON; what is not used is not there."""
    return {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in asdict(recipe).items()
        if value is not None and value != ()
    }


@dataclass(frozen=True)
class PatientSlices:
    """One patient, ready for training: one privacy unit."""

    patient: str
    image: Pictures
    """[k, C, H, W], scaled."""
    mask: Labels
    """[k, 1, H, W], 0 or 1."""


def slice_volume(volume: Volume, *, recipe: Recipe) -> PatientSlices:
    """Cut, choose, normalise and, if asked for, augment one patient's slices.

    Raises:
        VolumeRefused: when the mask is empty, no slice has enough tumour, or all is air.
    """
    if not volume.mask.any():
        raise VolumeRefused(volume.patient, "the mask is empty")
    cut = recipe.cut(volume.mask.shape, volume.spacing)
    image = cut.pictures(recipe.scale.ready(volume.image))
    mask = cut.pictures(volume.mask[None].astype(np.float32))[:, 0] >= 0.5
    chosen = _choose(volume.patient, image, mask, recipe)
    normal = _scaled(volume.patient, image, recipe)[chosen]
    labels = mask[chosen][:, None]
    if recipe.augmentation is not None:
        normal, labels = _augment(volume.patient, normal, labels, recipe.augmentation)
    return PatientSlices(volume.patient, normal.astype(np.float16), labels.astype(np.uint8))


def every_slice(patient: str, image: Image, cut: Cut, *, recipe: Recipe) -> Pictures:
    """Return all slices `[S, C, H, W]` of a scan `[C, X, Y, Z]`, scaled.

    Raises:
        VolumeRefused: when all is air, or a channel has no contrast.
    """
    pictures = cut.pictures(recipe.scale.ready(image))
    return _scaled(patient, pictures, recipe).astype(np.float16)


def _scaled(patient: str, image: Image, recipe: Recipe) -> Image:
    by_channel = image.swapaxes(0, 1)
    head = recipe.scale.head(by_channel)
    return np.asarray(recipe.scale.applied(patient, by_channel, head).swapaxes(0, 1))


def _spread(places: npt.NDArray[np.intp], count: int) -> npt.NDArray[np.intp]:
    """Return at most `count` of the places, evenly spread, in order."""
    if len(places) <= count:
        return places
    return places[np.linspace(0, len(places) - 1, count).round().astype(np.intp)]


def _choose(patient: str, image: Image, mask: Mask, recipe: Recipe) -> npt.NDArray[np.intp]:
    area = mask.sum(axis=(1, 2))
    tumour = np.flatnonzero(area >= recipe.min_tumour_pixels)
    if len(tumour) == 0:
        reason = f"no slice has {recipe.min_tumour_pixels} pixels of tumour, most has {area.max()}"
        raise VolumeRefused(patient, reason)
    chosen = _spread(tumour, recipe.max_slices)
    if recipe.negative_slices:
        covered = recipe.scale.head(image.swapaxes(0, 1)).mean(axis=(1, 2))
        empty = np.flatnonzero((area == 0) & (covered >= 0.1))
        chosen = np.sort(np.concatenate([chosen, _spread(empty, recipe.negative_slices)]))
    return chosen


def _augment(patient: str, image: Image, mask: Mask, how: Augmentation) -> tuple[Image, Mask]:
    # It takes a second to load, which every process would pay.
    from scipy import ndimage  # noqa: PLC0415

    name = int.from_bytes(hashlib.sha256(patient.encode()).digest()[:8], "big")
    rng = np.random.default_rng([how.seed, name])
    images, masks = [image], [mask]
    for _ in range(how.copies):
        flip = how.flip and bool(rng.random() < 0.5)
        angle = float(rng.uniform(-how.rotate_degrees, how.rotate_degrees))
        step = -1 if flip else 1
        turn = partial(ndimage.rotate, angle=angle, axes=(2, 3), reshape=False, order=1)
        images.append(np.asarray(turn(image[..., ::step]), dtype=np.float32))
        masks.append(np.asarray(turn(mask[..., ::step].astype(np.float32)) >= 0.5))
    return np.concatenate(images), np.concatenate(masks)
