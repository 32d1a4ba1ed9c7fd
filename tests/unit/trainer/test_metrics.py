import math

import numpy as np
import pytest

from trainer.metrics import (
    classification,
    confusion_matrix,
    dice_score,
    jaccard_index,
    mean_score,
    overlap,
)


def square(top: int, left: int, *, side: int = 4, size: int = 16) -> np.ndarray:
    mask = np.zeros((3, 1, size, size), dtype=bool)
    mask[..., top : top + side, left : left + side] = True
    return mask


EMPTY = np.zeros((3, 1, 16, 16), dtype=bool)


def test_a_perfect_mask_scores_one() -> None:
    assert dice_score(square(2, 2), square(2, 2)) == 1.0
    assert jaccard_index(square(2, 2), square(2, 2)) == 1.0


def test_disjoint_masks_score_nothing() -> None:
    assert dice_score(square(0, 0), square(8, 8)) == 0.0
    assert jaccard_index(square(0, 0), square(8, 8)) == 0.0


def test_half_an_overlap_scores_as_it_should() -> None:
    assert dice_score(square(0, 0), square(0, 2)) == pytest.approx(0.5)
    assert jaccard_index(square(0, 0), square(0, 2)) == pytest.approx(1 / 3)


def test_nothing_found_where_nothing_is_does_not_count() -> None:
    assert math.isnan(dice_score(EMPTY, EMPTY))
    score = overlap(
        "dice_score", [(EMPTY, EMPTY), (square(2, 2), square(2, 2)), (EMPTY, square(1, 1))]
    )
    assert score.value == 0.5
    assert score.counted == 2


def test_no_case_at_all_is_not_a_number() -> None:
    assert math.isnan(mean_score([]).value)
    assert mean_score([math.nan]).counted == 0


def test_large_and_small_patients_count_alike() -> None:
    large = (square(0, 0, side=8), square(0, 0, side=8))
    small = (square(0, 0, side=1), square(5, 5, side=1))
    assert overlap("dice_score", [large, small]).value == 0.5


def test_precision_and_recall_see_different_mistakes() -> None:
    too_much = [(square(0, 0, side=8), square(0, 0, side=4))]
    assert overlap("precision", too_much).value == pytest.approx(0.25)
    assert overlap("recall", too_much).value == 1.0


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_masks_of_numbers_are_refused_before_they_wrap_around(kind: type) -> None:
    mask = square(2, 2).astype(kind) * kind(255)
    with pytest.raises(ValueError, match="boolean"):
        dice_score(mask, mask)


def test_masks_of_different_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="shapes"):
        dice_score(square(2, 2), square(2, 2)[:1])


def test_confusion_matrix_has_the_truth_in_rows() -> None:
    matrix = confusion_matrix(np.array([0, 1, 1, 2]), np.array([0, 0, 1, 2]), classes=3)
    assert matrix.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 1]]


def test_class_metrics_follow_from_the_confusion_matrix() -> None:
    matrix = confusion_matrix(np.array([0, 1, 1, 2]), np.array([0, 0, 1, 2]), classes=4)
    assert classification("accuracy", matrix).value == 0.75
    assert classification("precision", matrix).value == pytest.approx((1 + 0.5 + 1) / 3)
    assert classification("recall", matrix).value == pytest.approx((0.5 + 1 + 1) / 3)
    assert classification("f1_score", matrix).value == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)
    assert classification("f1_score", matrix).counted == 3


@pytest.mark.parametrize("found", [[3], [-1]])
def test_a_class_that_does_not_exist_is_refused(found: list[int]) -> None:
    with pytest.raises(ValueError, match="classes from 0 to 2"):
        confusion_matrix(np.array(found), np.array([0]), classes=3)
    with pytest.raises(ValueError, match="one length"):
        confusion_matrix(np.array([0, 1]), np.array([0]), classes=3)
