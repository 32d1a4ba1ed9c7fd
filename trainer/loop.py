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
from trainer.checkpoint import Checkpoints, State
from trainer.data.units import UnitDataset
from trainer.faults import NOT_FINITE, reason_of
from trainer.losses import build_stage_loss
from trainer.memory import keep_freed_memory
from trainer.optimisers import Averager, build_optimizer, build_scheduler
from trainer.privacy.engine import GradientEngine, Precision
from trainer.privacy.engines import private_engine
from trainer.privacy.errors import EngineRefused, TrainingAborted
from trainer.privacy.noise import add_noise
from trainer.privacy.plain_engine import PlainEngine
from trainer.privacy.sampling import poisson_sample
from trainer.privacy.streams import Streams
from trainer.spending import spent_after
from trainer.states import put_state, take_state


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
    checkpoints: Checkpoints | None = None,
    start: State | None = None,
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
        checkpoints: Where to keep what a killed process would lose.
        start: What to go on from; it MUST be of this very run.

    Raises:
        EngineRefused: if the model or loss breaks the privacy guarantee.
        CheckpointRefused: if `start` is not of this model, stage and plan.
        TrainingAborted: if the weights are no longer finite, or anything else ended the loop; what
            was spent is in it.
        BudgetError: if the plan's cost cannot be computed.
    """
    if (agreed is not None) != config.is_private:
        raise ValueError("a private stage needs a privacy plan, and only a private stage has one")
    keep_freed_memory()
    fit = _Fit(model, units, config, agreed=agreed, streams=streams)
    if start is not None:
        fit.restore(start)
    started = time.monotonic()
    try:
        while fit.may_go_on():
            fit.step()
            on_step(fit.report(time.monotonic() - started))
            if checkpoints is not None:
                checkpoints.keep_if_due(fit.steps, fit.state)
    except (TrainingAborted, EngineRefused):
        raise
    except Exception as error:
        # The step that failed counts as taken: it may have touched the weights.
        raise TrainingAborted(
            f"training stopped in step {fit.steps + 1}",
            spent=fit.spent(min(fit.steps + 1, config.steps)),
            reason=reason_of(error),
        ) from error
    finally:
        fit.engine.close()
    return Trained(fit.averager.weights(model), fit.steps, fit.spent(fit.steps))


class _Fit:
    """One training in progress."""

    def __init__(
        self,
        model: nn.Module,
        units: UnitDataset,
        config: TrainDlConfig,
        *,
        agreed: PrivacyPlan | None,
        streams: Streams,
    ) -> None:
        self.steps = self._first = 0
        self._model, self._units, self._config = model, units, config
        self._agreed, self._streams = agreed, streams
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        self._device = next(model.parameters()).device
        self._ledger = _Ledger(agreed)
        self._rate = (
            agreed.sampling_rate if agreed else min(1.0, config.batch_size / max(1, len(units)))
        )
        self._optimizer = build_optimizer(config.optimizer, self._parameters)
        self._scheduler = build_scheduler(config.scheduler, self._optimizer, steps=config.steps)
        self.averager = Averager(config.averaging, steps=config.steps)
        self.engine, self._deviation = _engine(
            model, config, agreed, measure=not streams.repeatable
        )

    def may_go_on(self) -> bool:
        """Return whether there is a next step and the budget pays for it."""
        return self.steps < self._config.steps and self._ledger.allows(self.steps + 1)

    def step(self) -> None:
        """Sample, clip, noise, step; the privacy of it was paid for before."""
        streams, config = self._streams, self._config
        streams.begin(self.steps)
        chosen = poisson_sample(streams.sampling, units=len(self._units), rate=self._rate)
        batch = assemble(self._units, chosen, config=config, stream=streams.augmentation)
        # An empty batch takes its step like any other: noise only.
        total = torch.zeros(self.engine.size)
        if batch is not None:
            total = self.engine.unit_sum(batch.to(self._device)).cpu()
        noisy = add_noise(total, standard_deviation=self._deviation, stream=streams.noise)
        # Divided by the expected size: the real one is secret.
        _set_gradients(self._parameters, (noisy / config.batch_size).to(self._device))
        self._optimizer.step()
        self._scheduler.step()
        self.averager.update(self._model)
        self.steps += 1
        if not all(bool(torch.isfinite(p).all()) for p in self._parameters):
            raise TrainingAborted(
                f"the weights are not finite after step {self.steps}",
                spent=self.spent(self.steps),
                reason=NOT_FINITE,
                hint="use a smaller learning rate",
            )

    def report(self, seconds: float) -> StepReport:
        """Return what may be said after a step."""
        left = self._config.steps - self.steps
        return StepReport(
            step=self.steps,
            steps=self._config.steps,
            epsilon=self._ledger.after(self.steps),
            delta=self._agreed.delta if self._agreed else 0.0,
            seconds=seconds,
            eta_seconds=seconds / (self.steps - self._first) * left,
        )

    def state(self) -> State:
        """Return what the next step depends on."""
        return take_state(
            self.steps,
            model=self._model,
            optimizer=self._optimizer,
            scheduler=self._scheduler,
            averager=self.averager,
            event=self._event(self.steps),
        )

    def restore(self, state: State) -> None:
        """Go on from a state that `state` has returned.

        Raises:
            CheckpointRefused: if it is of another model, stage or plan.
        """
        put_state(
            state,
            model=self._model,
            optimizer=self._optimizer,
            scheduler=self._scheduler,
            averager=self.averager,
            event=self._event(state.step),
        )
        self.steps = self._first = state.step

    def _event(self, steps: int) -> object:
        """Return the first steps as a mechanism, in JSON."""
        return self._agreed and accounting.event_to_json(self._agreed.event_after(steps))

    def spent(self, steps: int) -> Spent | None:
        """Return what the first `steps` steps cost; None where nothing is counted."""
        agreed, params = self._agreed, self._config.privacy_params
        if agreed is None or params is None:
            return None
        return spent_after(steps, plan=agreed, params=params)


def _engine(
    model: nn.Module, config: TrainDlConfig, agreed: PrivacyPlan | None, *, measure: bool
) -> tuple[GradientEngine, float]:
    """Return the engine and the standard deviation of the noise on its sums."""
    loss = build_stage_loss(config)
    if agreed is None or config.privacy_params is None:
        precision = Precision(config.precision or Precision.FP32)
        return PlainEngine(model, loss=loss, precision=precision), 0.0
    engine = private_engine(model, config, loss=loss, measure=measure)
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
