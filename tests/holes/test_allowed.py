"""An allow-list of everything that leaves a clean room: words, numbers, files. Whoever adds one has
to say here that it is public, or noised."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from policies.wire.run import Progress, RunReport, Spent
from tests.room import Lent
from trainer import faults, worker
from trainer.messages import OUTPUT, Kept, Said, Stepped
from trainer.run import RunFailed

ROOT = Path(__file__).resolve().parents[2]
PRIVATE = "patient Erika Mustermann, loss 0.3271"
PROGRESS = {
    "phase": "a word of a fixed set",
    "step": "how many were taken, which follows from the pipeline",
    "steps": "from the pipeline",
    "micro_epsilon": "from the plan and the step",
    "micro_epsilon_limit": "from the contract",
    "seconds": "time",
    "eta_seconds": "time",
    "restarts": "how often the host or the machine killed training",
}
REPORT = {
    "run": "from the approval",
    "contract": "from the approval",
    "pipeline": "from the approval",
    "state": "a word of a fixed set",
    "reason": "a word of a fixed set",
    "host_data": "from the hardware",
    "measurement": "from the hardware",
    "datasets": "digests of the contract",
    "spent": "from the plan and the step",
    "model": "digest of a ciphertext",
    "model_url": "from the contract and the run",
    "restarts": "how often the host or the machine killed training",
    "started_at": "time",
    "finished_at": "time",
}
SPENT = {
    "micro_epsilon",
    "delta_trillionths",
    "steps",
    "noise_multiplier",
    "sampling_rate",
    "max_grad_norm",
    "unit",
    "adjacency",
    "event",
}
WRITERS = {
    "run.py": "progress, and one line about a refusal",
    "worker.py": "words to the clean room; what libraries print goes nowhere",
}
LOGGERS = {"privacy/csprng.py", "tee/simulated.py"}
"""They say that something is unsafe, and nothing else."""
SILENCERS = {"data/dicom_pixels.py"}
"""They keep a library from logging what it was given."""


def test_progress_and_report_hold_these_fields_and_no_other() -> None:
    assert set(Progress.model_fields) == set(PROGRESS)
    assert set(RunReport.model_fields) == set(REPORT)
    assert set(Spent.model_fields) == SPENT


def test_the_training_process_has_these_words_and_no_other() -> None:
    assert set(Said.model_fields) == {"ready", "stepped", "kept", "trained", "failed"}
    assert set(Stepped.model_fields) == {"step", "micro_epsilon", "eta_seconds"}
    assert set(Kept.model_fields) == {"run", "pipeline", "step", "digest"}


def test_only_these_modules_of_the_clean_room_write_to_its_streams_or_logs() -> None:
    writers, loggers, used = set(), set(), dict[str, set[str]]()
    for path in (ROOT / "trainer").rglob("*.py"):
        name = path.relative_to(ROOT / "trainer").as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr in {"stdout", "stderr"}:
                if isinstance(node.value, ast.Name) and node.value.id == "sys":
                    writers.add(name)
            elif isinstance(node, ast.Name) and node.id == "print":
                writers.add(name)
            elif isinstance(node, ast.Import) and "logging" in {one.name for one in node.names}:
                loggers.add(name)
            elif name in SILENCERS and isinstance(node, ast.Attribute) and _is_logging(node.value):
                used.setdefault(name, set()).add(node.attr)
    assert writers == set(WRITERS)
    assert loggers == LOGGERS | SILENCERS
    assert used == {name: {"getLogger", "CRITICAL"} for name in SILENCERS}


def _is_logging(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "logging"


def test_a_model_folder_holds_the_model_and_nothing_about_its_making(tmp_path: Path) -> None:
    lent = Lent(tmp_path)
    agreement = lent.agreement(isPrivate=False, privacyParams=None)
    worker.perform(lent.job(agreement), lambda _: None)
    (path,) = (lent.scratch / OUTPUT).iterdir()
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    base = (lent.plain("base") / "model.safetensors").read_bytes()
    assert path.name == "model.safetensors"
    assert header == json.loads(base[8 : 8 + int.from_bytes(base[:8], "little")])
    assert len(data) == len(base)


def test_what_a_library_prints_in_the_training_process_goes_nowhere(tmp_path: Path) -> None:
    lent = Lent(tmp_path)
    agreement = lent.agreement(isPrivate=False, privacyParams=None)
    script = (
        "import logging, os, sys, warnings\n"
        "from trainer import worker\n"
        f"secret = {PRIVATE!r}\n"
        "def talk(*_, **__):\n"
        "    print(secret); print(secret, file=sys.stderr, flush=True); warnings.warn(secret)\n"
        "    logging.error(secret); os.write(1, secret.encode()); os.write(2, secret.encode())\n"
        "    raise ValueError(secret)\n"
        "worker.read_inputs = talk\n"
        "worker.main()\n"
    )
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(lent.job(agreement).canonical() + b"\n")
        process.stdin.flush()
        # The clean room holds standard input open: its end would be the clean room's.
        assert process.stdout.read() == b'{"failed":"internal"}\n'
        assert process.stderr.read() == b""


@pytest.mark.parametrize("reason", [*faults.HINTS, "internal", "data-refused"])
def test_a_failure_behind_opened_data_is_told_by_its_word_alone(reason: str) -> None:
    failed = RunFailed(reason)
    assert str(failed) == f"the run failed: {reason}"
    assert failed.__cause__ is None
    assert "{" not in failed.hint


def test_every_word_that_rooms_have_of_their_own_is_explained() -> None:
    page = (ROOT / "docs" / "how-to" / "when-a-run-fails.md").read_text(encoding="utf-8")
    for word in (*faults.HINTS, faults.INTERNAL, "data-refused", "engine-refused", "stopped"):
        assert f"| `{word}` |" in page
