"""A small two-dimensional U-Net.

Group normalisation, because it sees one sample at a time; upsampling by repetition, because it has
no weights; logits out, because every loss here takes logits exactly once.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from policies.wire.pipeline import UNet2d as UNet2dConfig


class UNet2d(nn.Module):
    """U-Net with two convolutions a level and skip connections."""

    def __init__(self, config: UNet2dConfig) -> None:
        super().__init__()
        widths = [config.channels * 2**level for level in range(config.levels)]
        before = [config.in_channels, *widths[:-1]]
        self.down = nn.ModuleList(
            _block(inside, outside, groups=config.groups)
            for inside, outside in zip(before, widths, strict=True)
        )
        self.up = nn.ModuleList(
            _block(deep + skip, skip, groups=config.groups)
            for deep, skip in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.head = nn.Conv2d(widths[0], config.out_channels, kernel_size=1)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits `[n, out_channels, h, w]` of images `[n, in_channels, h, w]`."""
        skips: list[Tensor] = []
        x = images
        for level, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if level else x)
            skips.append(x)
        for block, skip in zip(self.up, skips[-2::-1], strict=True):
            x = block(torch.cat([F.interpolate(x, scale_factor=2, mode="nearest"), skip], dim=1))
        logits: Tensor = self.head(x)
        return logits


def _block(inside: int, outside: int, *, groups: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inside, outside, kernel_size=3, padding=1, bias=False),
        nn.GroupNorm(groups, outside),
        nn.ReLU(),
        nn.Conv2d(outside, outside, kernel_size=3, padding=1, bias=False),
        nn.GroupNorm(groups, outside),
        nn.ReLU(),
    )
