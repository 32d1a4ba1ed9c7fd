"""How far per-sample gradient norms are from those of the functional oracle of PyTorch."""

from __future__ import annotations

import random

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from trainer.privacy.engine import UnitBatch
from trainer.privacy.per_sample_engine import PerSampleEngine

_SAMPLES = 6
_NO_BOUND = 1e9


def largest_error(architectures: int, *, seed: int = 7) -> float:
    """Return the largest relative error of a sample's norm over random architectures."""
    chooser = random.Random(seed)  # noqa: S311 - chooses networks, not noise
    return max(_error(chooser, number) for number in range(architectures))


def _error(chooser: random.Random, number: int) -> float:
    torch.manual_seed(number)
    model = _network(chooser)
    inputs = torch.randn(_SAMPLES, 3, 16, 16)
    expected = _oracle(model, inputs).norm(dim=1)
    engine = PerSampleEngine(model, loss=_loss, max_grad_norm=_NO_BOUND)
    one = torch.zeros(1, dtype=torch.int64)
    found = []
    for round_number in range(2):
        # The second round takes the ways that the first has measured to be the quickest.
        found = [
            engine.unit_sum(UnitBatch(sample[None], torch.zeros(1), one, 1)).norm()
            for sample in inputs
        ]
        del round_number
    engine.close()
    return float(((torch.stack(found) - expected).abs() / expected).max())


def _network(chooser: random.Random) -> nn.Module:
    channels, layers = 3, []
    for _ in range(chooser.randint(1, 4)):
        width = chooser.choice([4, 8, 16])
        kernel = chooser.choice([1, 3, 5])
        layers.append(
            nn.Conv2d(
                channels,
                width,
                kernel,
                stride=chooser.choice([1, 2]),
                padding=kernel // 2,
                bias=chooser.random() < 0.5,
            )
        )
        layers.append(
            chooser.choice(
                [nn.GroupNorm(2, width), nn.InstanceNorm2d(width, affine=True), nn.Identity()]
            )
        )
        layers.append(chooser.choice([nn.ReLU(), nn.PReLU(width), nn.SiLU()]))
        channels = width
    if chooser.random() < 0.5:
        layers.append(nn.ConvTranspose2d(channels, 4, 2, stride=2))
        channels = 4
    layers += [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * channels, 16)]
    layers += [nn.LayerNorm(16), nn.Tanh(), nn.Linear(16, 3)]
    return nn.Sequential(*layers)


def _loss(outputs: Tensor, targets: Tensor) -> Tensor:
    del targets
    return outputs.flatten(1).square().sum(1) + outputs.flatten(1).sum(1)


def _oracle(model: nn.Module, inputs: Tensor) -> Tensor:
    state = {name: p.detach() for name, p in model.named_parameters()}

    def one(state: dict[str, Tensor], sample: Tensor) -> Tensor:
        return _loss(functional_call(model, state, sample[None]), sample)[0]

    rows = vmap(grad(one), in_dims=(None, 0))(state, inputs)
    return torch.cat([rows[name].flatten(1) for name in state], dim=1).detach()
