"""A run that goes on from a checkpoint ends as it would have; no other checkpoint is opened."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from policies import accounting
from policies.accounting import PrivacyPlan
from tests.training import Blobs, train_config
from trainer.checkpoint import Cadence, CheckpointRefused, Checkpoints, Kept, State
from trainer.loop import StepReport, Trained, train
from trainer.models.factory import build_model
from trainer.privacy.streams import Streams
from trainer.sealed.keys import DataKey

RUN = "run-" + "a" * 26
PIPELINE = "sha256:" + "1" * 64
EVERY_STEP = Cadence(steps=1, most=math.inf)
STEPS = 5


class Killed(BaseException):
    """Stands for SIGKILL: nothing of the loop catches it."""


@dataclass
class Folder:
    """The checkpoints of one run, and which is the newest."""

    path: Path
    key: DataKey = field(default_factory=DataKey.generate)
    newest: list[Kept] = field(default_factory=list)

    def open(self, **changes: Any) -> Checkpoints:
        values = {"run": RUN, "pipeline": PIPELINE, "key": self.key, "cadence": EVERY_STEP}
        return Checkpoints(self.path, on_kept=self.newest.append, **(values | changes))

    def state(self, **changes: Any) -> State:
        return self.open(**changes).open(self.newest[-1])


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "checkpoints")


def fit(
    folder: Folder | None = None,
    *,
    start: State | None = None,
    until: int | None = None,
    noiseless: bool = True,
    streams: Streams | None = None,
    **changes: Any,
) -> Trained:
    config = train_config(**{"steps": STEPS, **changes})
    torch.manual_seed(1)

    def on_step(report: StepReport) -> None:
        if report.step == until:
            raise Killed

    return train(
        build_model(config.model, base=None),
        Blobs(count=12),
        config,
        agreed=plan(config, noiseless=noiseless) if config.is_private else None,
        streams=streams or Streams.unsafe_seeded(7),
        on_step=on_step,
        checkpoints=folder and folder.open(),
        start=start,
    )


def plan(config: Any, *, noiseless: bool) -> PrivacyPlan:
    agreed = accounting.plan_training(config, units=12)
    return Noiseless(**vars(agreed)) if noiseless else agreed


class Noiseless(PrivacyPlan):
    """The plan of a run that tests compare bit by bit: accounted as agreed, without the noise."""

    def __getattribute__(self, name: str) -> Any:
        return 0.0 if name == "noise_multiplier" else super().__getattribute__(name)

    def event_after(self, steps: int) -> Any:
        return accounting.training_event(
            noise_multiplier=1.0, sampling_rate=self.sampling_rate, steps=steps
        )


CONFIGS: list[dict[str, Any]] = [
    {"optimizer": {"name": "Adam", "params": {"lr": 0.01}}, "isPrivate": True},
    {
        "optimizer": {"name": "AdamW", "params": {"lr": 0.01, "weightDecay": 0.01}},
        "scheduler": {"name": "OneCycleLR", "params": {"maxLr": 0.01}},
        "averaging": {"kind": "EMA", "decay": 0.9},
    },
    {
        "optimizer": {"name": "SGD", "params": {"lr": 0.01, "momentum": 0.9, "nesterov": True}},
        "scheduler": {
            "name": "CyclicLR",
            "params": {"baseLr": 0.001, "maxLr": 0.01, "stepSizeUp": 2},
        },
        "averaging": {"kind": "Polyak", "lastFraction": 0.7},
    },
    {"scheduler": {"name": "CosineAnnealingLR", "params": {"etaMin": 0.001}}},
    {"scheduler": {"name": "StepLR", "params": {"stepSize": 2, "gamma": 0.5}}, "samplesPerUnit": 3},
    {
        "scheduler": {"name": "WarmupCosine", "params": {"warmupSteps": 2}},
        "augmentation": {"flip": "both", "maxShift": 2},
    },
]
PLAIN = {"isPrivate": False, "privacyParams": None}


@pytest.mark.parametrize("changes", CONFIGS, ids=range(len(CONFIGS)))
@pytest.mark.parametrize("killed", [2, 4])
def test_a_run_without_noise_that_was_killed_ends_bit_by_bit_as_one_that_was_not(
    folder: Folder, changes: dict[str, Any], killed: int
) -> None:
    changes = changes if changes.get("isPrivate") else changes | PLAIN
    whole = fit(**changes)
    with pytest.raises(Killed):
        fit(folder, until=killed, **changes)
    again = fit(folder, start=folder.state(), **changes)
    assert folder.newest[killed - 2].step == killed - 1
    assert (again.steps, again.spent) == (whole.steps, whole.spent)
    assert again.weights.keys() == whole.weights.keys()
    for name, value in whole.weights.items():
        assert torch.equal(value, again.weights[name]), name


@pytest.mark.parametrize("killed", range(2, STEPS + 1))
def test_whenever_a_private_run_is_killed_its_ledger_is_the_same(
    folder: Folder, killed: int
) -> None:
    whole = fit(noiseless=False, streams=Streams())
    with pytest.raises(Killed):
        fit(folder, until=killed, noiseless=False, streams=Streams())
    again = fit(folder, start=folder.state(), noiseless=False, streams=Streams())
    assert again.spent == whole.spent


def test_a_run_that_goes_on_draws_new_noise(folder: Folder) -> None:
    with pytest.raises(Killed):
        fit(folder, until=4, noiseless=False, streams=Streams())
    state = folder.state()
    first, second = (fit(start=state, noiseless=False, streams=Streams()) for _ in range(2))
    assert not torch.equal(first.weights["head.weight"], second.weights["head.weight"])


def test_a_checkpoint_holds_no_random_stream_and_nothing_in_clear(folder: Folder) -> None:
    fit(folder, **PLAIN)
    state = folder.state()
    assert set(state.values) == {"model", "mean", "optimizer", "scheduler", "counts", "event"}
    (path,) = folder.path.iterdir()
    data = path.read_bytes()
    assert path.stat().st_mode & 0o077 == 0 or folder.path.stat().st_mode & 0o077 == 0
    for tensor in state.tensors.values():
        plain = tensor.numpy().tobytes()
        assert len(plain) < 16 or plain not in data
    assert b"optimizer" not in data
    assert b"exp_avg" not in data


def test_only_the_newest_checkpoint_is_kept_and_opened(folder: Folder) -> None:
    fit(folder, **PLAIN)
    assert [path.name for path in folder.path.iterdir()] == [f"step-{STEPS}.sealed"]
    with pytest.raises(CheckpointRefused, match="there is no checkpoint of step 2"):
        folder.open().open(folder.newest[1])


def test_an_older_checkpoint_in_the_place_of_the_newest_is_refused(folder: Folder) -> None:
    with pytest.raises(Killed):
        fit(folder, until=3, **PLAIN)
    older = (folder.path / "step-2.sealed").read_bytes()
    fit(folder, **PLAIN)
    newest = folder.path / f"step-{STEPS}.sealed"
    newest.write_bytes(older)
    with pytest.raises(CheckpointRefused, match="damaged, or an older one"):
        folder.state()


@pytest.mark.parametrize("where", ["fsync", "rename", "told"])
def test_a_process_that_is_killed_while_it_writes_leaves_the_checkpoint_before_whole(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """The clean room knows of the one before, and of no other."""
    with pytest.raises(Killed):
        fit(folder, until=3, **PLAIN)
    before = folder.newest[-1]
    assert before.step == 2

    def die(*_: object) -> None:
        raise Killed

    checkpoints = folder.open()
    if where == "told":
        checkpoints._on_kept = die
    else:
        monkeypatch.setattr(*{"fsync": (os, "fsync"), "rename": (Path, "rename")}[where], die)
    with pytest.raises(Killed):
        checkpoints.keep_if_due(3, lambda: State(3, {}, {}))
    monkeypatch.undo()
    assert folder.open().open(before).step == 2
    fit(folder, start=folder.state(), **PLAIN)
    assert [path.name for path in folder.path.iterdir()] == [f"step-{STEPS}.sealed"]


@pytest.mark.parametrize("place", [0, 20, 300, -1])
def test_a_damaged_checkpoint_is_refused(folder: Folder, place: int) -> None:
    fit(folder, **PLAIN)
    path = folder.path / f"step-{STEPS}.sealed"
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointRefused, match="damaged"):
        folder.state()
    path.write_bytes(data[:100])
    with pytest.raises(CheckpointRefused, match="damaged"):
        folder.state()


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"run": "run-" + "b" * 26}, "another run"),
        ({"pipeline": "sha256:" + "2" * 64}, "another run"),
        ({"key": DataKey.generate()}, "does not open with this run's key"),
    ],
)
def test_a_checkpoint_of_another_run_or_key_is_refused(
    folder: Folder, changes: dict[str, Any], why: str
) -> None:
    fit(folder, **PLAIN)
    with pytest.raises(CheckpointRefused, match=why):
        folder.state(**changes)


def test_a_checkpoint_under_another_plan_or_model_is_refused(folder: Folder) -> None:
    fit(folder, noiseless=False)
    state = folder.state()
    with pytest.raises(CheckpointRefused, match="another plan"):
        fit(start=state, noiseless=True)
    wider = {**train_config().model_dump(by_alias=True)["model"], "channels": 8}
    with pytest.raises(CheckpointRefused, match="another model"):
        fit(start=state, noiseless=False, model=wider)


def test_a_checkpoint_is_due_by_steps_or_seconds_and_never_takes_much_of_the_time(
    folder: Folder,
) -> None:
    now, taken = [0.0], []

    def take(cost: float) -> State:
        now[0] += cost
        taken.append(now[0])
        return State(1, {}, {})

    cadence = Cadence(steps=10, seconds=30.0, most=0.05)
    kept = folder.open(cadence=cadence, clock=lambda: now[0])
    kept.keep_if_due(9, lambda: take(1))
    assert not taken
    kept.keep_if_due(10, lambda: take(1))
    assert len(taken) == 1
    now[0] += 19
    kept.keep_if_due(30, lambda: take(1))
    assert len(taken) == 1
    now[0] += 1
    kept.keep_if_due(31, lambda: take(1))
    assert len(taken) == 2
    now[0] += 30
    kept.keep_if_due(32, lambda: take(1))
    assert [item.step for item in folder.newest] == [10, 31, 32]
