"""A layer's backward pass, replaced by one that computes the same and more on its way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.autograd import Function


class Detour(Function):
    """Returns a layer's output, which the gradient leaves for its input by another way."""

    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, output: Tensor, way: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """Return `output`, which is cut off from what it was computed by, tied to `inputs`.

        Args:
            ctx: Autograd's.
            inputs: What went into the layer.
            output: What came out.
            way: Takes the gradient of the output, and returns that of the input.
        """
        del inputs
        ctx.mark_dirty(output)
        ctx.way = way
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """Go that way."""
        return ctx.way(gradients[0]), None, None
