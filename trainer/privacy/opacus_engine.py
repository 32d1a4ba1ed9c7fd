"""The engine on Opacus' per-sample gradients.

Opacus' hooks give one gradient a sample. Everything after that is ours: its optimiser, its samplers
and its accountants are not used. Clipping works on the recorded gradients, units are averaged
before it, and large batches are cut into parts of whole units so that memory stays bounded.
"""

from __future__ import annotations

from typing import Final

import torch
from opacus.grad_sample import GradSampleHooks
from torch import nn

from trainer.privacy.clipping import Clipping, clip_and_sum
from trainer.privacy.engine import SampleLoss, UnitBatch
from trainer.privacy.errors import EngineRefused
from trainer.privacy.layers.registry import check_coupling, layer_columns

_MAX_FLOATS: Final = 64 * 1024 * 1024
"""Per-sample gradients held at a time (256 MB)."""
_MAX_SAMPLES: Final = 64
"""Samples a forward pass, so that activations stay in the cache's reach."""


class OpacusEngine:
    """Clipped gradient sums of a model by Opacus' hooks."""

    def __init__(
        self,
        model: nn.Module,
        *,
        loss: SampleLoss,
        max_grad_norm: float,
        clipping: Clipping = Clipping.FLAT,
    ) -> None:
        """Attach to a model.

        Args:
            model: The network; its trainable parameters are those that require a gradient.
            loss: One loss a sample, each a function of that sample only.
            max_grad_norm: The bound on one unit's contribution.
            clipping: Which norm is bounded.

        Raises:
            EngineRefused: naming every layer that couples samples or has no per-sample gradient.
        """
        check_layers(model)
        self._model = model
        self._loss = loss
        self._max_norm = max_grad_norm
        self._clipping = clipping
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        if not self._parameters:
            raise EngineRefused("the model has no trainable parameters")
        self._layers = layer_columns(model)
        self._hooks = GradSampleHooks(model, batch_first=True, loss_reduction="sum", strict=False)

    @property
    def size(self) -> int:
        """Number of trainable parameters."""
        return sum(p.numel() for p in self._parameters)

    @property
    def max_grad_norm(self) -> float:
        """The bound on one unit's contribution."""
        return self._max_norm

    def unit_sum(self, batch: UnitBatch) -> torch.Tensor:
        """See `PrivateEngine.unit_sum`."""
        total = torch.zeros(self.size, device=batch.inputs.device)
        samples = max(1, min(batch.at_once(_MAX_SAMPLES), _MAX_FLOATS // self.size))
        for part in batch.parts(samples=samples):
            gradients = self._gradients(part)
            total += clip_and_sum(
                gradients,
                owner=part.owner,
                units=part.units,
                max_norm=self._max_norm,
                clipping=self._clipping,
                layers=self._layers,
            )
        return total

    def _gradients(self, batch: UnitBatch) -> torch.Tensor:
        """Return one gradient a sample, `[samples, size]`."""
        self._model.train()
        # The hooks see activations and output gradients; asking for the gradient of the inputs
        # makes them fire without the sums over the batch that autograd would otherwise compute as
        # well.
        inputs = batch.inputs.detach().requires_grad_()
        losses = self._loss(self._model(inputs), batch.targets)
        if losses.shape != batch.owner.shape:
            raise EngineRefused(
                f"the loss has shape {tuple(losses.shape)}, expected one value a sample"
            )
        torch.autograd.grad(losses.sum(), inputs)
        rows = []
        for parameter in self._parameters:
            recorded: torch.Tensor = parameter.grad_sample  # type: ignore[attr-defined]
            rows.append(recorded.reshape(len(losses), -1))
            parameter.grad_sample = None  # type: ignore[attr-defined]
        return torch.cat(rows, dim=1)

    def close(self) -> None:
        """Detach from the model."""
        self._hooks.remove_hooks()


def check_layers(model: nn.Module) -> None:
    """Raise unless no layer couples samples and every trainable layer has per-sample gradients.

    Raises:
        EngineRefused: naming every offending layer, and what to use instead.
    """
    check_coupling(model)
    problems = [
        f"{name or 'model'} ({type(layer).__name__}) has no per-sample gradient"
        for name, layer in model.named_modules()
        if _has_own_trainable(layer) and type(layer) not in GradSampleHooks.GRAD_SAMPLERS
    ]
    if problems:
        raise EngineRefused("; ".join(problems), hint="use the engine per-sample")


def _has_own_trainable(layer: nn.Module) -> bool:
    return any(p.requires_grad for p in layer.parameters(recurse=False))
