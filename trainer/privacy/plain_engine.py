"""The engine without privacy, for runs whose contract allows them: the same sums, no bound."""

from __future__ import annotations

from typing import Final

import torch
from torch import nn

from trainer.privacy.engine import Precision, SampleLoss, UnitBatch

_MAX_SAMPLES: Final = 64


class PlainEngine:
    """Gradient sums of a model without clipping."""

    def __init__(
        self, model: nn.Module, *, loss: SampleLoss, precision: Precision = Precision.FP32
    ) -> None:
        self._model = model
        self._loss = loss
        self._precision = precision
        self._parameters = [p for p in model.parameters() if p.requires_grad]

    @property
    def size(self) -> int:
        """Number of trainable parameters."""
        return sum(p.numel() for p in self._parameters)

    def unit_sum(self, batch: UnitBatch) -> torch.Tensor:
        """See `GradientEngine.unit_sum`."""
        total = torch.zeros(self.size, device=batch.inputs.device)
        weights = 1.0 / torch.bincount(batch.owner, minlength=batch.units)[batch.owner]
        self._model.train()
        samples = batch.at_once(_MAX_SAMPLES)
        for start in range(0, len(weights), samples):
            part = slice(start, start + samples)
            with self._precision.on(batch.inputs.device):
                losses = self._loss(self._model(batch.inputs[part]), batch.targets[part])
            gradients = torch.autograd.grad((losses * weights[part]).sum(), self._parameters)
            total += torch.cat([gradient.reshape(-1) for gradient in gradients])
        return total

    def close(self) -> None:
        """Nothing to detach."""
