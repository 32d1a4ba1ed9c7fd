"""Any other layer: its own forward pass, differentiated once for each sample by `torch.func`.

Slower than a rule, but exact for every layer that treats samples apart, such as attention with the
batch first. What draws random numbers inside is refused, since it would draw others again here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from trainer.privacy.errors import EngineRefused
from trainer.privacy.layers.rule import Gradients

_DROPOUTS: Final = (
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Dropout3d,
    nn.AlphaDropout,
    nn.FeatureAlphaDropout,
)


@dataclass(frozen=True)
class WholeCall:
    """One call of a layer with everything it was given.

    Attributes:
        arguments: Positional arguments; tensors have the samples first.
        keywords: Keyword arguments, likewise.
        output_gradient: Gradient by its first output.
    """

    arguments: tuple[Any, ...]
    keywords: Mapping[str, Any]
    output_gradient: Tensor


def drops(model: nn.Module) -> bool:
    """Tell whether a dropout layer below is in use."""
    return any(isinstance(m, _DROPOUTS) and m.p > 0 for m in model.modules())


def refuse_random(module: nn.Module, *, name: str) -> None:
    """Raise if a layer draws random numbers in training.

    Raises:
        EngineRefused: naming the layer.
    """
    if drops(module) or getattr(module, "dropout", False):
        raise EngineRefused(
            f"{name} ({type(module).__name__}) drops at random inside a layer without a rule",
            hint="set its dropout to 0",
        )


def gradients(module: nn.Module, call: WholeCall) -> Gradients:
    """Yield every parameter below `module` with one gradient a sample.

    Raises:
        EngineRefused: if an argument does not have the samples first.
    """
    samples = len(call.output_gradient)
    given = (*call.arguments, *call.keywords.values())
    tensors = [value for value in given if isinstance(value, Tensor)]
    if any(value.dim() == 0 or len(value) != samples for value in tensors):
        raise EngineRefused(
            f"{type(module).__name__} takes something that is not one value a sample",
            hint="give every tensor with the samples first (batch_first=True)",
        )
    parameters = {name: value for name, value in module.named_parameters() if value.requires_grad}
    detached = {name: value.detach() for name, value in module.named_parameters()}
    fixed = {name: value for name, value in detached.items() if name not in parameters}

    def total(free: dict[str, Tensor], of_sample: list[Tensor], gradient: Tensor) -> Tensor:
        rest = iter([value[None] for value in of_sample])
        full = [next(rest) if isinstance(value, Tensor) else value for value in given]
        split = len(call.arguments)
        keywords = dict(zip(call.keywords, full[split:], strict=True))
        output = functional_call(module, {**fixed, **free}, tuple(full[:split]), keywords)
        first: Tensor = output[0] if isinstance(output, tuple) else output
        return (first * gradient[None]).sum()

    free = {name: detached[name] for name in parameters}
    # The fused attention kernels have no rule for being differentiated sample by sample.
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        found = vmap(grad(total), in_dims=(None, 0, 0))(
            free, [value.detach() for value in tensors], call.output_gradient
        )
    for name, parameter in parameters.items():
        yield parameter, found[name]
