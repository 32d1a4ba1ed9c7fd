"""Where channels stand in memory changes how long a step takes, and nothing else."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn

from trainer.privacy import per_sample_engine
from trainer.privacy.clipping import Clipping
from trainer.privacy.engine import Precision, UnitBatch
from trainer.privacy.layers.registry import strategies
from trainer.privacy.layers.rule import Call, Dense
from trainer.privacy.layout import (
    CHANNELS_LAST,
    arrange,
    layout_of,
    quickest_layout,
    strides_of,
)
from trainer.privacy.per_sample_engine import PerSampleEngine

CONVOLUTIONS = {
    4: (nn.Conv2d, nn.ConvTranspose2d, nn.InstanceNorm2d),
    5: (nn.Conv3d, nn.ConvTranspose3d, nn.InstanceNorm3d),
}


def network(axes: int) -> nn.Module:
    torch.manual_seed(1)
    convolution, transposed, instance_norm = CONVOLUTIONS[axes]
    return nn.Sequential(
        convolution(2, 8, 3, padding=1, bias=False),
        nn.GroupNorm(2, 8),
        nn.ReLU(),
        convolution(8, 4, 3, stride=2, dilation=2, padding=2),
        instance_norm(4, affine=True),
        convolution(4, 8, 1),
        nn.PReLU(8),
        convolution(8, 8, 3, padding=1, groups=2),
        transposed(8, 3, 2, stride=2),
        nn.Flatten(),
        nn.Linear(3 * 6 ** (axes - 2), 4),
    )


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    del targets
    return outputs.float().square().mean(1) + outputs.float().sum(1).sin()


def batch(axes: int, samples: int = 5) -> UnitBatch:
    inputs = torch.randn(samples, 2, *[6] * (axes - 2), generator=torch.Generator().manual_seed(2))
    return UnitBatch(inputs, torch.zeros(samples), torch.arange(samples), samples)


def engine_in(
    layout: torch.memory_format, axes: int, monkeypatch: pytest.MonkeyPatch, clipping: Clipping
) -> PerSampleEngine:
    def choose(model: nn.Module, *_: object, **__: object) -> torch.memory_format:
        arrange(model, layout)
        return layout

    monkeypatch.setattr(per_sample_engine, "quickest_layout", choose)
    return PerSampleEngine(network(axes), loss=loss, max_grad_norm=0.3, clipping=clipping)


@pytest.mark.parametrize("clipping", list(Clipping))
@pytest.mark.parametrize("axes", [4, 5])
def test_sums_do_not_depend_on_the_layout(
    axes: int, clipping: Clipping, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = engine_in(torch.contiguous_format, axes, monkeypatch, clipping).unit_sum(batch(axes))
    engine = engine_in(CHANNELS_LAST[axes], axes, monkeypatch, clipping)
    for _ in range(2):
        # The second time, each layer goes the way that was found to be quickest.
        found = engine.unit_sum(batch(axes))
        assert float((found - first).norm() / first.norm()) < 1e-4


@pytest.mark.parametrize("axes", [4, 5])
def test_every_way_gives_the_same_gradients_in_either_layout(axes: int) -> None:
    torch.manual_seed(3)
    layer = CONVOLUTIONS[axes][0](4, 64, 3, padding=1)
    space = [4] * (axes - 2)
    call = Call(torch.randn(2, 4, *space), torch.randn(2, 64, *space))
    for layout in (torch.contiguous_format, CHANNELS_LAST[axes]):
        arrange(layer, layout)
        there = Call(*(v.contiguous(memory_format=layout) for v in vars(call).values()))
        ways = strategies(layer, there)
        assert [way.name for way in ways] == ["one by one", "unfolded", "ghost"]
        expected = dict(ways[0].gradients(layer, call)) if isinstance(ways[0], Dense) else {}
        norms = sum(g.flatten(1).square().sum(1) for g in expected.values())
        for way in ways:
            if isinstance(way, Dense):
                for parameter, rows in way.gradients(layer, there):
                    assert torch.allclose(rows, expected[parameter], atol=1e-4)
            else:
                assert torch.allclose(way.squared_norms(layer, there), torch.as_tensor(norms), 1e-3)


def test_a_layout_that_was_chosen_changes_no_weight() -> None:
    model = network(4)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    layout = quickest_layout(model, loss, batch(4), precision=Precision.FP32)
    assert layout in (torch.contiguous_format, torch.channels_last)
    assert layout_of(model[0].weight) is layout  # type: ignore[index]  # a Sequential
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_networks_without_images_have_one_layout() -> None:
    data = UnitBatch(torch.randn(3, 6), torch.zeros(3), torch.arange(3), 3)
    layout = quickest_layout(nn.Linear(6, 2), loss, data, precision=Precision.FP32)
    assert layout is torch.contiguous_format


def test_strides_are_those_of_a_copy_without_gaps() -> None:
    last = torch.empty(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    assert strides_of(last) == last.stride()
    assert strides_of(torch.empty(6, 4).T) == (6, 1)


def test_a_frozen_first_layer_does_not_end_the_process() -> None:
    # In a process of its own: what it guards against is a segmentation fault.
    script = (
        "import torch; from torch import nn\n"
        "from trainer.privacy.engine import Precision, UnitBatch\n"
        "from trainer.privacy.layout import quickest_layout\n"
        "m = nn.Sequential(nn.Conv2d(2, 8, 3, bias=False), nn.GroupNorm(2, 8), nn.Flatten())\n"
        "m[0].requires_grad_(False)\n"
        "b = UnitBatch(torch.randn(3, 2, 8, 8), torch.zeros(3), torch.arange(3), 3)\n"
        "loss = lambda o, t: o.square().sum(1)\n"
        "quickest_layout(m, loss, b, precision=Precision.FP32)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True)
    assert done.returncode == 0, done.stderr[-500:]
