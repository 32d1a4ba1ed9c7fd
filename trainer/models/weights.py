"""Weights as safetensors: names, shapes and numbers, nothing that could run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from trainer.models.errors import ModelRefused

MAX_WEIGHTS_BYTES: Final = 2 * 1024**3


def write_weights(weights: Mapping[str, Tensor]) -> bytes:
    """Return the safetensors form of named tensors."""
    data: bytes = save({name: value.detach().contiguous() for name, value in weights.items()})
    return data


def read_weights(data: bytes) -> dict[str, Tensor]:
    """Read named tensors.

    Raises:
        ModelRefused: if the file is too large or damaged, or a number in it is not finite.
    """
    if len(data) > MAX_WEIGHTS_BYTES:
        raise ModelRefused(f"weights: {len(data)} bytes, at most {MAX_WEIGHTS_BYTES} are allowed")
    try:
        weights: dict[str, Tensor] = load(data)
    except (SafetensorError, ValueError, KeyError, OverflowError) as error:
        raise ModelRefused(f"weights: not a safetensors file: {error}") from None
    for name, value in weights.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise ModelRefused(f"weights: {name} holds a number that is not finite")
    return weights


def load_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Put named tensors into a model; every name, shape and type must be the model's own.

    Raises:
        ModelRefused: naming what differs.
    """
    wanted = model.state_dict()
    odd = sorted(set(wanted) ^ set(weights))
    if odd:
        missing = [name for name in odd if name in wanted]
        raise ModelRefused(
            f"weights: missing {missing[:5]}, unknown {[n for n in odd if n not in wanted][:5]}",
            hint="the base model has another architecture than the pipeline",
        )
    for name, value in weights.items():
        if value.shape != wanted[name].shape or value.dtype != wanted[name].dtype:
            raise ModelRefused(
                f"weights: {name} is {list(value.shape)} {value.dtype}, "
                f"expected {list(wanted[name].shape)} {wanted[name].dtype}"
            )
    model.load_state_dict(dict(weights))
