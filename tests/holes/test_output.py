"""Nothing leaves a clean room but a sealed model, and numbers that do not depend on the data."""

from __future__ import annotations

from pathlib import Path

import pytest

from clients.api.errors import NetworkError
from policies import accounting
from policies.errors import DocumentError
from policies.wire.run import Progress, RunReport
from tests.room import Lent, plan_of
from tests.training import Blobs, train_config
from trainer.loop import StepReport, train
from trainer.messages import OUTPUT, Said
from trainer.models.factory import build_model
from trainer.privacy.streams import Streams
from trainer.report import Reporter
from trainer.training import Training
from trainer.work import Work
from trainer.worker import stepped

PLAN = accounting.plan(
    epsilon=4.0, delta=0.001, sampling_rate=1 / 3, steps=4, adjacency="add-remove"
)


def test_no_unnoised_private_value_is_in_progress_or_report() -> None:
    said: list[Progress] = []
    for units in (Blobs(seed=5), Blobs(seed=6)):
        config, reports = train_config(), list[StepReport]()
        reporter = Reporter(
            say=said.append, seconds=lambda: 1.0, steps=config.steps, micro_epsilon_limit=4_000_000
        )
        train(
            build_model(config.model, base=None),
            units,
            config,
            agreed=PLAN,
            streams=Streams(),
            on_step=reports.append,
        )
        for report in reports:
            reporter.step(stepped(report))
    values = [{**one.to_json(), "etaSeconds": None} for one in said]
    half = len(values) // 2
    assert half == 4
    assert values[:half] == values[half:]


@pytest.mark.parametrize("field", ["loss", "accuracy", "gradNorm", "batchSize", "message"])
@pytest.mark.parametrize("document", [Progress, RunReport, Said])
def test_what_a_room_says_has_no_place_for_anything_else(
    document: type[Progress | RunReport | Said], field: str
) -> None:
    with pytest.raises(DocumentError) as refused:
        document.from_json({field: 0.3})
    assert f"/{field}" in {problem.pointer for problem in refused.value.problems}


def test_a_model_that_may_have_left_is_paid_for_whatever_the_store_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(url: str) -> None:
        raise NetworkError("the store took the file and did not answer")

    work = trained(tmp_path)
    monkeypatch.setattr("trainer.work.open_store", lost)
    with pytest.raises(NetworkError):
        work._sealed()
    spent = work.outcome("network").spent
    assert spent is not None
    assert spent.steps == 4


def test_training_that_stops_is_paid_for_as_far_as_it_came(tmp_path: Path) -> None:
    work = trained(tmp_path)
    assert work.training is not None
    whole = work.outcome("completed").spent
    work.training.steps, work.training.reached = None, 1
    half = work.outcome("stopped").spent
    assert whole is not None
    assert half is not None
    assert (half.steps, whole.steps) == (2, 4)
    assert half.micro_epsilon < whole.micro_epsilon <= 8_000_000


def trained(folder: Path) -> Work:
    """Return the work of a clean room whose training process has left a model of four steps."""
    lent = Lent(folder)
    agreement = lent.agreement()
    work = lent.work(agreement, [])
    work.plan = plan_of(agreement)
    work.training = Training(lent.job(agreement), on_ready=list, on_step=lambda *_: None)
    work.training.reached = work.training.steps = 4
    (lent.scratch / OUTPUT).mkdir()
    (lent.scratch / OUTPUT / "model.safetensors").write_bytes(b"weights")
    return work
