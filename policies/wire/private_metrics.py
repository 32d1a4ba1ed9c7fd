"""Metrics of private data: which can leave with noise, what they may cost, what comes of them.

A metric can leave if it follows from a sum over units to which each adds a vector of bounded norm.
What one unit can change without bound, or only together with all others, cannot.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import AfterValidator, Field

from policies.wire.base import Document, Wire
from policies.wire.budget import Delta, Epsilon
from policies.wire.choices import Metric, Once

FILE: Final = "private-metrics.json"
"""What the figures are called where the trained model is put."""
MAX_CLASSES: Final = 100
"""Classes up to which a matrix of all pairs of them is summed."""

Task = Literal["segmentation", "classification"]
OF_MATRIX: Final = frozenset(
    {"f1_score", "precision", "recall", "confusion_matrix", "classification_report"}
)
"""Metrics of classes that need to know which class was taken for which."""
_NOISED: Final[Mapping[Task, frozenset[str]]] = MappingProxyType(
    {
        "segmentation": frozenset(
            {"dice_score", "jaccard_index", "precision", "recall", "mse", "mae", "rmse"}
        ),
        "classification": OF_MATRIX | {"accuracy", "mse", "mae"},
    }
)
_RANKED: Final = "it ranks every sample against all others"
_NEVER: Final[Mapping[str, str]] = MappingProxyType(
    {
        "roc_auc": _RANKED,
        "roc_curve": _RANKED,
        "precision_recall_curve": _RANKED,
        "hausdorff_distance": "a single pixel of one unit can change it by any distance",
        "r2_score": "it divides by a spread that may be next to nothing",
    }
)


def _releasable(metric: Metric) -> Metric:
    if metric in _NEVER:
        known = ", ".join(sorted(frozenset().union(*_NOISED.values())))
        raise ValueError(
            f"{metric} cannot be released with noise: {_NEVER[metric]}; those that can are {known}"
        )
    return metric


Released = Annotated[
    tuple[Annotated[Metric, AfterValidator(_releasable)], ...],
    Field(min_length=1, max_length=16),
    Once,
]


class PrivateMetricsGrant(Wire):
    """Metrics of one data set that may leave with noise."""

    metrics: Released
    epsilon: Epsilon
    """The most that the metrics of one run may cost, out of what the run may spend."""


class PrivateMetrics(Wire):
    """Metrics of the data that was trained on, which leave with noise beside the model."""

    metrics: Released
    epsilon: Epsilon
    """Part of the run's epsilon that is kept for them, at the run's delta."""

    def check(self, *, task: Task, classes: int, epsilon: float | None) -> None:
        """Raise unless a stage can release these metrics.

        Args:
            task: What the stage trains.
            classes: How many classes there are, or mask channels.
            epsilon: What the run may spend; None if it is not private.

        Raises:
            ValueError: saying which of the fields do not go together.
        """
        if epsilon is None:
            raise ValueError("privateMetrics is given but isPrivate is false")
        if self.epsilon >= epsilon:
            raise ValueError(
                f"privateMetrics.epsilon ({self.epsilon:g}) leaves nothing to train with "
                f"of privacyParams.epsilon ({epsilon:g})"
            )
        if unfit := sorted(set(self.metrics) - _NOISED[task]):
            raise ValueError(
                f"privateMetrics {unfit} do not fit taskType {task}, "
                f"those that do are {', '.join(sorted(_NOISED[task]))}"
            )
        if classes > MAX_CLASSES and (wide := sorted(OF_MATRIX & set(self.metrics))):
            raise ValueError(
                f"privateMetrics {wide} sum a matrix of up to {MAX_CLASSES} classes, "
                f"the data has {classes}"
            )


class PrivateFigure(Wire):
    """What came of one metric; all of it follows from sums with noise in them."""

    value: Any = None
    """A number from 0 to 1, a matrix of units, or figures of each class; absent where the noise
    leaves nothing to say."""
    deviation: float | None = Field(default=None, ge=0)
    """Standard deviation of the number that comes from the noise; absent where there is none."""
    counted: float = Field(ge=0)
    """About how many units have a value, or how many classes are large enough to say something."""


class PrivateMetricsReport(Document):
    """Metrics of the data that was trained on, as they left the clean room."""

    kind: ClassVar[str] = "private-metrics"

    version: Literal["1.0"] = "1.0"
    measured: Literal["training units"] = "training units"
    """The model has seen these units: the figures say how well it fits, not how well it will do."""
    unit: Literal["patient", "record"]
    epsilon: Epsilon
    """What the metrics alone cost; it is contained in the run's epsilon."""
    delta: Delta
    noise_multiplier: float = Field(gt=0)
    """Standard deviation of the noise divided by the norm that bounds one unit's part in a sum."""
    figures: dict[Metric, PrivateFigure] = Field(min_length=1, max_length=16)
