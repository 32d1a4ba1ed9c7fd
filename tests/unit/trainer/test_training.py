"""A training process that was killed goes on from its checkpoint; any other end is final."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from policies import accounting
from policies.agreement import Agreement
from policies.errors import BudgetError
from policies.wire.run import Progress
from tests.room import Lent, keks, plan_of
from tests.training import train_json
from trainer.faults import TrainingFailed
from trainer.messages import Job, Stepped
from trainer.report import Reporter
from trainer.spending import spent_after
from trainer.training import MAX_RESTARTS, Training
from trainer.work import Work
from trainer.worker import CHECKPOINTS

PLAIN = {"isPrivate": False, "privacyParams": None}
SCRIPT = """
import json, os, signal, sys, time
job = json.loads(sys.stdin.readline())
say = lambda **word: (sys.stdout.write(json.dumps(word) + chr(10)), sys.stdout.flush())
step = lambda n: say(stepped={{"step": n, "microEpsilon": n * 1000, "etaSeconds": 0}})
keep = lambda n: say(kept={{"run": job["run"], "pipeline": {pipeline!r}, "step": n,
    "digest": "sha256:" + "0" * 64}})
at = job.get("kept", {{}}).get("step", 0)
die = lambda number=9: (os.kill(os.getpid(), number), time.sleep(30))
{body}
"""


@dataclass
class Heard:
    """What a clean room hears of a training process that runs a few lines instead."""

    training: Training
    events: list[Any] = field(default_factory=list)


@pytest.fixture(scope="module")
def agreement(tmp_path_factory: pytest.TempPathFactory) -> Agreement:
    return Lent(tmp_path_factory.mktemp("lent")).agreement(**PLAIN)


def hears(agreement: Agreement, tmp_path: Path, body: str, **changes: Any) -> Heard:
    events: list[Any] = []

    def on_step(step: Stepped, restarts: int) -> None:
        events.append((step.step, restarts))

    job = Job(
        run=agreement.run,
        contract=agreement.contract,
        pipeline=agreement.pipeline,
        scratch=str(tmp_path),
        checkpoint_key=base64.b64encode(b"key").decode(),
    )
    script = SCRIPT.format(pipeline=agreement.pipeline_digest, body=body)
    training = Training(
        job,
        on_ready=lambda: events.append("ready"),
        on_step=on_step,
        command=(sys.executable, "-c", script),
        **changes,
    )
    return Heard(training, events)


def fails(heard: Heard) -> str:
    with pytest.raises(TrainingFailed) as caught:
        heard.training.run()
    return caught.value.reason


def test_every_step_is_heard_once_and_the_killed_process_goes_on_from_its_checkpoint(
    agreement: Agreement, tmp_path: Path
) -> None:
    heard = hears(
        agreement,
        tmp_path,
        "say(ready=True)\n"
        "for n in range(at + 1, 7):\n"
        "    step(n)\n"
        "    if n == 3: keep(n)\n"
        "    if n == 5 and at == 0: die()\n"
        "say(trained=6)",
    )
    assert heard.training.run() == 6
    assert heard.training.restarts == 1
    assert heard.events == ["ready", (1, 0), (2, 0), (3, 0), (4, 0), (5, 0), (6, 1)]


def test_a_process_that_was_killed_before_a_checkpoint_begins_anew(
    agreement: Agreement, tmp_path: Path
) -> None:
    flag = tmp_path / "once"
    body = (
        "say(ready=True); step(1)\n"
        f"if not os.path.exists({str(flag)!r}): open({str(flag)!r}, 'w').close(); die()\n"
        "assert at == 0\nstep(2); say(trained=2)"
    )
    heard = hears(agreement, tmp_path, body)
    assert heard.training.run() == 2
    assert heard.events == ["ready", (1, 0), (2, 1)]


def test_a_process_that_is_killed_again_and_again_is_given_up(
    agreement: Agreement, tmp_path: Path
) -> None:
    heard = hears(agreement, tmp_path, "say(ready=True); step(at + 1); keep(at + 1); die()")
    assert fails(heard) == "training-process-died"
    assert heard.training.restarts == MAX_RESTARTS
    assert heard.training.reached == MAX_RESTARTS + 1


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS])
def test_a_process_that_ends_by_its_own_fault_is_not_started_again(
    agreement: Agreement, tmp_path: Path, number: int
) -> None:
    heard = hears(agreement, tmp_path, f"say(ready=True); step(1); die({int(number)})")
    assert fails(heard) == "training-process-died"
    assert (heard.training.restarts, heard.training.reached) == (0, 1)


@pytest.mark.parametrize("body", ["sys.exit(1)", "sys.exit(0)", "say(ready=True); 1 / 0"])
def test_a_process_that_ends_without_a_word_is_not_started_again(
    agreement: Agreement, tmp_path: Path, body: str
) -> None:
    heard = hears(agreement, tmp_path, body)
    assert fails(heard) == "training-process-died"
    assert heard.training.restarts == 0


def test_a_process_that_the_kernel_killed_for_memory_is_not_started_again(
    agreement: Agreement, tmp_path: Path
) -> None:
    counts = iter((4, 5))
    heard = hears(
        agreement,
        tmp_path,
        "say(ready=True); step(1); die()",
        killed_for_memory=lambda: next(counts),
    )
    assert fails(heard) == "out-of-memory"
    assert heard.training.restarts == 0


def test_a_failure_is_told_by_its_word(agreement: Agreement, tmp_path: Path) -> None:
    heard = hears(agreement, tmp_path, "say(failed='data-refused')")
    assert fails(heard) == "data-refused"
    assert heard.training.reached is None


@pytest.mark.parametrize(
    "word",
    [
        "say(loss=0.3)",
        "say(stepped={'step': 1, 'microEpsilon': 1, 'etaSeconds': 0, 'loss': 0.3})",
        "say(failed='patient Erika: 0.3')",
        "say(ready=True, trained=1)",
        "sys.stdout.write('0.3' + chr(10))",
        "sys.stdout.write('9' * 100000 + chr(10))",
    ],
)
def test_words_that_are_none_end_the_run(agreement: Agreement, tmp_path: Path, word: str) -> None:
    heard = hears(agreement, tmp_path, f"{word}; sys.stdout.flush(); time.sleep(30)")
    assert fails(heard) == "training-process-died"
    assert heard.events == []


def test_the_training_process_is_told_neither_capability_nor_released_keys(
    agreement: Agreement, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEPA_RUN_TOKEN", "drt_secret")
    monkeypatch.setenv("DEPA_UNSAFE_TEE", "fd:7")
    body = (
        f"with open({str(tmp_path / 'seen')!r}, 'w') as f:\n"
        "    json.dump({'env': dict(os.environ), 'job': job, 'argv': sys.argv}, f)\n"
        "say(failed='done')"
    )
    fails(hears(agreement, tmp_path, body))
    seen = json.loads((tmp_path / "seen").read_text())
    assert not [name for name in seen["env"] if name.startswith("DEPA_")]
    assert "drt_secret" not in json.dumps(seen)
    assert set(seen["job"]) == {"run", "contract", "pipeline", "scratch", "checkpointKey"}
    assert seen["argv"] == ["-c"]


def test_a_job_is_read_as_it_was_written(tmp_path: Path) -> None:
    for name, changes in (("private", {}), ("plain", PLAIN)):
        lent = Lent(tmp_path / name)
        job = lent.job(lent.agreement(**changes))
        again = Job.read(job.canonical() + b"\n")
        assert again == job
        assert again.pipeline.digest() == job.pipeline.digest()
        assert (again.plan is None) == bool(changes)


def test_the_key_of_checkpoints_is_not_shown(agreement: Agreement, tmp_path: Path) -> None:
    heard = hears(agreement, tmp_path, "")
    assert "a2V5" in heard.training.job.canonical().decode()
    assert "a2V5" not in repr(heard.training)
    assert "a2V5" not in repr(heard.training.job)


@pytest.mark.slow
def test_a_killed_training_goes_on_from_its_checkpoint_and_ends_with_the_same_ledger(
    tmp_path: Path,
) -> None:
    lent, said = Lent(tmp_path), list[Progress]()
    agreement = lent.agreement(steps=150)
    work = lent.work(agreement, said)
    workers: list[int] = []

    def kill_once(progress: Progress) -> None:
        said.append(progress)
        if progress.phase == "training" and progress.step == 0:
            workers.append(child_of(os.getpid()))
        if progress.step == 60:
            os.kill(workers[0], signal.SIGKILL)

    work.reporter = Reporter(say=kill_once, seconds=lambda: 1.0)
    outcome = work.do(keks(agreement))
    assert (outcome.reason, outcome.restarts) == ("completed", 1)
    assert work.training is not None
    kept = work.training.job.kept
    assert kept is not None
    assert kept.step >= 100
    plan = plan_of(agreement)
    params = agreement.pipeline.train.privacy_params
    assert plan is not None
    assert params is not None
    assert outcome.spent == spent_after(150, plan=plan, params=params)
    training = [one for one in said if one.phase == "training"]
    assert [one.step for one in training] == list(range(151))
    assert {one.restarts for one in training} == {None, 1}
    assert [path.name for path in (lent.scratch / CHECKPOINTS).iterdir()] == [
        f"step-{kept.step}.sealed"
    ]


def child_of(parent: int) -> int:
    """Return the training process of this process."""
    found = subprocess.run(
        ["ps", "-o", "pid=,args=", "--ppid", str(parent)],  # noqa: S607
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    (line,) = [one for one in found if "trainer.worker" in one]
    return int(line.split()[0])


@pytest.mark.slow
def test_a_training_process_that_gets_no_more_memory_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Threads have stacks, and OpenMP gives up where it gets none.
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    lent = Lent(tmp_path)
    model = {**train_json()["model"], "channels": 64, "levels": 3}
    agreement = lent.agreement(model=model, baseWeights=None, **PLAIN)
    limited = (
        "import resource\n"
        "from trainer import worker\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 16_000_000, -1))\n"
        "worker.main()\n"
    )
    work = lent.work(agreement, [], command=(sys.executable, "-c", limited))
    with pytest.raises(TrainingFailed) as caught:
        work.do(keks(agreement))
    assert caught.value.reason == "out-of-memory"
    assert work.outcome(caught.value.reason).opened


@pytest.mark.slow
def test_a_training_process_ends_with_its_clean_room(tmp_path: Path) -> None:
    lent = Lent(tmp_path)
    agreement = lent.agreement(steps=100_000, **PLAIN)
    job = lent.job(agreement).canonical()
    room = (
        "import subprocess, sys, os, signal\n"
        "p = subprocess.Popen([sys.executable, '-m', 'trainer.worker'], stdin=subprocess.PIPE,\n"
        "    stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)\n"
        "p.stdin.write(sys.stdin.buffer.readline()); p.stdin.flush()\n"
        "while b'stepped' not in p.stdout.readline(): pass\n"
        "print(p.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", room], input=job + b"\n", capture_output=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    worker = Path(f"/proc/{int(done.stdout)}/stat")
    while worker.exists() and worker.read_text().rpartition(")")[2].split()[0] not in "ZX":
        pass


def test_what_failed_before_a_step_costs_nothing_and_after_it_the_steps(tmp_path: Path) -> None:
    lent = Lent(tmp_path)
    agreement = lent.agreement()
    work = lent.work(agreement, [])
    assert work.outcome("internal").spent is None
    work.plan = plan_of(agreement)
    work.training = Training(lent.job(agreement), on_ready=list, on_step=lambda *_: None)
    assert work.outcome("data-refused").spent is None
    work.training.reached = 0
    assert work.outcome("engine-refused").spent is None
    costs = []
    for reached in (0, 1, 2, 4):
        work.training.reached = reached
        spent = work.outcome("out-of-memory").spent
        assert spent is not None
        costs.append((spent.steps, spent.micro_epsilon))
    assert [steps for steps, _ in costs] == [1, 2, 3, 4]
    assert costs == sorted(costs)
    work.training.steps = 4
    assert work.outcome("network").spent == spent


def test_metrics_are_paid_for_wherever_training_has_stopped(tmp_path: Path) -> None:
    lent = Lent(tmp_path)
    agreement = lent.agreement()
    work, plan = lent.work(agreement, []), plan_of(agreement)
    assert plan is not None
    work.plan = replace(plan, metrics_noise=50.0)
    work.training = Training(lent.job(agreement), on_ready=list, on_step=lambda *_: None)
    work.training.reached = work.training.steps = 2
    spent = work.outcome("completed").spent
    assert spent is not None
    assert spent.event == accounting.event_to_json(work.plan.event)


def test_a_cost_that_cannot_be_computed_is_that_of_the_whole_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lent = Lent(tmp_path)
    agreement = lent.agreement()
    work: Work = lent.work(agreement, [])
    work.plan = plan_of(agreement)
    work.training = Training(lent.job(agreement), on_ready=list, on_step=lambda *_: None)
    work.training.reached = 1

    def disagree(*_: object, **__: object) -> float:
        raise BudgetError("accountants disagree")

    monkeypatch.setattr("policies.accounting.compose", disagree)
    spent = work.outcome("internal").spent
    assert spent is not None
    assert spent.steps == 4
