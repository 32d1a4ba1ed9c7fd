"""`depa run`: check, submit, deploy and fetch a training run."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from clients.api.answers import RunStatus
from clients.cli.command import Session, command, new_app
from clients.cli.errors import Refused, UsageError
from clients.cli.imports import pipeline_import
from clients.cli.output import Answer, Output
from clients.cli.tasks.agreement import load_contract
from clients.cli.tasks.deploying import deploy_local
from clients.cli.tasks.pipelines import read_pipeline
from clients.cli.tasks.places import Places
from clients.cli.tasks.rules import policy_with_rules
from clients.cli.tasks.service import connect
from policies.wire.run import Progress

app = new_app("Check, submit, deploy and fetch a training run.")
FINAL = frozenset({"completed", "failed", "denied", "expired"})
_POLL_SECONDS = 1.0
_LINE_SECONDS = 5.0
_RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="Id of the run.")]


@command(app, "check", examples="depa run check config/ --contract sha256:... --out pipeline.json")
def check(
    session: Session,
    config: Annotated[Path, typer.Argument(help="Folder of parts, or a pipeline.")],
    *,
    contract: Annotated[str, typer.Option(help="Digest of the contract, or its file.")],
    name: Annotated[str, typer.Option(help="What the run is called.")] = "training run",
    out: Annotated[Path | None, typer.Option(help="Pipeline to write.")] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Leave out the budgets.")] = False,
) -> Answer:
    """Put a pipeline together and ask the policy about it, as the service will."""
    # The accountant takes seconds to load, as does the network library of `fetch`; no other
    # command of this noun needs them.
    from clients.cli.tasks.judging import check_pipeline  # noqa: PLC0415

    found = load_contract(session, contract)
    pipeline = read_pipeline(config, contract=found.digest(), name=name)
    places = Places.of(contract, found, config=config, pipeline=pipeline)
    policy = policy_with_rules(session, contract, found)
    return check_pipeline(
        session, pipeline, found, policy=policy, places=places, out=out, offline=offline
    )


command(
    app,
    "import",
    examples="depa run import pipeline_config.json --contract contract.json "
    "--shape 1x64x64 --classes 1",
)(pipeline_import)


@command(app, "submit", examples="depa run submit pipeline.json")
def submit(
    session: Session,
    pipeline: Annotated[Path, typer.Argument(help="Pipeline that was put together.")],
) -> Answer:
    """Have a pipeline judged by the service; it is approved once, for a while."""
    found = read_pipeline(pipeline, contract="", name="")
    return _status(connect(session).submit(found))


@command(app, "list", examples="depa run list")
def list_(session: Session) -> Answer:
    """List the runs of this role's contracts."""
    runs = connect(session).runs().runs
    return Answer(
        {"runs": [item.to_json() for item in runs]},
        columns=("run", "state", "name", "submitted (UTC)"),
        rows=[(r.run, r.state, r.name, _time(r.submitted_at)) for r in runs],
    )


@command(app, "watch", examples="depa run watch run-...")
def watch(session: Session, run: _RunArgument) -> Answer:
    """Follow a run until it is over: steps, privacy budget, time left."""
    return _status(_follow(session, run, seconds=None))


@command(app, "wait", examples="depa run wait run-... --seconds 600")
def wait(
    session: Session,
    run: _RunArgument,
    *,
    seconds: Annotated[float | None, typer.Option(help="Give up after this long.")] = None,
) -> Answer:
    """Wait until a run is over; end with 0 only if it is completed."""
    found = _follow(session, run, seconds=seconds)
    if found.state != "completed":
        raise Refused(
            f"{run} is {found.state}: {found.message or 'no reason was given'}",
            hint="docs/how-to/when-a-run-fails.md says what each reason means",
        )
    return _status(found)


@command(app, "abandon", examples="depa run abandon run-...")
def abandon(session: Session, run: _RunArgument) -> Answer:
    """Give a run up; its budget returns only if no key can have gone out."""
    return _status(connect(session).abandon(run))


@command(app, "deploy", examples="depa run deploy run-... --local")
def deploy(
    session: Session,
    run: _RunArgument,
    *,
    local: Annotated[bool, typer.Option("--local", help="On simulated hardware, here.")] = False,
    launch_policy: Annotated[Path | None, typer.Option(help="Launch policy to use.")] = None,
) -> Answer:
    """Start a clean room for an approved run and stay until it has ended."""
    if not local:
        raise UsageError("say where the clean room is to run", hint="give --local")
    with session.out.bars() as bars:
        show = Lines(session.out).show if bars is None else bars.show
        seconds = deploy_local(session, run, launch_policy=launch_policy, on_progress=show)
    return _status(connect(session).run(run), seconds=seconds)


@command(app, "fetch", examples="depa run fetch run-... --out model/ --test prepared-test/")
def fetch(
    session: Session,
    run: _RunArgument,
    *,
    out: Annotated[Path, typer.Option(help="Folder to create.")],
    test: Annotated[Path | None, typer.Option(help="Own public test data, prepared.")] = None,
    plot: Annotated[Path | None, typer.Option(help="PNG to draw, of found and true masks.")] = None,
) -> Answer:
    """Open the sealed model, check it against the run's report, and measure it on public data.

    Figures and plots of curves go into a folder beside the model, OUT-metrics, and so do metrics of
    private data, where the contract grants them. What `depa model predict` has to know goes into
    OUT-origin.json.
    """
    from clients.cli.tasks.results import fetch_result  # noqa: PLC0415

    return fetch_result(session, run, out=out, test=test, plot=plot)


@dataclass
class Lines:
    """Progress as lines, for where there is no terminal: each phase, and now and then a step."""

    out: Output
    _phase: str = ""
    _at: float = 0.0

    def show(self, progress: Progress) -> None:
        """Print a line if it is time for one."""
        last = 0 < progress.step == progress.steps
        new = progress.phase != self._phase
        if not (new or last or progress.seconds - self._at >= _LINE_SECONDS):
            return
        self._phase, self._at = progress.phase, progress.seconds
        self.out.note(line_of(progress))


def line_of(progress: Progress) -> str:
    """Return one line about how far a run is."""
    if progress.phase != "training" or not progress.step:
        return f"{progress.phase:10} {progress.seconds:6.1f} s"
    eta = "" if progress.eta_seconds is None else f"  eta {progress.eta_seconds:.0f} s"
    again = f"  restarts {progress.restarts}" if progress.restarts else ""
    return (
        f"step {progress.step}/{progress.steps}  "
        f"ε {progress.micro_epsilon / 1e6:.2f} of {progress.micro_epsilon_limit / 1e6:.2f}  "
        f"{progress.seconds:.1f} s{eta}{again}"
    )


def _follow(session: Session, run: str, *, seconds: float | None) -> RunStatus:
    client, out = connect(session), session.out
    deadline = None if seconds is None else time.monotonic() + seconds
    with out.bars() as bars:
        said = ""
        while (found := client.run(run)).state not in FINAL:
            if bars is not None and found.progress is not None:
                bars.show(found.progress)
            elif bars is None:
                said = _say(out, found, said)
            if deadline is not None and time.monotonic() > deadline:
                raise Refused(f"{run} is still {found.state} after {seconds:g} seconds")
            time.sleep(_POLL_SECONDS)
    return found


def _say(out: Output, found: RunStatus, said: str) -> str:
    text = found.state if found.progress is None else line_of(found.progress)
    if text != said and not out.as_json:
        out.note(text)
    return text


def _status(found: RunStatus, *, seconds: float | None = None) -> Answer:
    spent = found.spent
    lines = [f"{found.run} is {found.state}"]
    if spent is not None:
        lines.append(
            f"spent ε {spent.micro_epsilon / 1e6:.4f} at δ {spent.delta_trillionths / 1e12:g} "
            f"in {spent.steps} steps"
        )
    if found.message:
        lines.append(found.message)
    value = found.to_json()
    return Answer(value if seconds is None else value | {"seconds": seconds}, "\n".join(lines))


def _time(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))
