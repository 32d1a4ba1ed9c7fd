"""Losses of the pipeline as functions of samples: each returns one number a sample.

Nothing here averages over a batch, so that one patient's samples cannot reach another's gradient.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from policies.wire.losses import (
    L1,
    AtomicLoss,
    BceParams,
    BceWithLogits,
    ComposedLoss,
    CrossEntropy,
    Dice,
    DiceParams,
    Exp,
    Focal,
    FocalParams,
    Loss,
    Mse,
    SmoothL1,
)
from policies.wire.models import UNet2d, UNet3d
from policies.wire.pipeline import TrainDlConfig
from trainer.privacy.engine import SampleLoss


def build_loss(config: Loss) -> SampleLoss:
    """Return the loss that a pipeline selects, in float32 whatever the outputs are."""
    found = _compose(config) if isinstance(config, ComposedLoss) else _atomic(config)
    return lambda outputs, targets: found(outputs.float(), targets)


def build_stage_loss(config: TrainDlConfig) -> SampleLoss:
    """Return the loss of a stage: where the network has several outputs, the mean over them."""
    loss = build_loss(config.loss)
    outputs = config.model.outputs if isinstance(config.model, UNet2d | UNet3d) else 1
    if outputs == 1:
        return loss
    return lambda every, targets: torch.stack(
        [loss(one, targets) for one in every.chunk(outputs, dim=1)]
    ).mean(0)


def _compose(config: ComposedLoss) -> SampleLoss:
    expression = config.parsed()
    plain = {
        name: _atomic(item) for name, item in config.components.items() if not isinstance(item, Exp)
    }
    exponentials = {
        name: item.params for name, item in config.components.items() if isinstance(item, Exp)
    }

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        terms = {name: part(outputs, targets) for name, part in plain.items()}
        for name, params in exponentials.items():
            terms[name] = torch.exp(params.sign * terms[params.term])
        value = expression.evaluate({**terms, **config.variables})
        if not isinstance(value, Tensor):
            # An expression of constants has no gradient, but is one value a sample all the same.
            return outputs.flatten(1).sum(1) * 0.0 + float(value)
        return value

    return loss


def _atomic(config: AtomicLoss) -> SampleLoss:  # noqa: PLR0911 - one case a loss
    match config:
        case BceWithLogits(params=bce):
            return lambda x, y: _bce(x, y, bce)
        case CrossEntropy(params=entropy):
            smoothing = entropy.label_smoothing
            return lambda x, y: _mean(
                F.cross_entropy(x, y, reduction="none", label_smoothing=smoothing)
            )
        case Focal(params=focal):
            return lambda x, y: _focal(x, y, focal)
        case Dice(params=dice):
            return lambda x, y: _dice(x, y, dice)
        case Mse():
            return lambda x, y: _mean(F.mse_loss(x, y, reduction="none"))
        case L1():
            return lambda x, y: _mean(F.l1_loss(x, y, reduction="none"))
        case SmoothL1(params=huber):
            beta = huber.beta
            return lambda x, y: _mean(F.smooth_l1_loss(x, y, reduction="none", beta=beta))


def _mean(values: Tensor) -> Tensor:
    return values.reshape(values.shape[0], -1).mean(1)


def _bce(logits: Tensor, targets: Tensor, params: BceParams) -> Tensor:
    weight = logits.new_tensor(params.pos_weight)
    return _mean(
        F.binary_cross_entropy_with_logits(logits, targets, reduction="none", pos_weight=weight)
    )


def _focal(logits: Tensor, targets: Tensor, params: FocalParams) -> Tensor:
    entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    alpha = params.alpha * targets + (1 - params.alpha) * (1 - targets)
    return _mean(alpha * (1 - torch.exp(-entropy)) ** params.gamma * entropy)


def _dice(logits: Tensor, targets: Tensor, params: DiceParams) -> Tensor:
    """One minus soft Dice; per sample and mask channel, then the mean over channels."""
    found = torch.sigmoid(logits).flatten(2)
    truth = targets.flatten(2)
    overlap = (found * truth).sum(2)
    size = (found**2).sum(2) + (truth**2).sum(2) if params.squared_pred else (found + truth).sum(2)
    return (1 - (2 * overlap + params.smooth) / (size + params.smooth)).mean(1)
