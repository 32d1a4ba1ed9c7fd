"""`depa demo`: play a whole scenario on this machine, every role in its own process."""

from __future__ import annotations

import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer

from clients.cli.command import Session, command, new_app
from clients.cli.errors import UsageError
from clients.cli.output import Answer, Output
from clients.cli.play import refusals, steps
from clients.cli.play.cast import Cast, gather, introduce, on_stage
from clients.cli.play.narrator import Narrator
from clients.cli.play.refusals import Refusal
from clients.cli.play.scenario import SCENARIOS, find_scenario

app = new_app("Play a whole scenario on this machine.", alone=True)
_STEPS = 9


@command(app, "demo", examples="depa demo --scenario mnist --dir keep/")
def demo(
    session: Session,
    *,
    scenario: Annotated[
        str, typer.Option(help=f"One of {', '.join(SCENARIOS)}.")
    ] = "mri-tumor-segmentation",
    folder: Annotated[
        Path | None, typer.Option("--dir", help="New folder that keeps everything.")
    ] = None,
    tiny: Annotated[bool, typer.Option("--tiny", help="Few data, few steps.")] = False,
) -> Answer:
    """Play hospitals, developer, clean room and auditor; end with 0 only if all of it held."""
    chosen = find_scenario(scenario)
    begun = time.monotonic()
    with _stoppable(), _folder(folder, session.out) as place:
        cast = gather(chosen, chosen.sizes["tiny" if tiny else "full"], place)
        session.out.note(f"{chosen.name} in {place}")
        value = _play(cast, Narrator(session.out, _STEPS))
    seconds = round(time.monotonic() - begun, 1)
    result = {"scenario": chosen.name, "seconds": seconds, **value}
    figures = ", ".join(f"{name} {result[name]}" for name in (chosen.figure, "epsilon", "events"))
    return Answer(result, f"all of it held: {figures}, {len(result['refused'])} refusals")


def _play(cast: Cast, narrator: Narrator) -> dict[str, Any]:
    out = narrator.out
    introduce(cast)
    with on_stage(cast, out) as stage:
        with narrator.step("Prepare data") as step:
            steps.make_data(cast, step)
        stack = stage.ready()
        out.note(f"stack on {stack['service']}, {len(stack['vaults'])} vaults")
        out.note(f"root fingerprint {stack['root']}")
        with narrator.step("Seal and upload") as step:
            steps.seal_and_upload(cast, step)
        with narrator.step("Agree on a contract") as step:
            contract = steps.agree(cast, step)
        with narrator.step("Put keys into the owners' vaults") as step:
            steps.import_keys(cast, step, contract=contract)
        with narrator.step("Compose, check and submit a pipeline") as step:
            run = steps.submit(cast, step, contract=contract)
        with narrator.step("Train in the clean room") as step:
            trained = steps.train(cast, step, run=run)
        with narrator.step("Fetch the model") as step:
            fetched = steps.fetch(cast, step, run=run)
        with narrator.step("Try what must be refused") as step:
            refused = refusals.try_all(cast, step)
        with narrator.step("Audit") as step:
            audited = steps.audit(cast, step, contract=contract, root=stack["root"])
    return _figures(cast, trained=trained, fetched=fetched, audited=audited, refused=refused)


def _figures(
    cast: Cast,
    *,
    trained: dict[str, Any],
    fetched: dict[str, Any],
    audited: dict[str, Any],
    refused: list[Refusal],
) -> dict[str, Any]:
    return {
        cast.scenario.figure: round(fetched["metrics"][cast.scenario.metric], 4),
        "epsilon": trained["spent"]["microEpsilon"] / 1e6,
        "events": audited["entries"],
        "refusals": len(refused),
        "refused": [one.code for one in refused],
    }


@contextmanager
def _stoppable() -> Iterator[None]:
    """Let SIGTERM end the play as Ctrl-C does, so that the stack is stopped."""

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        del number, frame
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _folder(given: Path | None, out: Output) -> Iterator[Path]:
    """Make the play's folder; one that nobody named is removed, unless the play failed."""
    if given is not None:
        folder = given.absolute()
        if folder.exists() and any(folder.iterdir()):
            raise UsageError(f"{folder} is not empty", hint="choose a new folder")
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        yield folder
        return
    folder = Path(tempfile.mkdtemp(prefix="depa-demo-"))
    try:
        yield folder
    except BaseException:
        out.note(f"everything is kept in {folder}", style="yellow")
        raise
    shutil.rmtree(folder)
