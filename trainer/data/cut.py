"""How the slices of a plane lie in a volume: there, as square pictures, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from trainer.data.grid import Image
from trainer.data.resample import area_weights, back_weights


@dataclass(frozen=True)
class Cut:
    """Slices across one axis of a volume, resampled by area, the body's proportions kept."""

    axis: int
    """Of the volume, across which it is cut."""
    rows: Image
    """[H, side], weights of a picture's rows; the other three matrices alike."""
    columns: Image
    rows_back: Image
    columns_back: Image

    @classmethod
    def of(
        cls,
        shape: tuple[int, ...],
        *,
        spacing: tuple[float, float, float],
        axis: int,
        size: tuple[int, int],
    ) -> Self:
        """Plan the cut of a volume `[X, Y, Z]` with its voxels' millimetres."""
        # Columns run along the first of the two axes that are left, rows along the second.
        across, down = (index for index in range(3) if index != axis)
        step = max(shape[down] * spacing[down] / size[0], shape[across] * spacing[across] / size[1])
        row_step, column_step = step / spacing[down], step / spacing[across]
        return cls(
            axis,
            rows=area_weights(shape[down], size[0], step=row_step),
            columns=area_weights(shape[across], size[1], step=column_step),
            rows_back=back_weights(shape[down], size[0], step=row_step),
            columns_back=back_weights(shape[across], size[1], step=column_step),
        )

    def pictures(self, image: Image) -> Image:
        """Return all slices `[S, C, H, W]` of an image `[C, X, Y, Z]`."""
        slices = np.moveaxis(image, self.axis + 1, 0)
        # Rows run from top to bottom: back to front is drawn upwards, feet to head too.
        drawn = slices.swapaxes(2, 3)[:, :, ::-1]
        return np.asarray(self.rows @ drawn @ self.columns.T, dtype=np.float32)

    def back(self, pictures: Image) -> Image:
        """Return what lies at the voxels `[C, X, Y, Z]`, interpolated between pixels."""
        drawn = self.rows_back @ pictures @ self.columns_back.T
        slices = drawn[:, :, ::-1].swapaxes(2, 3)
        return np.asarray(np.moveaxis(slices, 0, self.axis + 1), dtype=np.float32)
