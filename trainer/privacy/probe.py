"""What an engine finds out about a model before it trains, on random numbers instead of data."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn

from trainer.privacy.engine import SampleLoss, UnitBatch
from trainer.privacy.errors import EngineRefused
from trainer.privacy.layers.fallback import drops
from trainer.privacy.layers.registry import recorded_layers, strategies
from trainer.privacy.layers.rule import Call, Dense, Ghost

_TOLERANCE: Final = 1e-3
_ROUNDS: Final = 5
"""At least so many."""
_SECONDS: Final = 0.02
"""More rounds begin within this time: those of small layers are easily disturbed."""


@torch.no_grad()
def check_apart(model: nn.Module, loss: SampleLoss, batch: UnitBatch) -> None:
    """Raise if an output or a loss of one sample depends on the other samples.

    Only the shapes of the batch are used.

    Raises:
        EngineRefused: saying which of the two it is, or which layer is not given the samples first.
    """
    generator = torch.Generator().manual_seed(0)
    inputs = _like(batch.inputs, generator=generator)
    targets = _like(batch.targets, generator=generator)
    model.train(not drops(model))
    try:
        together, alone = _output(model, inputs), _output(model, inputs[:1])
        _compare("the model's output", together[:1], alone)
        losses, one = loss(together, targets), loss(together[:1], targets[:1])
    finally:
        model.train()
    if losses.shape != (len(inputs),):
        raise EngineRefused(
            f"the loss has shape {tuple(losses.shape)}, expected one value a sample"
        )
    _compare("the loss", losses[:1], one)


def _output(model: nn.Module, inputs: Tensor) -> Tensor:
    """Return a model's output; of two numbers of samples, one shows a layer that turns them."""

    def check(layer: nn.Module, _: Any, output: Any) -> None:
        first: Tensor = output[0] if isinstance(output, tuple) else output
        if first.shape[:1] != inputs.shape[:1]:
            raise EngineRefused(
                f"{type(layer).__name__} gives {list(first.shape)} for {len(inputs)} samples",
                hint="keep the samples first from layer to layer",
            )

    hooks = [layer.register_forward_hook(check) for _, layer in recorded_layers(model)]
    try:
        found: Tensor = model(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _like(values: Tensor, *, generator: torch.Generator) -> Tensor:
    shape = (3, *values.shape[1:])
    if values.is_floating_point():
        made = torch.rand(shape, generator=generator, dtype=torch.float32)
        return made.to(device=values.device, dtype=values.dtype)
    return torch.zeros(shape, dtype=values.dtype, device=values.device)


def _compare(what: str, together: Tensor, alone: Tensor) -> None:
    difference = (together - alone).abs().max()
    if difference > _TOLERANCE * (1 + alone.abs().max()):
        raise EngineRefused(
            f"{what} for one sample changes with the other samples of the batch",
            hint="use layers and losses that see one sample at a time, such as GroupNorm",
        )


def quickest(calls: Iterable[tuple[nn.Module, Call]]) -> dict[nn.Module, Dense | Ghost]:
    """Return for each layer the way that takes least time here, on random numbers.

    Args:
        calls: Layers that were called once, each with a call of the shapes to try.
    """
    chosen: dict[nn.Module, Dense | Ghost] = {}
    for layer, shapes in calls:
        ways = strategies(layer, shapes)
        if len(ways) > 1:
            device = next(layer.parameters()).device
            call = Call(*(_random(v, device) for v in (shapes.inputs, shapes.output_gradient)))
            chosen[layer] = _quickest(layer, call, ways)
    return chosen


def _quickest(layer: nn.Module, call: Call, ways: Sequence[Dense | Ghost]) -> Dense | Ghost:
    """Return the way with the shortest round; they alternate, as other work comes and goes."""
    weights = torch.ones(len(call.inputs), device=call.inputs.device)
    for way in ways:
        _take(layer, call, way, weights)
    seconds = [math.inf] * len(ways)
    began, rounds = time.perf_counter(), 0
    while rounds < _ROUNDS or time.perf_counter() - began < _SECONDS:
        rounds += 1
        for index, way in enumerate(ways):
            seconds[index] = min(seconds[index], _timed(layer, call, way, weights))
    return ways[seconds.index(min(seconds))]


def _random(shape: Tensor, device: torch.device) -> Tensor:
    if shape.is_floating_point():
        return torch.randn(shape.shape, device=device).to(shape.dtype)
    return torch.zeros(shape.shape, dtype=shape.dtype, device=device)


def _take(layer: nn.Module, call: Call, way: Dense | Ghost, weights: Tensor) -> None:
    """Go one way to its end, clipping included."""
    if isinstance(way, Ghost):
        way.squared_norms(layer, call)
        for _ in way.weighted_sum(layer, call, weights):
            pass
        return
    for _, rows in way.gradients(layer, call):
        flat = rows.flatten(1).float()
        torch.linalg.vector_norm(flat, dim=1)
        weights @ flat


def _timed(layer: nn.Module, call: Call, way: Dense | Ghost, weights: Tensor) -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    started = time.perf_counter()
    _take(layer, call, way, weights)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started
