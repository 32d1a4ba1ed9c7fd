"""Linear layers on samples that are laid out flat."""

from __future__ import annotations

from torch import nn

from policies.wire.models import Mlp
from trainer.models.cnn import linear_layers


def build_mlp(config: Mlp) -> nn.Module:
    """Return the network `[n, ...]` to logits `[n, classes]`."""
    widths = (config.inputs, *config.hidden, config.classes)
    return nn.Sequential(nn.Flatten(), *linear_layers(widths, config.activation))
