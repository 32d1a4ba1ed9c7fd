import math

import numpy as np
import pytest

from tests.metrics import EMPTY, square
from trainer.metrics.masks import dice_score, jaccard_index, overlap
from trainer.metrics.scores import mean_score


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
    assert (score.counted, score.ignored) == (2, 1)


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
