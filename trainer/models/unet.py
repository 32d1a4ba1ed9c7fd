"""U-Nets of two and of three dimensions.

Normalised sample by sample, never over a batch; upsampling by repetition, because it has no
weights; logits out, because every loss here takes logits exactly once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from policies.wire.models import UNet2d, UNet3d


@dataclass(frozen=True)
class _Layers:
    """The layers of a number of dimensions."""

    convolution: type[nn.Conv2d | nn.Conv3d]
    halved: Callable[[Tensor, int], Tensor]


_TWO: Final = _Layers(nn.Conv2d, F.max_pool2d)
_THREE: Final = _Layers(nn.Conv3d, F.max_pool3d)


class UNet(nn.Module):
    """U-Net with two convolutions a block, a block a level on each side, and skip connections."""

    def __init__(self, config: UNet2d | UNet3d) -> None:
        super().__init__()
        self._layers = _THREE if isinstance(config, UNet3d) else _TWO
        widths = config.widths
        before = [config.in_channels, *widths[:-1]]
        self.down = nn.ModuleList(
            self._block(inside, outside, config=config)
            for inside, outside in zip(before, widths, strict=True)
        )
        self.up = nn.ModuleList(
            self._block(deep + skip, skip, config=config)
            for deep, skip in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.head = self._layers.convolution(widths[0], config.out_channels, kernel_size=1)
        coarser = widths[1:] if config.supervision == "deep" else ()
        self.coarser = nn.ModuleList(
            self._layers.convolution(width, config.out_channels, kernel_size=1) for width in coarser
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return logits `[n, out_channels, *sides]` of images `[n, in_channels, *sides]`.

        Under deep supervision training sees every level's logits, repeated to the full size, one
        after the other along the channels, the finest first.
        """
        levels = list(self._levels(images))
        logits: Tensor = self.head(levels[-1])
        if not self.training or not self.coarser:
            return logits
        sides = logits.shape[2:]
        others = (
            F.interpolate(head(level), size=sides, mode="nearest")
            for head, level in zip(self.coarser, levels[-2::-1], strict=True)
        )
        return torch.cat([logits, *others], dim=1)

    def _levels(self, images: Tensor) -> Iterator[Tensor]:
        """Yield what each level makes of the images, from the coarsest to the finest."""
        skips: list[Tensor] = []
        x = images
        for level, block in enumerate(self.down):
            x = block(self._layers.halved(x, 2) if level else x)
            skips.append(x)
        yield x
        for block, skip in zip(self.up, skips[-2::-1], strict=True):
            x = block(torch.cat([F.interpolate(x, scale_factor=2, mode="nearest"), skip], dim=1))
            yield x

    def _block(self, inside: int, outside: int, *, config: UNet2d | UNet3d) -> nn.Module:
        # To normalise each channel by itself is to have as many groups as channels.
        groups = outside if config.norm == "instance" else config.groups
        convolution = self._layers.convolution
        body = [
            convolution(inside, outside, kernel_size=3, padding=1, bias=False),
            nn.GroupNorm(groups, outside),
            nn.ReLU(),
            convolution(outside, outside, kernel_size=3, padding=1, bias=False),
            nn.GroupNorm(groups, outside),
        ]
        if config.blocks != "residual":
            return nn.Sequential(*body, nn.ReLU())
        past = (
            convolution(inside, outside, kernel_size=1, bias=False)
            if inside != outside
            else nn.Identity()
        )
        return _Residual(nn.Sequential(*body), past)


class _Residual(nn.Module):
    """Adds what a block makes of its input to that input."""

    def __init__(self, body: nn.Module, past: nn.Module) -> None:
        super().__init__()
        self.body, self.past = body, past

    def forward(self, x: Tensor) -> Tensor:
        """Return the rectified sum."""
        return F.relu(self.body(x) + self.past(x))
