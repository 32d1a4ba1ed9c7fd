"""Where a backward pass begins that asks for no weight's gradient.

Weights do not require gradients while an engine records, so nothing would; the first outputs are
made to depend on an anchor, whose gradient is asked for and thrown away.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class Root(torch.autograd.Function):
    """Returns its first argument itself, as something that requires a gradient."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, anchor: Tensor) -> Tensor:
        """Return `values`, tied to `anchor`."""
        ctx.mark_dirty(values)
        ctx.save_for_backward(anchor)
        return values

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[None, Tensor]:
        """Return nothing of interest."""
        (anchor,) = ctx.saved_tensors
        return None, torch.zeros_like(anchor)
