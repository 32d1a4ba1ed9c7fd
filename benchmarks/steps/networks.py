"""The networks that steps are timed on, and batches of random numbers for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Loss = Callable[[Tensor, Tensor], Tensor]


class UNet(nn.Module):
    """A U-Net in two or three dimensions with group normalisation and 1x1 convolutions upwards."""

    def __init__(self, *, dimensions: int, inputs: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self._pool = F.max_pool2d if dimensions == 2 else F.max_pool3d
        convolution = nn.Conv2d if dimensions == 2 else nn.Conv3d

        def block(inside: int, outside: int) -> nn.Sequential:
            layers: list[nn.Module] = []
            for width in (inside, outside):
                layers.append(convolution(width, outside, 3, padding=1, bias=False))
                layers += [nn.GroupNorm(8, outside), nn.ReLU()]
            return nn.Sequential(*layers)

        before = (inputs, *widths[:-1])
        self.down = nn.ModuleList(block(a, b) for a, b in zip(before, widths, strict=True))
        pairs = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.lift = nn.ModuleList(convolution(deep, skip, 1) for deep, skip in pairs)
        self.up = nn.ModuleList(block(2 * skip, skip) for _, skip in pairs)
        self.head = convolution(widths[0], 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits of one mask."""
        skips: list[Tensor] = []
        for level, block in enumerate(self.down):
            x = block(self._pool(x, 2) if level else x)
            skips.append(x)
        for lift, block, skip in zip(self.lift, self.up, skips[-2::-1], strict=True):
            x = block(torch.cat([lift(F.interpolate(x, scale_factor=2)), skip], dim=1))
        logits: Tensor = self.head(x)
        return logits


def digits() -> nn.Module:
    """Return the convolutional network of DEPA's MNIST scenario, 225,034 parameters."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(1600, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )


def dice_and_entropy(logits: Tensor, masks: Tensor) -> Tensor:
    """Return Dice loss plus cross entropy of each sample."""
    logits = logits.float()
    found, truth = torch.sigmoid(logits).flatten(1), masks.flatten(1)
    overlap = (2 * (found * truth).sum(1) + 1) / (found.sum(1) + truth.sum(1) + 1)
    entropy = F.binary_cross_entropy_with_logits(logits, masks, reduction="none")
    return 1 - overlap + entropy.flatten(1).mean(1)


def entropy(logits: Tensor, classes: Tensor) -> Tensor:
    """Return the cross entropy of each sample."""
    return F.cross_entropy(logits.float(), classes, reduction="none")


@dataclass(frozen=True)
class Task:
    """A network, its loss, and the shape of a batch."""

    network: Callable[[], nn.Module]
    loss: Loss
    shape: tuple[int, ...]
    """Samples first."""
    classes: int = 0
    """0 for masks of the inputs' size."""

    def batch(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return random inputs and targets."""
        generator = torch.Generator().manual_seed(1)
        inputs = torch.randn(self.shape, generator=generator)
        if self.classes:
            targets = torch.randint(0, self.classes, self.shape[:1], generator=generator)
        else:
            mask = (self.shape[0], 1, *self.shape[2:])
            targets = (torch.rand(mask, generator=generator) > 0.8).float()
        return inputs.to(device), targets.to(device)


TASKS: Final[dict[str, Task]] = {
    "unet2d": Task(
        lambda: UNet(dimensions=2, inputs=1, widths=(16, 32, 64, 128, 256)),
        dice_and_entropy,
        (16, 1, 128, 128),
    ),
    "mnist": Task(digits, entropy, (64, 1, 28, 28), classes=10),
    "unet3d": Task(
        lambda: UNet(dimensions=3, inputs=4, widths=(8, 16, 32, 64)),
        dice_and_entropy,
        (2, 4, 64, 64, 64),
    ),
}
