"""Linear layers over vectors and sequences, and embeddings."""

from __future__ import annotations

from typing import Final, cast

import torch
from torch import Tensor, nn

from trainer.privacy.layers.rule import ROUNDING, Call, Dense, Ghost, Gradients


def is_known_embedding(module: nn.Module) -> bool:
    """Tell whether these rules compute the gradient of an embedding exactly."""
    if not isinstance(module, nn.Embedding):
        return False
    return module.max_norm is None and not module.scale_grad_by_freq and not module.sparse


def linear_strategies(module: nn.Linear, call: Call) -> tuple[Dense | Ghost, ...]:
    """Return the ways to get at the gradients of a linear layer."""
    positions = _sequence(call.inputs).shape[1]
    exact = call.output_gradient.dtype is torch.float32
    return (_LINEAR, _LINEAR_GHOST) if exact and _pays(module, positions) else (_LINEAR,)


def embedding_strategies(module: nn.Embedding, call: Call) -> tuple[Dense | Ghost, ...]:
    """Return the ways to get at the gradients of an embedding."""
    positions = call.inputs.flatten(1).shape[1]
    exact = call.output_gradient.dtype is torch.float32
    return (_EMBEDDING, _EMBEDDING_GHOST) if exact and _pays(module, positions) else (_EMBEDDING,)


def _pays(module: nn.Linear | nn.Embedding, positions: int) -> bool:
    """Tell whether pairs of positions take no more memory than the gradients that they save."""
    return positions**2 <= module.weight.numel()


def _sequence(values: Tensor) -> Tensor:
    """Return `[samples, positions, features]`."""
    return values.reshape(values.shape[0], -1, values.shape[-1])


def _linear(module: nn.Module, call: Call) -> Gradients:
    layer = cast("nn.Linear", module)
    gradient, inputs = _sequence(call.output_gradient), _sequence(call.inputs)
    yield layer.weight, torch.bmm(gradient.transpose(1, 2), inputs)
    if layer.bias is not None:
        yield layer.bias, gradient.sum(1, dtype=torch.float32)


def _linear_ghost_norms(module: nn.Module, call: Call) -> Tensor:
    layer = cast("nn.Linear", module)
    gradient, inputs = _sequence(call.output_gradient), _sequence(call.inputs)
    if gradient.shape[1] == 1:
        norms = gradient.square().sum((1, 2)) * inputs.square().sum((1, 2)) * (1 + ROUNDING)
    else:
        terms = torch.bmm(gradient, gradient.transpose(1, 2))
        terms *= torch.bmm(inputs, inputs.transpose(1, 2))
        norms = terms.sum((1, 2)) + ROUNDING * terms.abs().sum((1, 2))
    if layer.bias is not None:
        norms = norms + gradient.sum(1).square().sum(1)
    return norms


def _linear_ghost_sum(module: nn.Module, call: Call, weights: Tensor) -> Gradients:
    layer = cast("nn.Linear", module)
    scaled = _sequence(call.output_gradient) * weights[:, None, None]
    yield layer.weight, scaled.flatten(0, 1).T @ _sequence(call.inputs).flatten(0, 1)
    if layer.bias is not None:
        yield layer.bias, scaled.sum((0, 1))


def _embedding(module: nn.Module, call: Call) -> Gradients:
    layer = cast("nn.Embedding", module)
    places, gradient = _places(layer, call)
    rows = gradient.new_zeros(len(places), *layer.weight.shape)
    rows.scatter_add_(1, places[:, :, None].expand_as(gradient), gradient)
    yield layer.weight, rows


def _embedding_ghost_norms(module: nn.Module, call: Call) -> Tensor:
    places, gradient = _places(cast("nn.Embedding", module), call)
    terms = torch.bmm(gradient, gradient.transpose(1, 2))
    terms *= (places[:, :, None] == places[:, None, :]).to(terms.dtype)
    return terms.sum((1, 2)) + ROUNDING * terms.abs().sum((1, 2))


def _embedding_ghost_sum(module: nn.Module, call: Call, weights: Tensor) -> Gradients:
    layer = cast("nn.Embedding", module)
    places, gradient = _places(layer, call)
    scaled = (gradient * weights[:, None, None]).flatten(0, 1)
    total = gradient.new_zeros(layer.weight.shape)
    yield layer.weight, total.index_add_(0, places.flatten(), scaled)


def _places(layer: nn.Embedding, call: Call) -> tuple[Tensor, Tensor]:
    """Return the rows that were looked up, `[n, positions]`, and their gradients."""
    places = call.inputs.flatten(1)
    gradient = _sequence(call.output_gradient)
    if layer.padding_idx is not None:
        gradient = gradient * (places != layer.padding_idx)[:, :, None]
    return places, gradient


_LINEAR: Final = Dense("outer product", _linear)
_LINEAR_GHOST: Final = Ghost("ghost", _linear_ghost_norms, _linear_ghost_sum)
_EMBEDDING: Final = Dense("scattered", _embedding)
_EMBEDDING_GHOST: Final = Ghost("ghost", _embedding_ghost_norms, _embedding_ghost_sum)
