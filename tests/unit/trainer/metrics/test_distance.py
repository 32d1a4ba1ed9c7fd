import math

import numpy as np
import pytest
from scipy.spatial.distance import directed_hausdorff

from tests.metrics import EMPTY, square
from trainer.metrics.distance import case_distance, hausdorff_distance, volume_distance


def oracle(found: np.ndarray, truth: np.ndarray, spacing: tuple[float, ...]) -> float:
    one, other = (np.argwhere(mask) * spacing for mask in (found, truth))
    return max(directed_hausdorff(one, other)[0], directed_hausdorff(other, one)[0])


@pytest.mark.parametrize("shape", [(40,), (20, 24), (9, 12, 10)])
@pytest.mark.parametrize("seed", range(5))
def test_distances_equal_those_of_scipy(seed: int, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(seed)
    found, truth = rng.random(shape) < 0.05, rng.random(shape) < 0.02
    found.flat[7] = truth.flat[20] = True
    pixels = (1.0,) * len(shape)
    millimetres = (0.9, 2.5, 1.3)[: len(shape)]
    assert hausdorff_distance(found, truth) == pytest.approx(oracle(found, truth, pixels))
    got = hausdorff_distance(found, truth, spacing=millimetres)
    assert got == pytest.approx(oracle(found, truth, millimetres))


def test_a_perfect_mask_is_at_no_distance() -> None:
    assert case_distance(square(2, 2), square(2, 2)).value == 0.0


def test_distance_is_in_pixels_or_in_millimetres() -> None:
    found, truth = square(0, 0), square(0, 3)
    assert case_distance(found, truth).value == 3.0
    assert case_distance(found, truth, spacing=(5.0, 0.5)).value == 1.5


def test_nothing_is_at_no_distance_from_anything() -> None:
    assert math.isnan(hausdorff_distance(EMPTY, square(1, 1)))
    both = case_distance(EMPTY, EMPTY)
    assert math.isnan(both.value)
    assert both.ignored_slices == 0
    missed = case_distance(EMPTY, square(1, 1))
    assert math.isnan(missed.value)
    assert missed.ignored_slices == 3


def test_a_case_counts_by_its_worst_slice_and_says_which_had_no_distance() -> None:
    found, truth = square(0, 0), square(0, 1)
    truth[1] = square(0, 5)[1]
    found[2] = False
    case = case_distance(found, truth)
    assert (case.value, case.ignored_slices) == (5.0, 1)


def test_slices_are_not_measured_against_each_other() -> None:
    found, truth = EMPTY.copy(), EMPTY.copy()
    found[0, 0, 3, 3] = truth[1, 0, 3, 3] = True
    case = case_distance(found, truth)
    assert math.isnan(case.value)
    assert case.ignored_slices == 2


@pytest.mark.parametrize("spacing", [(1.0,), (1.0, 0.0), (1.0, -1.0), (1.0, math.nan)])
def test_a_spacing_that_does_not_fit_is_refused(spacing: tuple[float, ...]) -> None:
    plane = square(1, 1)[0, 0]
    with pytest.raises(ValueError, match="2 positive distances"):
        hausdorff_distance(plane, plane, spacing=spacing)


def test_masks_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="shapes"):
        case_distance(square(1, 1), square(1, 1)[:1])
    with pytest.raises(ValueError, match="boolean"):
        hausdorff_distance(square(1, 1).astype(np.uint8), square(1, 1).astype(np.uint8))
    with pytest.raises(ValueError, match="slices, channels"):
        case_distance(square(1, 1)[0], square(1, 1)[0])


def test_a_volume_is_measured_in_space() -> None:
    found, truth = np.zeros((2, 1, 2, 6, 6, 6), dtype=bool)
    found[0, 0, 1, 1, 1] = truth[0, 0, 4, 1, 1] = True
    assert volume_distance(found, truth) == 3.0
    assert volume_distance(found, truth, spacing=(5.0, 1.0, 1.0)) == 15.0
    # The second channel has nothing to be measured; alone it has no distance.
    assert math.isnan(volume_distance(found[:, 1:], truth[:, 1:]))
    with pytest.raises(ValueError, match="expected"):
        volume_distance(found[0], truth[0])
