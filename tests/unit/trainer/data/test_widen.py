from __future__ import annotations

import numpy as np
import pytest

from trainer.data import widen
from trainer.data.patients import _is_finite
from trainer.data.widen import widened

HALVES = np.arange(1 << 16, dtype=np.uint16).view(np.float16)


@pytest.mark.parametrize("smallest", [True, False])
def test_every_finite_half_is_the_same_number(
    monkeypatch: pytest.MonkeyPatch, smallest: bool
) -> None:
    assert widen._keeps_smallest()
    monkeypatch.setattr(widen, "_keeps_smallest", lambda: smallest)
    halves = HALVES[np.isfinite(HALVES)]
    wide = widened(halves)
    assert wide.dtype == np.float32
    # By their bits, since there are two zeros.
    assert np.array_equal(wide.view(np.uint32), halves.astype(np.float32).view(np.uint32))


def test_masks_of_any_shape_and_order_are_copied() -> None:
    mask = np.arange(24, dtype=np.uint8).reshape(2, 3, 4).transpose(2, 0, 1)
    image = mask.astype(np.float16)
    for array in (mask, image, image[::2], image[None]):
        wide = widened(array)
        assert np.array_equal(wide, array)
        wide += 1
        assert not np.shares_memory(wide, array)


def test_every_half_that_is_not_finite_is_found_among_those_that_are() -> None:
    finite = HALVES[np.isfinite(HALVES)]
    assert _is_finite(finite)
    for half in HALVES[~np.isfinite(HALVES)]:
        assert not _is_finite(np.array([1, half, -1], np.float16))
