"""Once keys are out a run ends with a signed report and one public line, whatever happens."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from clients.api.errors import NetworkError
from ledger.did import did_jwk_for
from ledger.identity import Identity
from policies import accounting
from policies.agreement import Agreement
from policies.wire.run import Progress, RunReport
from tests.room import Lent, keks, plan_of
from tests.simulator import room_keys
from trainer import run as runner
from trainer.faults import TrainingFailed
from trainer.gate import Attested
from trainer.room import Room
from trainer.run import RunFailed, Stopped

RUN = "run-" + "a" * 26
PRIVATE = "patient Erika Mustermann, loss 0.3271"


@dataclass
class Service:
    """Takes what a clean room says."""

    reports: list[RunReport] = field(default_factory=list)

    def bundle(self, run: str) -> bytes:
        return run.encode()

    def nonce(self, run: str) -> SimpleNamespace:
        return SimpleNamespace(nonce=run)

    def release(self, run: str, *, token: str) -> None:
        """Keys went out; which does not matter here."""

    def progress(self, run: str, progress: Progress) -> None:
        """Nobody watches."""

    def report(self, run: str, document: RunReport, statement: bytes) -> None:
        assert statement
        assert document.run == run
        self.reports.append(document)


@pytest.fixture
def _signals() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def service(_signals: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Service:
    """Return the service of a room that is past its gate."""
    service, key = Service(), ec.generate_private_key(ec.SECP256R1())
    agreement = Lent(tmp_path).agreement(isPrivate=False, privacyParams=None)
    attested = Attested(
        token=RUN,
        keys=room_keys(),
        nonce="n",
        reporter=Identity(did=did_jwk_for(key.public_key()), chain=(), private_key=key),
        host_data="a" * 64,
        measurement="b" * 96,
    )
    monkeypatch.setattr(runner, "RoomClient", lambda *_, **__: service)
    monkeypatch.setattr(runner, "shared_workers", lambda: SimpleNamespace(close=lambda: None))
    monkeypatch.setattr(runner, "open_tee", lambda _: None)
    monkeypatch.setattr(runner.gate, "verify", lambda *_, **__: agreement)
    monkeypatch.setattr(runner.gate, "attest", lambda *_, **__: attested)
    monkeypatch.setattr(runner.gate, "confirm", lambda *_, **__: None)
    return service


def room(scratch: Path) -> Room:
    return Room(
        root_fingerprint="c" * 64,
        service_url="https://service.test",
        attestation_url="https://attestation.test",
        run=RUN,
        run_token=RUN,
        scratch=scratch,
        ca_file=None,
    )


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError(PRIVATE), "internal"),
        (OSError(errno.ENOSPC, PRIVATE), "scratch-full"),
        (MemoryError(PRIVATE), "out-of-memory"),
        (TrainingFailed("not-finite"), "not-finite"),
        (Stopped("ended by signal 15"), "stopped"),
    ],
)
def test_an_error_after_keys_is_reported_by_its_word_alone(
    service: Service,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    reason: str,
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(runner, "_keks", fail)
    with pytest.raises(RunFailed) as caught:
        runner.run(room(tmp_path), {})
    (report,) = service.reports
    assert (report.state, report.reason, report.spent) == ("failed", reason, None)
    assert b"Erika" not in report.canonical()
    assert "Erika" not in f"{caught.value} {caught.value.hint}"
    assert caught.value.__suppress_context__


def played(lent: Lent, monkeypatch: pytest.MonkeyPatch, **train: Any) -> Agreement:
    """Let the room have this agreement and its keys; what it trains in is a real process."""
    agreement = lent.agreement(**train)
    monkeypatch.setattr(runner.gate, "verify", lambda *_, **__: agreement)
    monkeypatch.setattr(runner, "_keks", lambda *_, **__: keks(agreement))
    lent.scratch.mkdir(mode=0o700)
    return agreement


def test_a_run_of_which_one_providers_data_cannot_be_used_is_reported_and_costs_nothing(
    service: Service,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    lent = Lent(tmp_path / "lent")
    for path in lent.plain("mri-b").glob("*.safetensors"):
        path.write_bytes(b"no tensors")
    agreement = played(lent, monkeypatch)
    with pytest.raises(RunFailed, match="the run failed: data-refused"):
        runner.run(room(lent.scratch), {})
    (report,) = service.reports
    assert (report.state, report.reason) == ("failed", "data-refused")
    assert (report.spent, report.model, report.model_url) == (None, None, None)
    assert report.datasets == tuple(item.digest for item in agreement.files)
    told = capfd.readouterr()
    phases = [json.loads(line)["phase"] for line in told.out.splitlines()]
    assert phases == ["verifying", "attesting", "unsealing", "reporting"]
    assert told.err == ""


def test_a_run_whose_weights_become_no_numbers_is_reported_with_what_it_spent(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    explosive = {"name": "SGD", "params": {"lr": 100.0, "weightDecay": 1.0}}
    lent = Lent(tmp_path / "lent")
    agreement = played(lent, monkeypatch, optimizer=explosive, steps=60)
    with pytest.raises(RunFailed, match="the run failed: not-finite") as caught:
        runner.run(room(lent.scratch), {})
    assert caught.value.hint == "use a smaller learning rate"
    (report,) = service.reports
    assert (report.state, report.reason, report.model) == ("failed", "not-finite", None)
    assert report.spent is not None
    assert 1 < report.spent.steps < 60
    plan = plan_of(agreement)
    assert plan is not None
    assert 0 < report.spent.micro_epsilon < accounting.micro_epsilon(plan.cost)


def test_an_error_whose_message_is_public_is_told_and_reported(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise NetworkError("the store does not answer")

    monkeypatch.setattr(runner, "_keks", fail)
    with pytest.raises(NetworkError, match="the store does not answer"):
        runner.run(room(tmp_path), {})
    assert [one.reason for one in service.reports] == ["network"]


def test_a_room_that_may_not_start_says_one_line_and_nothing_else() -> None:
    kept = {name: text for name, text in os.environ.items() if not name.startswith("DEPA_")}
    done = subprocess.run(
        [sys.executable, "-m", "trainer.run"], env=kept, capture_output=True, check=False
    )
    (line,) = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (2, b"")
    assert set(json.loads(line)) == {"error", "message", "hint"}


def test_the_process_that_holds_the_keys_loads_nothing_that_reads_private_data() -> None:
    readers = ("torch", "onnx", "nibabel", "pydicom", "duckdb", "safetensors")
    code = f"import sys, trainer.run; sys.exit(str([m for m in {readers} if m in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr == "[]\n"
