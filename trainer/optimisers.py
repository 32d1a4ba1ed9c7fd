"""Optimisers, learning rate schedules and weight averages that a pipeline selects."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn, optim
from torch.optim import lr_scheduler

from policies.wire.optimisers import (
    Adam,
    AdamW,
    Averaging,
    CosineAnnealingLr,
    CyclicLr,
    Ema,
    OneCycleLr,
    Optimizer,
    Polyak,
    Scheduler,
    Sgd,
    StepLr,
    WarmupCosine,
    WarmupCosineParams,
)


def build_optimizer(config: Optimizer, parameters: Iterable[nn.Parameter]) -> optim.Optimizer:
    """Return the optimiser that a pipeline selects."""
    match config:
        case Adam(params=p):
            return optim.Adam(
                parameters, lr=p.lr, betas=p.betas, eps=p.eps, weight_decay=p.weight_decay
            )
        case AdamW(params=p):
            return optim.AdamW(
                parameters, lr=p.lr, betas=p.betas, eps=p.eps, weight_decay=p.weight_decay
            )
        case Sgd(params=s):
            return optim.SGD(
                parameters,
                lr=s.lr,
                momentum=s.momentum,
                nesterov=s.nesterov,
                weight_decay=s.weight_decay,
            )


def build_scheduler(
    config: Scheduler | None, optimizer: optim.Optimizer, *, steps: int
) -> lr_scheduler.LRScheduler:
    """Return the schedule that a pipeline selects, to be stepped after every optimiser step."""
    match config:
        case None:
            return lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)
        case CyclicLr(params=c):
            return lr_scheduler.CyclicLR(
                optimizer,
                base_lr=c.base_lr,
                max_lr=c.max_lr,
                step_size_up=c.step_size_up,
                step_size_down=c.step_size_down,
                mode=c.mode,
                gamma=c.gamma,
                cycle_momentum=False,
            )
        case OneCycleLr(params=o):
            return lr_scheduler.OneCycleLR(
                optimizer,
                max_lr=o.max_lr,
                # One more than there are: torch counts the rate before the first step too.
                total_steps=steps + 1,
                pct_start=o.pct_start,
                div_factor=o.div_factor,
                final_div_factor=o.final_div_factor,
                cycle_momentum=False,
            )
        case CosineAnnealingLr(params=a):
            return lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps, eta_min=a.eta_min)
        case StepLr(params=s):
            return lr_scheduler.StepLR(optimizer, step_size=s.step_size, gamma=s.gamma)
        case WarmupCosine(params=w):
            return lr_scheduler.LambdaLR(optimizer, lambda step: _warmup_cosine(step, steps, w))


def _warmup_cosine(step: int, steps: int, params: WarmupCosineParams) -> float:
    warmup = min(params.warmup_steps, steps)
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return params.min_factor + (1 - params.min_factor) * 0.5 * (1 + math.cos(math.pi * done))


class Averager:
    """A running average of a model's weights, which costs no privacy: each step is noised."""

    def __init__(self, config: Averaging | None, *, steps: int) -> None:
        self._config = config
        self._start = (
            steps - math.ceil(config.last_fraction * steps) if isinstance(config, Polyak) else 0
        )
        self._seen = 0
        self._count = 0
        self._mean: dict[str, Tensor] = {}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take in the weights after one more step."""
        self._seen += 1
        if self._config is None or self._seen <= self._start:
            return
        self._count += 1
        share = 1.0 / self._count
        if isinstance(self._config, Ema):
            share = max(share, 1.0 - self._config.decay)
        for name, value in model.state_dict().items():
            if name in self._mean and value.is_floating_point():
                self._mean[name].lerp_(value, share)
            else:
                self._mean[name] = value.clone()

    def state(self) -> tuple[dict[str, Tensor], dict[str, int]]:
        """Return the average so far, and what it was made of."""
        return self._mean, {"seen": self._seen, "count": self._count}

    def restore(
        self, model: nn.Module, mean: Mapping[str, Tensor], counts: Mapping[str, int]
    ) -> None:
        """Go on from an average that `state` has returned, where the model is."""
        own = model.state_dict()
        self._mean = {name: value.to(own[name].device) for name, value in mean.items()}
        self._seen, self._count = counts["seen"], counts["count"]

    def weights(self, model: nn.Module) -> dict[str, Tensor]:
        """Return the averaged weights, or the model's own if nothing was averaged."""
        chosen = self._mean or model.state_dict()
        return {name: value.detach().cpu().clone().contiguous() for name, value in chosen.items()}
