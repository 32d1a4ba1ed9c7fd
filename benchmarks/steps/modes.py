"""One training step in each of the ways that are compared: gradient, clip, noise, update.

Each mode is a function that returns a step; peers are used as their documentation says. Peers draw
noise from PyTorch's generator; ours comes from AES-CTR, and its cost is counted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from steps.networks import Loss
from trainer.privacy.clipping import clip_and_sum
from trainer.privacy.csprng import SecureStream
from trainer.privacy.engine import Precision, UnitBatch
from trainer.privacy.noise import add_noise
from trainer.privacy.per_sample_engine import PerSampleEngine

NORM: Final = 0.5
NOISE: Final = 1.0
RATE: Final = 0.01
Step = Callable[[Tensor, Tensor], None]


def plain(model: nn.Module, loss: Loss, *, precision: Precision = Precision.FP32) -> Step:
    """Return a step without privacy."""
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)

    def step(inputs: Tensor, targets: Tensor) -> None:
        optimizer.zero_grad()
        with precision.on(inputs.device):
            losses = loss(model(inputs), targets)
        losses.mean().backward()
        optimizer.step()

    return step


def ours(model: nn.Module, loss: Loss, *, precision: Precision = Precision.FP32) -> Step:
    """Return a step of the project's own engine."""
    engine = PerSampleEngine(model, loss=loss, max_grad_norm=NORM, precision=precision)
    return _noisy(
        model,
        lambda inputs, targets: engine.unit_sum(
            UnitBatch(inputs, targets, torch.arange(len(inputs), device=inputs.device), len(inputs))
        ),
    )


def vmapped(model: nn.Module, loss: Loss) -> Step:
    """Return a step on per-sample gradients of the functional transforms of PyTorch."""

    def one(state: dict[str, Tensor], sample: Tensor, target: Tensor) -> Tensor:
        return loss(functional_call(model, state, sample[None]), target[None])[0]

    rows_of = vmap(grad(one), in_dims=(None, 0, 0))

    def total(inputs: Tensor, targets: Tensor) -> Tensor:
        state = {name: p.detach() for name, p in model.named_parameters()}
        rows = rows_of(state, inputs, targets)
        flat = torch.cat([rows[name].flatten(1) for name in state], dim=1)
        owner = torch.arange(len(inputs), device=inputs.device)
        return clip_and_sum(flat, owner=owner, units=len(inputs), max_norm=NORM)

    return _noisy(model, total)


def _noisy(model: nn.Module, total: Callable[[Tensor, Tensor], Tensor]) -> Step:
    parameters = list(model.parameters())
    optimizer = torch.optim.SGD(parameters, lr=RATE)
    stream = SecureStream()

    def step(inputs: Tensor, targets: Tensor) -> None:
        summed = total(inputs, targets).cpu()
        noisy = add_noise(summed, standard_deviation=NOISE * NORM, stream=stream) / len(inputs)
        noisy = noisy.to(inputs.device)
        for parameter, piece in zip(
            parameters, noisy.split([p.numel() for p in parameters]), strict=True
        ):
            parameter.grad = piece.view_as(parameter)
        optimizer.step()

    return step


def opacus(model: nn.Module, loss: Loss, *, mode: str) -> Step:
    """Return a step of Opacus in one of its gradient sample modes."""
    from opacus.grad_sample.utils import wrap_model  # noqa: PLC0415
    from opacus.optimizers import DPOptimizer  # noqa: PLC0415

    wrapped = wrap_model(model, grad_sample_mode=mode, batch_first=True, loss_reduction="mean")
    optimizer: DPOptimizer | None = None

    def step(inputs: Tensor, targets: Tensor) -> None:
        nonlocal optimizer
        if optimizer is None:
            optimizer = DPOptimizer(
                torch.optim.SGD(wrapped.parameters(), lr=RATE),
                noise_multiplier=NOISE,
                max_grad_norm=NORM,
                expected_batch_size=len(inputs),
            )
        optimizer.zero_grad()
        loss(wrapped(inputs), targets).mean().backward()
        optimizer.step()

    return step


def opacus_ghost(model: nn.Module, loss: Loss) -> Step:
    """Return a step of Opacus' ghost clipping, which goes backward twice."""
    from opacus.grad_sample.grad_sample_module_fast_gradient_clipping import (  # noqa: PLC0415
        GradSampleModuleFastGradientClipping,
    )
    from opacus.optimizers import DPOptimizerFastGradientClipping  # noqa: PLC0415

    wrapped = GradSampleModuleFastGradientClipping(
        model, batch_first=True, loss_reduction="mean", max_grad_norm=NORM, use_ghost_clipping=True
    )
    optimizer: DPOptimizerFastGradientClipping | None = None

    def step(inputs: Tensor, targets: Tensor) -> None:
        nonlocal optimizer
        if optimizer is None:
            optimizer = DPOptimizerFastGradientClipping(
                torch.optim.SGD(wrapped.parameters(), lr=RATE),
                noise_multiplier=NOISE,
                max_grad_norm=NORM,
                expected_batch_size=len(inputs),
            )
        losses = loss(wrapped(inputs), targets)
        optimizer.zero_grad()
        losses.mean().backward(retain_graph=True)
        optimizer.zero_grad()
        wrapped.disable_hooks()
        (wrapped.get_clipping_coef() * losses).sum().backward()
        wrapped.enable_hooks()
        optimizer.step()

    return step


MODES: Final[dict[str, Callable[[nn.Module, Loss], Step]]] = {
    "plain": plain,
    "plain-bf16": lambda model, loss: plain(model, loss, precision=Precision.BF16),
    "ours": ours,
    "ours-bf16": lambda model, loss: ours(model, loss, precision=Precision.BF16),
    "vmap": vmapped,
    "opacus-hooks": lambda model, loss: opacus(model, loss, mode="hooks"),
    "opacus-functorch": lambda model, loss: opacus(model, loss, mode="functorch"),
    "opacus-ew": lambda model, loss: opacus(model, loss, mode="ew"),
    "opacus-ghost": opacus_ghost,
}
PEERS: Final = tuple(name for name in MODES if name.startswith("opacus"))
