"""What a training in progress consists of, as tensors by name and JSON, and back again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn, optim
from torch.optim import lr_scheduler

from trainer.checkpoint import CheckpointRefused, State
from trainer.optimisers import Averager

_TENSOR: Final = "tensor"
"""Only member of the JSON object that stands where a tensor was."""


@torch.no_grad()
def take_state(
    step: int,
    *,
    model: nn.Module,
    optimizer: optim.Optimizer,
    scheduler: lr_scheduler.LRScheduler,
    averager: Averager,
    event: object,
) -> State:
    """Return everything that the steps after `step` depend on.

    Args:
        step: How many steps were taken.
        model: Its weights and buffers.
        optimizer: Its moments and settings.
        scheduler: Where it is.
        averager: The average so far.
        event: The steps so far as a mechanism.
    """
    tensors: dict[str, Tensor] = {}
    mean, counts = averager.state()
    parts = {
        "model": model.state_dict(),
        "mean": mean,
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
    }
    values = _without_tensors(parts, "", tensors)
    return State(step, tensors, {**values, "counts": counts, "event": event})


def put_state(
    state: State,
    *,
    model: nn.Module,
    optimizer: optim.Optimizer,
    scheduler: lr_scheduler.LRScheduler,
    averager: Averager,
    event: object,
) -> None:
    """Put a state back into freshly built parts.

    Raises:
        CheckpointRefused: if it is of another model, stage or plan.
    """
    if state.values.get("event") != event:
        raise CheckpointRefused("the checkpoint was paid for by another plan")
    try:
        parts = _with_tensors(state.values, state.tensors)
        model.load_state_dict(parts["model"])
        own = parts["optimizer"]
        by_number = {int(number): one for number, one in own["state"].items()}
        optimizer.load_state_dict({**own, "state": by_number})
        scheduler.load_state_dict(parts["scheduler"])
        averager.restore(model, parts["mean"], parts["counts"])
    except (KeyError, ValueError, TypeError, RuntimeError) as error:
        raise CheckpointRefused("the checkpoint is of another model or stage") from error


def _without_tensors(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        tensors[name] = value
        return {_TENSOR: name}
    if isinstance(value, Mapping):
        return {
            str(key): _without_tensors(item, f"{name}/{key}", tensors)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_without_tensors(item, f"{name}/{i}", tensors) for i, item in enumerate(value)]
    return value


def _with_tensors(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, Mapping):
        if set(value) == {_TENSOR}:
            return tensors[value[_TENSOR]]
        return {key: _with_tensors(item, tensors) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_tensors(item, tensors) for item in value]
    return value
