"""The project's own engine: per-sample weight gradients instead of the batch's, not beside them.

The forward pass records what went into each layer. The backward pass computes gradients of
activations only; where it passes a layer, that layer's gradient for each sample is computed from
the two, to be clipped and summed as it stands. Where the norms alone are cheaper (`Ghost`), the
layer waits until they are known and computes one weighted sum. Which way is cheaper is measured
once for each layer, on random numbers of the same shapes.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import Tensor, nn

from trainer.privacy.clipping import Clipping, row_norms, scales, unit_means, without
from trainer.privacy.engine import Precision, SampleLoss, UnitBatch
from trainer.privacy.errors import EngineRefused
from trainer.privacy.layers import fallback
from trainer.privacy.layers.registry import check_coupling, is_known, recorded_layers
from trainer.privacy.layers.rule import Call, Ghost
from trainer.privacy.probe import check_apart, quickest
from trainer.privacy.recording import Recording, Rows, Way, calls_alike

MAX_FLOATS: Final = 64 * 1024 * 1024
"""Per-sample gradients held at a time (256 MB)."""
MAX_SAMPLES: Final = 64
"""Samples a forward pass, so that activations stay in the cache's reach."""


class PerSampleEngine:
    """Clipped gradient sums of a model by rules for its layers; see `PrivateEngine`."""

    def __init__(
        self,
        model: nn.Module,
        *,
        loss: SampleLoss,
        max_grad_norm: float,
        clipping: Clipping = Clipping.FLAT,
        precision: Precision = Precision.FP32,
        measure: bool = True,
    ) -> None:
        """Attach to a model.

        Args:
            model: The network; its trainable parameters are those that require a gradient.
            loss: One loss a sample, each a function of that sample only.
            max_grad_norm: The bound on one unit's contribution.
            clipping: Which norm is bounded.
            precision: Numbers to compute activations in.
            measure: Whether a layer takes the way that is quickest here; without it the sums of
                two processes are bit for bit the same.

        Raises:
            EngineRefused: naming every layer that couples samples or cannot be differentiated.
        """
        check_coupling(model)
        self._model, self._loss = model, loss
        self._max_norm, self._clipping, self._precision = max_grad_norm, clipping, precision
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        if not self._parameters:
            raise EngineRefused("the model has no trainable parameters")
        self._layers = dict(recorded_layers(model))
        for name, layer in self._layers.items():
            if not is_known(layer):
                fallback.refuse_random(layer, name=name)
        self._shared = _shared_layers(self._layers)
        self._ways: dict[nn.Module, Way] | None = None if measure else {}
        self._checked = False
        self._recording: Recording | None = None
        self._hooks = [
            layer.register_forward_hook(self._called, with_kwargs=True)
            for layer in self._layers.values()
        ]

    @property
    def size(self) -> int:
        """Number of trainable parameters."""
        return sum(p.numel() for p in self._parameters)

    @property
    def max_grad_norm(self) -> float:
        """The bound on one unit's contribution."""
        return self._max_norm

    @property
    def ways(self) -> Mapping[str, str]:
        """By layer that had a choice, how its gradients are computed; empty before a batch."""
        chosen = self._ways or {}
        return {name: chosen[m].name for name, m in self._layers.items() if m in chosen}

    def unit_sum(self, batch: UnitBatch) -> Tensor:
        """See `PrivateEngine.unit_sum`.

        Raises:
            EngineRefused: if a sample's output or loss depends on other samples.
        """
        if not self._checked:
            check_apart(self._model, self._loss, batch)
            self._checked = True
        self._model.train()
        samples = max(1, min(batch.at_once(MAX_SAMPLES), MAX_FLOATS // self.size))
        sums = (self._part_sum(part) for part in batch.parts(samples=samples))
        total = next(sums, None)
        if total is None:
            return torch.zeros(self.size, device=self._parameters[0].device)
        for another in sums:
            total += another
        return total

    def close(self) -> None:
        """Detach from the model."""
        for hook in self._hooks:
            hook.remove()

    def _called(self, layer: nn.Module, arguments: Any, keywords: Any, output: Any) -> Any:
        if self._recording is None:
            return output
        return self._recording.called(layer, arguments, keywords, output)

    def _part_sum(self, batch: UnitBatch) -> Tensor:
        # A norm over several samples of one unit takes their gradients, not their norms.
        one_each = batch.owner.numel() == batch.units
        ways = {
            m: way
            for m, way in (self._ways or {}).items()
            if one_each or not isinstance(way, Ghost)
        }
        apart = {p for m, way in ways.items() if isinstance(way, Ghost) for p in m.parameters()}
        rows = Rows(p for p in self._parameters if p not in apart)
        recording = Recording(rows, ways=ways, measuring=self._ways is None)
        with (
            self._recorded(recording),
            self._precision.on(batch.inputs.device),
        ):
            losses = self._loss(self._model(batch.inputs), batch.targets)
        if losses.shape != batch.owner.shape:
            raise EngineRefused(
                f"the loss has shape {tuple(losses.shape)}, expected one value a sample"
            )
        torch.autograd.grad(losses.sum(), recording.anchor)
        del losses  # And with it every activation.
        if self._ways is None:
            self._ways = quickest(
                (m, call) for m, call in calls_alike(recording.calls) if m not in self._shared
            )
        return self._clipped(recording, batch)

    @contextmanager
    def _recorded(self, recording: Recording) -> Iterator[None]:
        self._recording = recording
        for parameter in self._parameters:
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            self._recording = None
            for parameter in self._parameters:
                parameter.requires_grad_(True)

    def _clipped(self, recording: Recording, batch: UnitBatch) -> Tensor:
        """Clip and sum what was recorded, `[size]`."""
        means = {
            p: unit_means(rows, owner=batch.owner, units=batch.units)
            for p, rows in recording.rows.finished(samples=len(batch.owner)).items()
        }
        per_layer = self._clipping is Clipping.PER_LAYER
        parts = _by_layer(self._layers, means) if per_layer else [list(means)] if means else []
        norms = [row_norms(*(means[p] for p in part)) for part in parts]
        norms += [_ghost_norms(ghost) for ghost in recording.ghosts]
        table = torch.stack(norms, dim=1)
        if not per_layer:
            table = torch.linalg.vector_norm(table, dim=1, keepdim=True)
        scale = scales(table, max_norm=self._max_norm, clipping=self._clipping)
        lost = ~torch.isfinite(table).all(dim=1)
        scale = scale.expand(-1, len(norms))
        sums: dict[Tensor, Tensor] = {}
        for index, part in enumerate(parts):
            sums |= {p: scale[:, index] @ without(means[p], units=lost) for p in part}
        for index, (layer, way, call) in enumerate(recording.ghosts, start=len(parts)):
            sums.update(way.weighted_sum(layer, call.without(lost), scale[:, index]))
        return torch.cat([sums[p].reshape(-1) for p in self._parameters])


def _ghost_norms(ghost: tuple[nn.Module, Ghost, Call]) -> Tensor:
    layer, way, call = ghost
    return way.squared_norms(layer, call).clamp(min=0).sqrt()


def _by_layer(layers: Mapping[str, nn.Module], wanted: Container[Tensor]) -> list[list[Tensor]]:
    """Return those of the parameters that each layer has, in the order of the layers."""
    found, seen = list[list[Tensor]](), set[Tensor]()
    for layer in layers.values():
        mine: list[Tensor] = [p for p in layer.parameters() if p in wanted and p not in seen]
        seen.update(mine)
        if mine:
            found.append(mine)
    return found


def _shared_layers(layers: Mapping[str, nn.Module]) -> set[nn.Module]:
    """Return the layers that share a parameter with another one."""
    users: dict[Tensor, list[nn.Module]] = {}
    for layer in layers.values():
        for parameter in layer.parameters():
            users.setdefault(parameter, []).append(layer)
    return {layer for found in users.values() if len(found) > 1 for layer in found}
