"""Which rule knows which layer, and which layers no rule may know: those that couple samples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from torch import nn

from trainer.privacy.errors import EngineRefused
from trainer.privacy.layers import convolution, group_norm, linear, normalisation
from trainer.privacy.layers.rule import Call, Dense, Ghost

_BATCH_NORMS: Final = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
_NORMS: Final[dict[type[nn.Module], Dense]] = {
    nn.GroupNorm: group_norm.GROUP_NORM,
    nn.LayerNorm: normalisation.LAYER_NORM,
    nn.PReLU: normalisation.PRELU,
    **dict.fromkeys(group_norm.INSTANCE_NORMS, group_norm.INSTANCE_NORM),
}
KINDS: Final[tuple[type[nn.Module], ...]] = (nn.Linear, nn.Embedding, *convolution.KINDS, *_NORMS)
"""Kinds of layers with a rule, in the settings that `is_known` accepts."""


def is_known(module: nn.Module) -> bool:
    """Tell whether a rule computes the gradients of this layer."""
    return (
        type(module) in _NORMS
        or type(module) is nn.Linear
        or (type(module) in convolution.KINDS and convolution.is_known(module))
        or linear.is_known_embedding(module)
    )


def strategies(module: nn.Module, call: Call) -> tuple[Dense | Ghost, ...]:
    """Return the ways to get at a known layer's gradients; the first one is good everywhere."""
    if isinstance(module, nn.Linear):
        return linear.linear_strategies(module, call)
    if isinstance(module, nn.Embedding):
        return linear.embedding_strategies(module, call)
    if isinstance(module, convolution.KINDS):
        return convolution.strategies(module, call)
    return (_NORMS[type(module)],)


def recorded_layers(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the layers whose calls give all gradients: known ones, and others that own parameters.

    What lies below a layer without a rule is differentiated with it.
    """

    def below(module: nn.Module, name: str) -> Iterator[tuple[str, nn.Module]]:
        if any(p.requires_grad for p in module.parameters(recurse=False)):
            yield name or "model", module
            return
        for child_name, child in module.named_children():
            yield from below(child, f"{name}.{child_name}" if name else child_name)

    yield from below(model, "")


def layer_columns(model: nn.Module) -> tuple[slice, ...]:
    """Return where each layer's trainable parameters stand in the flattened gradient."""
    start, found = 0, []
    for module in model.modules():
        size = sum(p.numel() for p in module.parameters(recurse=False) if p.requires_grad)
        if size:
            found.append(slice(start, start + size))
            start += size
    return tuple(found)


def check_coupling(model: nn.Module) -> None:
    """Raise if a layer is known to couple the samples of a batch.

    Raises:
        EngineRefused: naming every such layer and what to use instead.
    """
    problems = []
    for name, layer in model.named_modules():
        if isinstance(layer, _BATCH_NORMS):
            problems.append(
                f"{name or 'model'} ({type(layer).__name__}) mixes the samples of a batch, so that "
                "one patient changes the gradients of all others"
            )
        elif isinstance(layer, group_norm.INSTANCE_NORMS) and layer.track_running_stats:
            problems.append(
                f"{name} ({type(layer).__name__}) keeps statistics of the data unnoised"
            )
    if problems:
        raise EngineRefused(
            "; ".join(problems), hint="use GroupNorm, which sees one sample at a time"
        )
