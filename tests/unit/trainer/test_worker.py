"""The training process says how it ended by one fixed word, whatever went wrong."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from policies.wire.private_metrics import FILE, PrivateMetricsReport
from tests.room import Lent
from trainer import worker
from trainer.checkpoint import Cadence
from trainer.faults import reason_of
from trainer.messages import OUTPUT, Job, Kept, Said

PLAIN = {"isPrivate": False, "privacyParams": None}
SECRETIVE = "patient Erika Mustermann, loss 0.3271"


@pytest.fixture
def lent(tmp_path: Path) -> Lent:
    return Lent(tmp_path)


def said(job: Job, **changes: Any) -> list[Said]:
    words: list[Said] = []
    worker.perform(job, words.append, **changes)
    return words


def end(job: Job) -> tuple[str | None, int | None]:
    """Return the word for a failure, and the last step."""
    words = said(job)
    steps = [word.stepped.step for word in words if word.stepped is not None]
    ready = any(word.ready for word in words)
    return words[-1].failed, max(steps, default=0) if ready else None


def test_a_job_ends_with_a_model_and_every_step_was_said(lent: Lent) -> None:
    words = said(lent.job(lent.agreement()))
    assert words[0].ready
    assert [word.stepped.step for word in words if word.stepped is not None] == [1, 2, 3, 4]
    assert words[-1].trained == 4
    assert [path.name for path in (lent.scratch / OUTPUT).iterdir()] == ["model.safetensors"]


def test_metrics_of_private_data_are_written_beside_the_model(lent: Lent) -> None:
    asked = {"metrics": ["dice_score", "mse"], "epsilon": 1.0}
    words = said(lent.job(lent.agreement(privateMetrics=asked)))
    assert words[-1].trained == 4
    folder = lent.scratch / OUTPUT
    assert {path.name for path in folder.iterdir()} == {"model.safetensors", FILE}
    report = PrivateMetricsReport.parse((folder / FILE).read_bytes())
    assert set(report.figures) == {"dice_score", "mse"}
    assert not any("figures" in word.canonical().decode() for word in words)


def test_no_metric_is_written_that_was_not_paid_for(lent: Lent) -> None:
    asked = {"metrics": ["dice_score"], "epsilon": 1.0}
    job = lent.job(lent.agreement(privateMetrics=asked))
    assert job.plan is not None
    unpaid = job.plan.model_copy(update={"metrics_noise": None})
    words = said(job.model_copy(update={"plan": unpaid}))
    assert words[-1].failed == "internal"
    assert not (lent.scratch / OUTPUT / FILE).exists()


def test_a_job_goes_on_from_its_checkpoint(lent: Lent) -> None:
    job = lent.job(lent.agreement(**PLAIN))
    kept = checkpoint_of(job)
    again = said(job.model_copy(update={"kept": kept}))
    assert [word.stepped.step for word in again if word.stepped is not None] == [4]
    assert again[-1].trained == 4


def test_a_job_does_not_go_on_from_another_checkpoint(lent: Lent) -> None:
    job = lent.job(lent.agreement(**PLAIN))
    kept = checkpoint_of(job)
    (path,) = (lent.scratch / worker.CHECKPOINTS).iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    assert end(job.model_copy(update={"kept": kept})) == ("checkpoint-refused", None)


def checkpoint_of(job: Job) -> Kept:
    """Do a job of four steps and return the checkpoint after the third."""
    (kept,) = [word.kept for word in said(job, cadence=Cadence(3, most=1e9)) if word.kept]
    return kept


def damage(folder: Path) -> None:
    path = sorted(folder.glob("*.safetensors"))[0]
    path.write_bytes(path.read_bytes()[:-7])


def empty(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    # A folder without any file is not even sealed.
    (folder / "notes").touch()


def lose(folder: Path) -> None:
    sorted(folder.glob("*.safetensors"))[0].unlink()


def refuse_all(folder: Path) -> None:
    for path in folder.glob("*.safetensors"):
        path.write_bytes(b"no tensors")


@pytest.mark.parametrize("harm", [damage, empty, lose, refuse_all])
@pytest.mark.parametrize("provider", ["mri-a", "mri-b"])
def test_data_of_one_provider_that_cannot_be_used_end_the_run_before_a_step(
    lent: Lent, harm: Callable[[Path], None], provider: str
) -> None:
    harm(lent.plain(provider))
    assert end(lent.job(lent.agreement(**PLAIN))) == ("data-refused", None)


def test_a_held_file_that_was_exchanged_ends_the_run_before_a_step(lent: Lent) -> None:
    job = lent.job(lent.agreement(**PLAIN))
    copy = lent.scratch / "mri-b.sealed"
    data = bytearray(copy.read_bytes())
    data[-40] ^= 1
    copy.write_bytes(data)
    assert end(job) == ("sealed-file-refused", None)


def test_no_patient_is_in_clear_below_the_scratch_folder(lent: Lent) -> None:
    job = lent.job(lent.agreement(**PLAIN))
    assert said(job)[-1].trained == 4
    for path in lent.scratch.rglob("*"):
        if path.is_file() and lent.scratch / "base" not in path.parents:
            assert path.name == "model.safetensors" or b"data_offsets" not in path.read_bytes()
    assert not (lent.scratch / "mri-a").exists()


def test_a_base_model_that_does_not_fit_ends_the_run_before_a_step(lent: Lent) -> None:
    damage(lent.plain("base"))
    assert end(lent.job(lent.agreement(**PLAIN))) == ("model-refused", None)


def test_weights_that_are_not_finite_end_the_run(lent: Lent) -> None:
    explosive = {"name": "SGD", "params": {"lr": 100.0, "weightDecay": 1.0}}
    reason, reached = end(lent.job(lent.agreement(optimizer=explosive, steps=40, **PLAIN)))
    assert reason == "not-finite"
    assert reached is not None
    assert 0 < reached < 40


def test_a_loss_that_is_not_a_number_ends_the_run(
    lent: Lent, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return outputs.flatten(1).sum(1) * float("nan")

    monkeypatch.setattr("trainer.loop.build_stage_loss", lambda *_: loss)
    assert end(lent.job(lent.agreement(**PLAIN))) == ("not-finite", 0)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MemoryError(SECRETIVE), "out-of-memory"),
        (torch.OutOfMemoryError(SECRETIVE), "out-of-memory"),
        (
            RuntimeError(f"DefaultCPUAllocator: can't allocate memory, {SECRETIVE}"),
            "out-of-memory",
        ),
        (RuntimeError("can't start new thread"), "out-of-memory"),
        (OSError(errno.ENOSPC, SECRETIVE), "scratch-full"),
        (ValueError(SECRETIVE), "internal"),
        (KeyError(SECRETIVE), "internal"),
    ],
)
def test_an_error_in_a_step_is_told_by_a_word_and_not_by_its_message(
    lent: Lent, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("trainer.loop.assemble", fail)
    words = said(lent.job(lent.agreement(**PLAIN)))
    assert words[-1] == Said(failed=reason)
    assert b"Erika" not in b"".join(word.canonical() for word in words)
    assert reason_of(error) == reason


def test_memory_that_is_really_not_to_be_had_is_told_as_such() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60)
    assert reason_of(caught.value) == "out-of-memory"
