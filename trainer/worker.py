"""The training process of a clean room: reads what was opened, trains, writes the model.

Started as `python -m trainer.worker` by the clean room, which holds the keys and speaks to the
world. This process does neither: a job comes on standard input, words go to standard output, and
whatever a library prints goes nowhere. It ends when the clean room does.
"""

from __future__ import annotations

import base64
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final

from policies.accounting import micro_epsilon
from trainer.checkpoint import Cadence, Checkpoints
from trainer.devices import choose_device, use_processors
from trainer.faults import reason_of
from trainer.inputs import read_inputs
from trainer.loop import StepReport, train
from trainer.measure import write_private_metrics
from trainer.messages import MAX_JOB_BYTES, OUTPUT, Job, Said, Stepped
from trainer.models.factory import write_model
from trainer.privacy.errors import TrainingAborted
from trainer.privacy.streams import Streams
from trainer.sealed.keys import DataKey

CHECKPOINTS: Final = "checkpoints"
"""Folder below the scratch folder."""
Say = Callable[[Said], None]


def perform(job: Job, say: Say, *, cadence: Cadence | None = None) -> None:
    """Do a job, and say how it ended; nothing is raised."""
    try:
        steps = _train(job, say, cadence=cadence)
    except TrainingAborted as error:
        say(Said(failed=error.reason))
    except Exception as error:  # noqa: BLE001 -- its message may hold private values
        say(Said(failed=reason_of(error)))
    else:
        say(Said(trained=steps))


def _train(job: Job, say: Say, *, cadence: Cadence | None) -> int:
    scratch, config = Path(job.scratch), job.pipeline.train
    held = {item.id: _data_key(item.key) for item in job.held or ()}
    inputs = read_inputs(job.contract, job.pipeline, scratch=scratch, held=held)
    checkpoints = Checkpoints(
        scratch / CHECKPOINTS,
        run=job.run,
        pipeline=job.pipeline.digest(),
        key=_data_key(job.checkpoint_key),
        on_kept=lambda kept: say(Said(kept=kept)),
        cadence=cadence,
    )
    start = None if job.kept is None else checkpoints.open(job.kept)
    agreed = None if job.plan is None else job.plan.privacy_plan()
    say(Said(ready=True))
    trained = train(
        inputs.model.to(choose_device()),
        inputs.units,
        config,
        agreed=agreed,
        streams=Streams(),
        on_step=lambda report: say(Said(stepped=stepped(report))),
        checkpoints=checkpoints,
        start=start,
    )
    folder = scratch / OUTPUT
    folder.mkdir(mode=0o700, exist_ok=True)
    write_model(trained.weights, config=config, base=inputs.base, folder=folder)
    # A process that is started again after this point writes them anew: one of them leaves.
    write_private_metrics(
        trained.weights,
        model=inputs.model,
        units=inputs.units,
        config=config,
        agreed=agreed,
        folder=folder,
    )
    return trained.steps


def _data_key(text: str) -> DataKey:
    return DataKey.parse(base64.b64decode(text))


def stepped(report: StepReport) -> Stepped:
    """Return what is said of a step."""
    return Stepped(
        step=report.step,
        micro_epsilon=micro_epsilon(report.epsilon),
        eta_seconds=round(report.eta_seconds, 1),
    )


def _own_output() -> BinaryIO:
    """Return the standard output, and leave nothing where it was."""
    own = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    nothing = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nothing, stream.fileno())
    return own


def _end_with(room: int) -> None:
    """End this process as soon as the clean room, which holds the other end open, has ended."""
    while os.read(room, 1):
        pass
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Do the job on standard input."""
    # The clean room hears of these too, and decides.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    out = _own_output()
    job = Job.read(sys.stdin.buffer.readline(MAX_JOB_BYTES + 1))
    threading.Thread(target=_end_with, args=(sys.stdin.fileno(),), daemon=True).start()
    use_processors()
    perform(job, lambda said: _say(out, said))


def _say(out: BinaryIO, said: Said) -> None:
    out.write(said.canonical() + b"\n")


if __name__ == "__main__":
    main()
