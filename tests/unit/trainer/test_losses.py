import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from pydantic import TypeAdapter

from policies.wire.losses import Loss
from trainer.losses import build_loss
from trainer.privacy.engine import SampleLoss

PIXELS = ["BCEWithLogitsLoss", "FocalLoss", "DiceLoss", "MSELoss", "L1Loss", "SmoothL1Loss"]


def loss(**value: Any) -> SampleLoss:
    value["class"] = value.pop("kind", None)
    value = {key: item for key, item in value.items() if item is not None}
    return build_loss(TypeAdapter(Loss).validate_python(value))


@pytest.fixture
def outputs() -> torch.Tensor:
    return torch.randn(5, 2, 6, 6, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def masks() -> torch.Tensor:
    return (torch.rand(5, 2, 6, 6, generator=torch.Generator().manual_seed(2)) > 0.6).float()


@pytest.mark.parametrize("kind", PIXELS)
def test_a_samples_loss_depends_on_that_sample_only(
    kind: str, outputs: torch.Tensor, masks: torch.Tensor
) -> None:
    together = loss(kind=kind)(outputs, masks)
    assert together.shape == (5,)
    for sample in range(5):
        alone = loss(kind=kind)(outputs[sample : sample + 1], masks[sample : sample + 1])
        torch.testing.assert_close(together[sample], alone[0])


def test_class_losses_are_those_of_each_sample() -> None:
    logits, classes = torch.randn(4, 3), torch.tensor([0, 2, 1, 1])
    expected = F.cross_entropy(logits, classes, reduction="none")
    torch.testing.assert_close(loss(kind="CrossEntropyLoss")(logits, classes), expected)


def test_binary_losses_agree_with_torch(outputs: torch.Tensor, masks: torch.Tensor) -> None:
    for kind, function in (
        ("BCEWithLogitsLoss", F.binary_cross_entropy_with_logits),
        ("MSELoss", F.mse_loss),
        ("L1Loss", F.l1_loss),
        ("SmoothL1Loss", F.smooth_l1_loss),
    ):
        got = loss(kind=kind)(outputs, masks).mean()
        torch.testing.assert_close(got, function(outputs, masks))


def test_focal_loss_without_focus_is_half_the_cross_entropy(
    outputs: torch.Tensor, masks: torch.Tensor
) -> None:
    focal = loss(kind="FocalLoss", params={"gamma": 0.0})(outputs, masks)
    torch.testing.assert_close(focal, 0.5 * loss(kind="BCEWithLogitsLoss")(outputs, masks))


def test_dice_loss_is_nothing_for_a_perfect_mask_and_one_for_a_wrong_one() -> None:
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., 2:6, 2:6] = 1
    sure = (mask * 2 - 1) * 30
    assert float(loss(kind="DiceLoss")(sure, mask)) == pytest.approx(0, abs=1e-4)
    assert float(loss(kind="DiceLoss", params={"smooth": 1e-6})(-sure, mask)) > 0.99
    assert float(loss(kind="DiceLoss", params={"squaredPred": True})(sure, mask)) < 1e-4


def test_a_focal_loss_can_be_composed_of_cross_entropy() -> None:
    composed = loss(
        expression="alpha * (1 - pt) ** gamma * ce",
        components={
            "ce": {"class": "CrossEntropyLoss"},
            "pt": {"class": "Exp", "params": {"input": "-$ce"}},
        },
        variables={"alpha": 0.25, "gamma": 2.0},
    )
    logits, classes = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 0, 1])
    entropy = F.cross_entropy(logits, classes, reduction="none")
    expected = 0.25 * (1 - torch.exp(-entropy)) ** 2 * entropy
    torch.testing.assert_close(composed(logits, classes), expected)


def test_an_expression_of_constants_is_one_value_a_sample() -> None:
    constant = loss(expression="2 ** 3", components={"a": {"class": "MSELoss"}})
    values = constant(torch.randn(3, 2), torch.randn(3, 2))
    assert values.tolist() == [8.0, 8.0, 8.0]


def test_composed_losses_add_up(outputs: torch.Tensor, masks: torch.Tensor) -> None:
    both = loss(
        expression="bce + w * dice",
        components={"bce": {"class": "BCEWithLogitsLoss"}, "dice": {"class": "DiceLoss"}},
        variables={"w": math.pi},
    )
    expected = loss(kind="BCEWithLogitsLoss")(outputs, masks) + math.pi * loss(kind="DiceLoss")(
        outputs, masks
    )
    torch.testing.assert_close(both(outputs, masks), expected)
