"""What is known about one kind of layer: how to get its gradient for each sample.

Both ways start from one call of the layer: what went in, and the gradient of what came out.

* `Dense` computes every sample's gradient, which is then averaged, clipped and summed as it is.
* `Ghost` computes only their norms, and later the weighted sum in one go (Li et al. 2022); it never
  holds a gradient for each sample. A norm computed this way takes other roundings than the sum, so
  it is rounded up by a bound on that error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from torch import Tensor, nn

from trainer.privacy.clipping import without

Gradients = Iterable[tuple[Tensor, Tensor]]
"""Parameters, each with a gradient."""

ROUNDING: Final = 1e-5
"""Share of the absolute terms of a sum by which its float32 value may be too small; 80 times the
unit roundoff, which blocked summation stays below for any length in use here."""


@dataclass(frozen=True)
class Call:
    """One call of a layer.

    Attributes:
        inputs: What went in, `[samples, ...]`.
        output_gradient: Gradient of the summed loss by what came out, `[samples, ...]`.
    """

    inputs: Tensor
    output_gradient: Tensor

    def without(self, samples: Tensor) -> Call:
        """Return the call with nothing in the rows where `samples` is true."""
        inputs = self.inputs
        if inputs.is_floating_point():
            inputs = without(inputs, units=samples)
        return Call(inputs, without(self.output_gradient, units=samples))


@dataclass(frozen=True)
class Dense:
    """Gradients of each sample: `[samples, *shape]` for each parameter."""

    name: str
    gradients: Callable[[nn.Module, Call], Gradients]


@dataclass(frozen=True)
class Ghost:
    """Norms of each sample's gradient, and a weighted sum of them."""

    name: str
    squared_norms: Callable[[nn.Module, Call], Tensor]
    """Upper bounds on the squared norms over all of the layer's parameters, `[samples]`."""
    weighted_sum: Callable[[nn.Module, Call, Tensor], Gradients]
    """Sum of the gradients times `[samples]` weights: `[*shape]` for each parameter."""
