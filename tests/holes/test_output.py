"""Nothing leaves a clean room but a sealed model, and numbers that do not depend on the data."""

from __future__ import annotations

import pytest

from clients.api.errors import NetworkError
from policies import accounting
from policies.errors import DocumentError
from policies.wire.run import Progress, RunReport, Spent
from tests.training import Blobs, train_config
from trainer.loop import train
from trainer.models.factory import build_model
from trainer.privacy.errors import EngineRefused, TrainingAborted
from trainer.privacy.streams import Streams
from trainer.report import Outcome, Reporter
from trainer.run import RunFailed, _spent_by
from trainer.spending import spent_after

PLAN = accounting.plan(
    epsilon=4.0, delta=0.001, sampling_rate=1 / 3, steps=4, adjacency="add-remove"
)


def test_no_unnoised_private_value_is_in_progress_or_report() -> None:
    said: list[Progress] = []
    for units in (Blobs(seed=5), Blobs(seed=6)):
        config = train_config()
        reporter = Reporter(
            say=said.append, seconds=lambda: 1.0, steps=config.steps, micro_epsilon_limit=4_000_000
        )
        train(
            build_model(config.model, base=None),
            units,
            config,
            agreed=PLAN,
            streams=Streams(),
            on_step=reporter.step,
        )
    values = [{**one.to_json(), "etaSeconds": None} for one in said]
    half = len(values) // 2
    assert half == 4
    assert values[:half] == values[half:]


@pytest.mark.parametrize("field", ["loss", "accuracy", "gradNorm", "batchSize", "message"])
@pytest.mark.parametrize("document", [Progress, RunReport])
def test_what_a_room_says_has_no_place_for_anything_else(
    document: type[Progress] | type[RunReport], field: str
) -> None:
    with pytest.raises(DocumentError) as refused:
        document.from_json({field: 0.3})
    assert f"/{field}" in {problem.pointer for problem in refused.value.problems}


def test_a_model_that_may_have_left_is_paid_for_whatever_the_store_answers() -> None:
    params = train_config().privacy_params
    assert params is not None
    whole = spent_after(PLAN.steps, plan=PLAN, params=params)
    trained = Outcome(reason="internal", spent=whole)
    lost = NetworkError("the store took the file and did not answer")
    assert _spent_by(lost, trained) == whole
    assert _spent_by(lost, Outcome(reason="internal")) is None


def test_training_that_stops_is_paid_for_as_far_as_it_came() -> None:
    params = train_config().privacy_params
    assert params is not None
    whole, half = (spent_after(steps, plan=PLAN, params=params) for steps in (4, 2))
    assert isinstance(half, Spent)
    assert half.micro_epsilon < whole.micro_epsilon <= 4_000_000
    trained = Outcome(reason="internal", spent=whole)
    assert _spent_by(TrainingAborted("stopped", spent=half), trained) == half
    assert _spent_by(EngineRefused("batch normalisation"), trained) is None


def test_a_failure_behind_opened_data_is_told_by_its_kind_alone() -> None:
    failed = RunFailed("training-aborted")
    assert str(failed).count("training-aborted") == 1
    assert failed.__cause__ is None
