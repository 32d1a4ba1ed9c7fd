import json
import logging
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from policies import accounting
from policies.accounting import PrivacyPlan
from tests.training import Blobs, train_config, train_json
from trainer import predict
from trainer.data.errors import DataError
from trainer.loop import StepReport, Trained, train
from trainer.metrics.masks import overlap
from trainer.models.factory import build_model
from trainer.privacy.errors import EngineRefused, TrainingAborted
from trainer.privacy.streams import Streams

UNITS = Blobs(count=12)


def plan_of(config: Any, *, units: int = 12) -> PrivacyPlan:
    return accounting.plan_training(config, units=units)


def fit(
    *,
    streams: Streams | None = None,
    reports: list[StepReport] | None = None,
    agreed: PrivacyPlan | None = None,
    units: Any = UNITS,
    **changes: Any,
) -> Trained:
    config = train_config(**changes)
    torch.manual_seed(1)
    return train(
        build_model(config.model, base=None),
        units,
        config,
        agreed=agreed or (plan_of(config) if config.is_private else None),
        streams=streams or Streams.unsafe_seeded(7),
        on_step=(reports if reports is not None else []).append,
    )


def test_training_spends_what_was_planned_and_no_more() -> None:
    trained = fit()
    assert trained.spent is not None
    assert trained.steps == trained.spent.steps == 4
    assert trained.spent.micro_epsilon <= 4_000_000
    assert trained.spent.delta_trillionths == 1_000_000_000
    assert trained.spent.sampling_rate == pytest.approx(4 / 12)
    event = accounting.event_from_json(trained.spent.event)
    epsilon = accounting.compose([event], delta=0.001, adjacency="add-remove")
    assert accounting.micro_epsilon(epsilon) == trained.spent.micro_epsilon


def test_reports_hold_public_values_only_and_epsilon_rises_to_the_plan() -> None:
    reports: list[StepReport] = []
    trained = fit(reports=reports)
    assert [report.step for report in reports] == [1, 2, 3, 4]
    assert set(vars(reports[0])) == {
        "step",
        "steps",
        "epsilon",
        "delta",
        "seconds",
        "eta_seconds",
    }
    costs = [report.epsilon for report in reports]
    assert costs == sorted(costs)
    assert trained.spent is not None
    assert accounting.micro_epsilon(costs[-1]) == trained.spent.micro_epsilon
    assert reports[-1].eta_seconds == 0


def test_what_is_reported_does_not_depend_on_the_data() -> None:
    first: list[StepReport] = []
    second: list[StepReport] = []
    fit(reports=first, streams=Streams())
    fit(reports=second, streams=Streams(), units=Blobs(count=12, seed=99))
    for left, right in zip(first, second, strict=True):
        assert replace(left, seconds=0, eta_seconds=0) == replace(right, seconds=0, eta_seconds=0)


def test_nothing_is_logged_or_printed(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        fit(streams=Streams())
    assert capsys.readouterr() == ("", "")
    assert not [record for record in caplog.records if record.name.startswith("trainer")]


def test_two_private_runs_never_give_the_same_weights() -> None:
    first, second = fit(streams=Streams()), fit(streams=Streams())
    assert not torch.equal(first.weights["head.weight"], second.weights["head.weight"])


def test_the_same_unsafe_seed_gives_the_same_weights() -> None:
    first, second = fit(), fit()
    for name, value in first.weights.items():
        torch.testing.assert_close(value, second.weights[name])


def test_both_engines_train_the_same_model() -> None:
    own, second = fit(engine="per-sample"), fit(engine="opacus")
    assert own.spent == second.spent
    for name, value in own.weights.items():
        torch.testing.assert_close(value, second.weights[name], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("clipping", ["per-layer", "automatic"])
def test_a_stage_says_how_gradients_are_clipped(clipping: str) -> None:
    params = train_json()["privacyParams"] | {"clipping": clipping}
    other, flat = fit(privacyParams=params), fit()
    assert other.spent == flat.spent
    assert not torch.allclose(other.weights["head.weight"], flat.weights["head.weight"])


@pytest.mark.parametrize("changes", [{}, {"isPrivate": False, "privacyParams": None}])
def test_bf16_trains_float32_weights_close_to_those_of_float32(changes: dict[str, Any]) -> None:
    exact, rounded = fit(**changes), fit(precision="bf16", **changes)
    for name, value in rounded.weights.items():
        assert value.dtype is torch.float32
        torch.testing.assert_close(value, exact.weights[name], rtol=0.2, atol=0.05)


def test_an_engine_that_lacks_bf16_refuses_it() -> None:
    with pytest.raises(EngineRefused, match="opacus computes in fp32"):
        fit(engine="opacus", precision="bf16")


def test_training_stops_before_a_step_that_would_overspend() -> None:
    config = train_config(steps=10)
    generous = plan_of(config)
    half = accounting.epsilon_table(generous)[5][1]
    trained = fit(agreed=replace(generous, epsilon=half), steps=10)
    assert trained.steps == 5
    assert trained.spent is not None
    assert trained.spent.micro_epsilon <= accounting.micro_epsilon(half)


def test_training_does_not_go_beyond_the_steps_of_its_plan() -> None:
    short = plan_of(train_config(steps=2))
    assert fit(agreed=short, steps=4).steps == 2


def test_every_step_runs_when_all_batches_are_empty() -> None:
    agreed = replace(plan_of(train_config()), sampling_rate=1e-12)
    trained = fit(agreed=agreed)
    assert trained.steps == 4
    assert all(bool(torch.isfinite(value).all()) for value in trained.weights.values())


def test_noise_is_added_even_if_nobody_was_drawn() -> None:
    agreed = replace(plan_of(train_config()), sampling_rate=1e-12)
    torch.manual_seed(1)
    before = build_model(train_config().model, base=None).state_dict()
    after = fit(agreed=agreed).weights
    assert all(not torch.equal(before[name], after[name]) for name in before)


class Recording(Blobs):
    """Remembers which units were asked for."""

    def __init__(self) -> None:
        super().__init__(count=12)
        self.asked: list[int] = []

    def unit(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        self.asked.append(index)
        return super().unit(index)


def test_only_drawn_units_are_read() -> None:
    units = Recording()
    fit(units=units, agreed=replace(plan_of(train_config()), sampling_rate=1e-12))
    assert units.asked == []


def test_weights_that_are_not_finite_end_training_and_say_what_was_spent() -> None:
    with pytest.raises(TrainingAborted, match="not finite after step") as caught:
        # The decay multiplies the weights by -99 in every step.
        fit(optimizer={"name": "SGD", "params": {"lr": 100.0, "weightDecay": 1.0}}, steps=30)
    assert caught.value.spent is not None
    assert 10 < caught.value.spent.steps < 30


def test_a_damaged_unit_ends_training_and_charges_the_step() -> None:
    class Damaged(Blobs):
        def unit(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
            raise DataError(f"unit {index} is damaged")

    with pytest.raises(TrainingAborted, match="stopped in step 1") as caught:
        fit(units=Damaged(count=12), agreed=replace(plan_of(train_config()), sampling_rate=1.0))
    assert caught.value.spent is not None
    assert caught.value.spent.steps == 1


def test_a_private_stage_without_a_plan_is_refused() -> None:
    config = train_config()
    with pytest.raises(ValueError, match="privacy plan"):
        train(
            build_model(config.model, base=None),
            UNITS,
            config,
            agreed=None,
            streams=Streams(),
            on_step=lambda _: None,
        )


def test_a_run_without_privacy_goes_through_the_same_loop_and_spends_nothing() -> None:
    reports: list[StepReport] = []
    trained = fit(isPrivate=False, privacyParams=None, steps=6, reports=reports)
    assert trained.spent is None
    assert trained.steps == 6
    assert {report.epsilon for report in reports} == {0.0}


def test_training_without_noise_learns() -> None:
    config = train_config(isPrivate=False, privacyParams=None, steps=60, batchSize=12)
    trained = fit(isPrivate=False, privacyParams=None, steps=60, batchSize=12)
    model = build_model(config.model, base=None)
    model.load_state_dict(trained.weights)
    score = overlap("dice_score", predict.cases(model, Blobs(count=9, seed=8), threshold=0.5))
    assert score.value > 0.9
    assert score.counted == 9


SCHEDULERS = [
    {"name": "CyclicLR", "params": {"baseLr": 0.001, "maxLr": 0.01, "stepSizeUp": 2}},
    {"name": "OneCycleLR", "params": {"maxLr": 0.01}},
    {"name": "CosineAnnealingLR", "params": {"etaMin": 0.001}},
    {"name": "StepLR", "params": {"stepSize": 2, "gamma": 0.5}},
    {"name": "WarmupCosine", "params": {"warmupSteps": 2}},
]
OPTIMIZERS = [
    {"name": "Adam", "params": {"lr": 0.01}},
    {"name": "AdamW", "params": {"lr": 0.01, "weightDecay": 0.01}},
    {"name": "SGD", "params": {"lr": 0.01, "momentum": 0.9, "nesterov": True}},
]


@pytest.mark.parametrize("scheduler", SCHEDULERS, ids=lambda one: one["name"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda one: one["name"])
def test_every_optimiser_runs_with_every_schedule(
    scheduler: dict[str, Any], optimizer: dict[str, Any]
) -> None:
    changes = {"isPrivate": False, "privacyParams": None, "steps": 3}
    assert fit(scheduler=scheduler, optimizer=optimizer, **changes).steps == 3


@pytest.mark.parametrize("kind", ["none", "horizontal", "vertical", "both"])
def test_augmentation_trains(kind: str) -> None:
    assert fit(augmentation={"flip": kind, "maxShift": 2}, samplesPerUnit=3).steps == 4


def test_spent_is_a_document_that_survives_json() -> None:
    spent = fit().spent
    assert spent is not None
    assert json.loads(json.dumps(spent.to_json()))["unit"] == "patient"
