"""Where the channels of images stand in memory: one after another, or side by side at each place.

Neither is quicker everywhere, so it is measured on random numbers. Only the order in memory
changes: every tensor keeps its shape, and every result its meaning.
"""

from __future__ import annotations

import time
from typing import Final

import torch
from torch import Tensor, nn

from trainer.privacy.engine import Precision, SampleLoss, UnitBatch

CHANNELS_LAST: Final = {4: torch.channels_last, 5: torch.channels_last_3d}
"""By number of axes, samples included."""
_SAMPLES: Final = 4
_ROUNDS: Final = 3


def layout_of(values: Tensor) -> torch.memory_format:
    """Return how a tensor lies in memory; contiguous if it lies in no order of its own."""
    last = CHANNELS_LAST.get(values.dim())
    if last is None or values.is_contiguous() or not values.is_contiguous(memory_format=last):
        return torch.contiguous_format
    return last


def strides_of(values: Tensor) -> tuple[int, ...]:
    """Return the strides of a copy without gaps that lies in the order of `values`."""
    return torch.empty_like(values, device="meta", memory_format=layout_of(values)).stride()


def rows_like(parameter: Tensor, count: int, *, dtype: torch.dtype) -> Tensor:
    """Return room for `count` gradients of a parameter, `[count, *shape]`, each in its order."""
    shape, strides = (count, *parameter.shape), (parameter.numel(), *strides_of(parameter))
    return torch.empty_strided(shape, strides, dtype=dtype, device=parameter.device)


def arrange(model: nn.Module, layout: torch.memory_format) -> None:
    """Put the weights of convolutions in an order in memory."""
    axes = {order: count for count, order in CHANNELS_LAST.items()}.get(layout)
    for parameter in model.parameters():
        if axes is None or parameter.dim() == axes:
            parameter.data = parameter.data.contiguous(memory_format=layout)


def quickest_layout(
    model: nn.Module, loss: SampleLoss, batch: UnitBatch, *, precision: Precision
) -> torch.memory_format:
    """Return the order in which a forward and a backward pass take least time, on random numbers.

    The weights are left in that order.
    """
    last = CHANNELS_LAST.get(batch.inputs.dim())
    images = batch.inputs.is_floating_point()
    if last is None or not images or all(p.dim() != batch.inputs.dim() for p in model.parameters()):
        return torch.contiguous_format
    inputs = torch.rand_like(batch.inputs[:_SAMPLES])
    targets = torch.zeros_like(batch.targets[:_SAMPLES])
    orders = (torch.contiguous_format, last)
    with precision.on(inputs.device):
        seconds = {order: _seconds(model, loss, inputs, targets, order) for order in orders}
    best = min(orders, key=lambda order: seconds[order])
    arrange(model, best)
    return best


def _seconds(
    model: nn.Module,
    loss: SampleLoss,
    inputs: Tensor,
    targets: Tensor,
    order: torch.memory_format,
) -> float:
    arrange(model, order)
    inputs = inputs.contiguous(memory_format=order).requires_grad_()
    # With the inputs: on channels last, PyTorch's backward pass of GroupNorm ends the process with
    # a segmentation fault where it is not asked for the gradient of what went in.
    asked = [inputs, *(p for p in model.parameters() if p.requires_grad)]
    found = []
    for _ in range(1 + _ROUNDS):
        started = time.perf_counter()
        torch.autograd.grad(loss(model(inputs), targets).sum(), asked, allow_unused=True)
        if inputs.is_cuda:
            torch.cuda.synchronize()
        found.append(time.perf_counter() - started)
    return min(found[1:])
