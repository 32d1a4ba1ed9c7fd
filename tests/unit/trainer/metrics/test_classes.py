import numpy as np
import pytest
from sklearn import metrics as oracle

from tests.metrics import guesses
from trainer.metrics.classes import (
    ClassRow,
    classification,
    classification_report,
    confusion_matrix,
)


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


@pytest.mark.parametrize("seed", range(5))
def test_class_metrics_equal_those_of_scikit_learn(seed: int) -> None:
    probabilities, truth = guesses(seed, classes=4)
    found = probabilities.argmax(axis=1)
    matrix = confusion_matrix(found, truth, classes=4)
    assert matrix.tolist() == oracle.confusion_matrix(truth, found).tolist()
    assert classification("accuracy", matrix).value == oracle.accuracy_score(truth, found)
    for metric, other in (
        ("f1_score", oracle.f1_score),
        ("precision", oracle.precision_score),
        ("recall", oracle.recall_score),
    ):
        wanted = other(truth, found, average="macro", zero_division=0)
        assert classification(metric, matrix).value == pytest.approx(wanted)


@pytest.mark.parametrize("seed", range(5))
def test_the_report_of_classes_equals_that_of_scikit_learn(seed: int) -> None:
    probabilities, truth = guesses(seed, samples=20, classes=4)
    truth[truth == 2] = 1
    found = probabilities.argmax(axis=1)
    report = classification_report(confusion_matrix(found, truth, classes=6))
    wanted = oracle.classification_report(truth, found, output_dict=True, zero_division=0)
    assert report.accuracy == pytest.approx(wanted.pop("accuracy"))
    rows = {str(number): row for number, row in report.classes.items()}
    rows |= {"macro avg": report.macro, "weighted avg": report.weighted}
    assert rows.keys() == wanted.keys()
    for name, row in rows.items():
        other = wanted[name]
        assert row == ClassRow(
            pytest.approx(other["precision"]),
            pytest.approx(other["recall"]),
            pytest.approx(other["f1-score"]),
            other["support"],
        )


def test_a_report_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="a sample at least"):
        classification_report(np.zeros((2, 2), dtype=np.int64))
