"""Private training: sample, clip, noise, step, account, report.

Everything that a caller gets is public: the weights, which the noise protects, and (epsilon,
delta), steps and times, which do not depend on the data. Losses, norms and batch sizes stay inside.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from policies import accounting
from policies.accounting import PrivacyPlan
from policies.wire.pipeline import TrainDlConfig
from policies.wire.run import Spent
from trainer.batches import assemble
from trainer.data.units import UnitDataset
from trainer.losses import build_loss
from trainer.memory import keep_freed_memory
from trainer.optimisers import Averager, build_optimizer, build_scheduler
from trainer.privacy.engine import GradientEngine
from trainer.privacy.errors import EngineRefused, TrainingAborted
from trainer.privacy.noise import add_noise
from trainer.privacy.opacus_engine import OpacusEngine
from trainer.privacy.plain_engine import PlainEngine
from trainer.privacy.sampling import poisson_sample
from trainer.privacy.streams import Streams


@dataclass(frozen=True)
class StepReport:
    """What is said after a step; all of it is public."""

    step: int
    steps: int
    epsilon: float
    """Upper bound on what has been spent so far; 0 where nothing is counted."""
    delta: float
    seconds: float
    eta_seconds: float


@dataclass(frozen=True)
class Trained:
    """The outcome of training."""

    weights: dict[str, Tensor]
    steps: int
    spent: Spent | None
    """None for a run that is not private."""


def train(
    model: nn.Module,
    units: UnitDataset,
    config: TrainDlConfig,
    *,
    agreed: PrivacyPlan | None,
    streams: Streams,
    on_step: Callable[[StepReport], None],
) -> Trained:
    """Train a model in place and return its weights and what they cost.

    Args:
        model: The network, with its base weights loaded.
        units: The privacy units.
        config: The training stage.
        agreed: The privacy plan, made from public numbers; None trains without privacy, which the
            caller MUST have found allowed by the contract.
        streams: Random streams with fresh keys.
        on_step: Called after every step with public values.

    Raises:
        EngineRefused: if the model or loss breaks the privacy guarantee.
        TrainingAborted: if the weights are no longer finite, or anything else ended the loop; what
            was spent is in it.
        BudgetError: if the plan's cost cannot be computed.
    """
    if (agreed is not None) != config.is_private:
        raise ValueError("a private stage needs a privacy plan, and only a private stage has one")
    keep_freed_memory()
    parameters = [p for p in model.parameters() if p.requires_grad]
    engine, deviation = _engine(model, config, agreed)
    optimizer = build_optimizer(config.optimizer, parameters)
    scheduler = build_scheduler(config.scheduler, optimizer, steps=config.steps)
    averager = Averager(config.averaging, steps=config.steps)
    ledger = _Ledger(agreed)
    rate = agreed.sampling_rate if agreed else min(1.0, config.batch_size / len(units))
    started = time.monotonic()
    step = 0
    try:
        while step < config.steps and ledger.allows(step + 1):
            chosen = poisson_sample(streams.sampling, units=len(units), rate=rate)
            batch = assemble(units, chosen, config=config, stream=streams.augmentation)
            total = torch.zeros(engine.size) if batch is None else engine.unit_sum(batch)
            noisy = add_noise(total, standard_deviation=deviation, stream=streams.noise)
            # Divided by the expected size: the real one is secret.
            _set_gradients(parameters, noisy / config.batch_size)
            optimizer.step()
            scheduler.step()
            averager.update(model)
            step += 1
            if not all(bool(torch.isfinite(p).all()) for p in parameters):
                raise TrainingAborted(
                    f"the weights are not finite after step {step}",
                    spent=_spent(config, agreed, steps=step),
                    hint="use a smaller learning rate",
                )
            on_step(_report(step, config, agreed, ledger, time.monotonic() - started))
    except (TrainingAborted, EngineRefused):
        raise
    except Exception as error:
        # The step that failed counts as taken: it may have touched the weights.
        spent = _spent(config, agreed, steps=min(step + 1, config.steps))
        raise TrainingAborted(f"training stopped in step {step + 1}", spent=spent) from error
    finally:
        engine.close()
    return Trained(averager.weights(model), step, _spent(config, agreed, steps=step))


def _engine(
    model: nn.Module, config: TrainDlConfig, agreed: PrivacyPlan | None
) -> tuple[GradientEngine, float]:
    """Return the engine and the standard deviation of the noise on its sums."""
    loss = build_loss(config.loss)
    if agreed is None or config.privacy_params is None:
        return PlainEngine(model, loss=loss), 0.0
    engine = OpacusEngine(model, loss=loss, max_grad_norm=config.privacy_params.max_grad_norm)
    return engine, agreed.noise_multiplier * engine.max_grad_norm


class _Ledger:
    """Knows before each step what the run will have cost after it."""

    def __init__(self, agreed: PrivacyPlan | None) -> None:
        self._limit = agreed.epsilon if agreed else 0.0
        self._table = accounting.epsilon_table(agreed) if agreed else ()

    def after(self, step: int) -> float:
        """Return an upper bound on epsilon after `step` steps; infinite beyond the plan."""
        if not self._table:
            return 0.0
        index = bisect_left(self._table, (step, 0.0))
        return self._table[index][1] if index < len(self._table) else float("inf")

    def allows(self, step: int) -> bool:
        """Return whether the run may take step number `step`."""
        return self.after(step) <= self._limit


def _set_gradients(parameters: list[nn.Parameter], flat: Tensor) -> None:
    pieces = torch.split(flat, [p.numel() for p in parameters])
    for parameter, piece in zip(parameters, pieces, strict=True):
        parameter.grad = piece.view_as(parameter)


def _report(
    step: int,
    config: TrainDlConfig,
    agreed: PrivacyPlan | None,
    ledger: _Ledger,
    seconds: float,
) -> StepReport:
    return StepReport(
        step=step,
        steps=config.steps,
        epsilon=ledger.after(step),
        delta=agreed.delta if agreed else 0.0,
        seconds=seconds,
        eta_seconds=seconds / step * (config.steps - step),
    )


def _spent(config: TrainDlConfig, agreed: PrivacyPlan | None, *, steps: int) -> Spent | None:
    if agreed is None or config.privacy_params is None:
        return None
    event = agreed.event_after(steps)
    epsilon = accounting.compose([event], delta=agreed.delta, adjacency=agreed.adjacency)
    return Spent(
        micro_epsilon=accounting.micro_epsilon(epsilon),
        delta_trillionths=accounting.delta_trillionths(agreed.delta),
        steps=steps,
        noise_multiplier=agreed.noise_multiplier,
        sampling_rate=agreed.sampling_rate,
        max_grad_norm=config.privacy_params.max_grad_norm,
        unit=config.privacy_params.unit,
        adjacency=agreed.adjacency,
        event=accounting.event_to_json(event),
    )
