"""Loss functions that a pipeline can select, alone or composed by arithmetic.

Each is a function of one sample: nothing couples the samples of a batch, since a loss that does
breaks the bound on what one patient can change.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, StringConstraints, Tag, model_validator

from policies.expression import Expression, parse
from policies.wire.base import Wire

Term = Annotated[str, StringConstraints(pattern=r"\A[a-z][a-z0-9_]{0,31}\z")]
Reference = Annotated[str, StringConstraints(pattern=r"\A-?\$[a-z][a-z0-9_]{0,31}\z")]
"""`$name` or `-$name`: the value of another component."""


def _refuse_batch(value: object) -> object:
    if value is True:
        raise ValueError(
            "couples the samples of a batch, so that one patient changes the gradients of all "
            "others; leave it false"
        )
    return value


class NoParams(Wire):
    """A loss without parameters."""


class BceParams(Wire):
    """Parameters of BCEWithLogitsLoss."""

    pos_weight: float = Field(default=1.0, gt=0, le=1000)


class CrossEntropyParams(Wire):
    """Parameters of CrossEntropyLoss."""

    label_smoothing: float = Field(default=0.0, ge=0, lt=1)


class FocalParams(Wire):
    """Parameters of FocalLoss (Lin et al. 2017) on logits of independent pixels."""

    gamma: float = Field(default=2.0, ge=0, le=10)
    alpha: float = Field(default=0.5, gt=0, lt=1)
    """Weight of the positive class; the negative one has 1 - alpha."""


class DiceParams(Wire):
    """Parameters of DiceLoss: one minus the soft Dice of the sigmoid of the logits, per sample."""

    smooth: float = Field(default=1.0, gt=0, le=1000)
    squared_pred: bool = False
    batch: Annotated[Literal[False], BeforeValidator(_refuse_batch)] = False


class SmoothL1Params(Wire):
    """Parameters of SmoothL1Loss."""

    beta: float = Field(default=1.0, gt=0, le=1000)


class ExpParams(Wire):
    """Parameters of Exp."""

    input: Reference

    @property
    def term(self) -> str:
        """Name of the component."""
        return self.input.lstrip("-").removeprefix("$")

    @property
    def sign(self) -> float:
        """Minus one for `-$name`."""
        return -1.0 if self.input.startswith("-") else 1.0


class BceWithLogits(Wire):
    """Binary cross entropy of logits, mean over a sample's pixels."""

    loss: Literal["BCEWithLogitsLoss"] = Field(alias="class")
    params: BceParams = BceParams()


class CrossEntropy(Wire):
    """Cross entropy of the logits of classes."""

    loss: Literal["CrossEntropyLoss"] = Field(alias="class")
    params: CrossEntropyParams = CrossEntropyParams()


class Focal(Wire):
    """Focal loss of logits, mean over a sample's pixels."""

    loss: Literal["FocalLoss"] = Field(alias="class")
    params: FocalParams = FocalParams()


class Dice(Wire):
    """Soft Dice loss of logits."""

    loss: Literal["DiceLoss"] = Field(alias="class")
    params: DiceParams = DiceParams()


class Mse(Wire):
    """Mean squared error over a sample's outputs."""

    loss: Literal["MSELoss"] = Field(alias="class")
    params: NoParams = NoParams()


class L1(Wire):
    """Mean absolute error over a sample's outputs."""

    loss: Literal["L1Loss"] = Field(alias="class")
    params: NoParams = NoParams()


class SmoothL1(Wire):
    """Huber's loss over a sample's outputs."""

    loss: Literal["SmoothL1Loss"] = Field(alias="class")
    params: SmoothL1Params = SmoothL1Params()


class Exp(Wire):
    """The exponential of another component; only inside a composed loss."""

    loss: Literal["Exp"] = Field(alias="class")
    params: ExpParams


AtomicLoss = Annotated[
    BceWithLogits | CrossEntropy | Focal | Dice | Mse | L1 | SmoothL1, Field(discriminator="loss")
]
Component = Annotated[
    BceWithLogits | CrossEntropy | Focal | Dice | Mse | L1 | SmoothL1 | Exp,
    Field(discriminator="loss"),
]


class ComposedLoss(Wire):
    """Several losses joined by arithmetic, sample by sample, then averaged."""

    expression: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    components: dict[Term, Component] = Field(min_length=1, max_length=8)
    variables: dict[Term, Annotated[float, Field(ge=-1e6, le=1e6)]] = Field(
        default_factory=dict, max_length=8
    )
    reduction: Literal["mean"] = "mean"

    @model_validator(mode="after")
    def _names_resolve(self) -> Self:
        both = set(self.components) & set(self.variables)
        if both:
            raise ValueError(f"{sorted(both)} are both components and variables")
        plain = {name for name, item in self.components.items() if not isinstance(item, Exp)}
        for name, component in self.components.items():
            if isinstance(component, Exp) and component.params.term not in plain:
                raise ValueError(
                    f"component {name!r} refers to {component.params.term!r}, which is not a loss"
                )
        self.parsed()
        return self

    def parsed(self) -> Expression:
        """Return the checked expression.

        Raises:
            ValueError: if the expression is not arithmetic over the components and variables.
        """
        return parse(self.expression, names=frozenset(self.components) | frozenset(self.variables))


def _shape(value: Any) -> str:
    if isinstance(value, ComposedLoss):
        return "composed"
    return "composed" if isinstance(value, dict) and "expression" in value else "atomic"


Loss = Annotated[
    Annotated[AtomicLoss, Tag("atomic")] | Annotated[ComposedLoss, Tag("composed")],
    Discriminator(_shape),
]
