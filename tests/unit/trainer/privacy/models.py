"""Small networks and batches for the tests of the engine."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainer.privacy.engine import UnitBatch

SAMPLES = 5


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    del targets
    return outputs.float().flatten(1).square().mean(1) + outputs.float().flatten(1).sum(1).sin()


def batch(*shape: int, counts: tuple[int, ...] = (1,) * SAMPLES, words: int = 0) -> UnitBatch:
    generator = torch.Generator().manual_seed(7)
    samples = sum(counts)
    inputs = (
        torch.randint(0, words, (samples, *shape), generator=generator)
        if words
        else torch.randn(samples, *shape, generator=generator)
    )
    return UnitBatch(
        inputs=inputs,
        targets=torch.zeros(samples),
        owner=torch.repeat_interleave(torch.tensor(counts)),
        units=len(counts),
    )


class Attention(nn.Module):
    """Self-attention over a sequence."""

    def __init__(self, *, batch_first: bool = True, dropout: float = 0.0) -> None:
        super().__init__()
        self.first = nn.Linear(6, 8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=batch_first, dropout=dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        attended: Tensor = self.attention(x, x, x, need_weights=False)[0]
        return attended


class Spoiled(nn.Module):
    """Changes what a layer has seen, in place."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 6)
        self.second = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        y: Tensor = self.second(x)
        with torch.no_grad():
            x.mul_(2.0)
        return y
